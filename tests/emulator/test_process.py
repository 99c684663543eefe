"""The emulator as a process: start, printed address, command line, and stop."""

import os
import re
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from polygon import RESTClient

from tapewatch.emulator.process import EmulatorError, running_emulator
from tests.support import ask
from tests.support.command import TAPEWATCH
from tests.support.ports import free_port
from tests.support.stream_client import listened, progress

pytestmark = pytest.mark.slow
CHECKOUT = Path(__file__).resolve().parents[2]


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_serves_and_stops_with_the_block() -> None:
    with running_emulator(seed=5) as emulator:
        assert is_running(emulator.pid)
        client = RESTClient("k", base=emulator.base_url)
        assert client.get_previous_close_agg("AAPL")[0].close > 0
    assert not is_running(emulator.pid)


def test_an_error_in_the_block_stops_it() -> None:
    with pytest.raises(RuntimeError, match="mine"), running_emulator() as emulator:
        raise RuntimeError("mine")
    assert not is_running(emulator.pid)


_HOLDER = """
import time
from tapewatch.emulator.process import running_emulator

with running_emulator() as emulator:
    print(emulator.pid, flush=True)
    time.sleep(600)
"""


def test_it_ends_when_its_parent_is_killed() -> None:
    holder = subprocess.Popen([sys.executable, "-c", _HOLDER], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        emulator = psutil.Process(int(holder.stdout.readline()))
    finally:
        holder.kill()
        holder.wait()
    try:
        assert not psutil.wait_procs([emulator], timeout=180)[1]
    finally:
        with suppress(psutil.NoSuchProcess):
            emulator.kill()


def test_two_processes_with_the_same_seed_serve_the_same_tape() -> None:
    path = "/v3/quotes/VOO?timestamp=2024-03-05&limit=500&apiKey=k"
    with running_emulator(seed=5) as one, running_emulator(seed=5) as two, running_emulator(seed=6) as other:
        pages = [ask.get(e.base_url + path, timeout=60).json()["results"] for e in (one, two, other)]
    assert pages[0] == pages[1] != pages[2]


def test_a_chosen_key_and_port_are_used(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    with running_emulator(key="mine", port=port, log=log) as emulator:
        assert emulator.base_url == f"http://127.0.0.1:{port}"
        assert ask.get(f"{emulator.base_url}/v3/reference/exchanges?apiKey=mine", timeout=60).status_code == 200
        assert ask.get(f"{emulator.base_url}/v3/reference/exchanges?apiKey=yours", timeout=60).status_code == 401
        with pytest.raises(EmulatorError, match="choose another with --port"), running_emulator(port=port):
            pytest.fail("two servers on one port")
    assert log.read_text().startswith(f"emulator at http://127.0.0.1:{port} (synthetic market, seed 7)")


def test_flat_files_are_served(tmp_path: Path) -> None:
    with running_emulator(flat_files=tmp_path) as emulator:
        assert (
            ask.get(f"{emulator.base_url}/emulator/v1/info", timeout=60).json()["source"].startswith("flat files in ")
        )


def test_the_help_names_every_option() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "tapewatch.emulator", "--help"], capture_output=True, text=True, check=True, timeout=300
    )
    for word in ("--port", "--seed", "--flat-files", "--key", "starter-", "/emulator/v1/truth"):
        assert word in answer.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--flat-files", "/nowhere/at/all"], "no folder /nowhere/at/all"),
        (["--port", "70000"], "give a number from 0 to 65535"),
        (["--port", "x"], "no port"),
    ],
)
def test_an_invalid_setting_is_explained(arguments: list[str], message: str) -> None:
    command = [sys.executable, "-m", "tapewatch.emulator", *arguments]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert answer.returncode != 0
    assert message in answer.stderr
    assert "Traceback" not in answer.stderr


def test_streams_follow_the_command_line(tmp_path: Path) -> None:
    faults = tmp_path / "faults.toml"
    faults.write_text('[[fault]]\nkind = "close"\nevery = 500\ncount = 1\n')
    command = [
        TAPEWATCH,
        "emulate",
        "--port",
        "0",
        "--speed",
        "max",
        "--replay",
        "2024-03-05:2024-03-06",
        "--faults",
        faults,
    ]
    log = tmp_path / "log"
    with log.open("wb") as output:
        emulator = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        while (address := re.search(r"^emulator at (\S+) ", log.read_text(), re.MULTILINE)) is None:
            assert emulator.poll() is None, log.read_text()
            time.sleep(0.05)  # the test's timeout bounds it
        received = listened(address[1], "crypto", "XA.BTC-USD")
        status = progress(address[1], "crypto")
    finally:
        emulator.kill()
        emulator.wait()
    assert received.ends == {"1000": 1}
    assert status["faults"] == {"close": 1}
    assert status["sent"] == len(received.events) > 2_500


@pytest.mark.parametrize(
    ("option", "says"),
    [
        (("--speed", "fast"), "the speed 'fast'"),
        (("--replay", "monday"), "the days 'monday'"),
        (("--faults", "x"), "x"),
    ],
)
def test_an_invalid_option_is_named(option: tuple[str, str], says: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tapewatch.emulator", "--port", "0", *option], check=False, capture_output=True
    )
    assert ended.returncode == 1
    assert says in ended.stderr.decode()
