"""`tapewatch stream` and `tapewatch status` with real processes, without key or network."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner

from orchestration.cli.app import app
from orchestration.cli.commands.tape.stream import status_rows, status_table
from orchestration.processes import status as stream_status
from orchestration.processes.collector import collector_config, metrics_port
from orchestration.processes.services import ServiceError
from orchestration.processes.status import Standing
from orchestration.processes.streaming import LogTail, source_of, stream_services, streamable
from tapewatch.market.instruments import Market
from tapewatch.settings import Settings
from tapewatch.streaming.collector.metrics import CollectorStatus
from tests.support.collectors import eventually
from tests.support.ports import free_ports

TAPEWATCH = str(Path(sys.executable).parent / "tapewatch")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A home and ports of its own, and no key."""
    # Each market has a port for its figures, counted from the first.
    metrics, *_, emulator = free_ports(len(Market) + 1)
    changes = {
        "TAPEWATCH_HOME": str(tmp_path),
        "TAPEWATCH_PORT_METRICS": str(metrics),
        "TAPEWATCH_PORT_EMULATOR": str(emulator),
        "POLYGON_API_KEY": "",
    }
    return os.environ | changes


@pytest.fixture
def streaming(environment: dict[str, str], tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`tapewatch stream crypto`, killed with all its processes afterwards."""
    with (tmp_path / "out").open("wb") as output:
        process = subprocess.Popen([TAPEWATCH, "stream", "crypto"], env=environment, stdout=output, stderr=output)
    try:
        yield process
    finally:
        family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.kill()
        process.wait()
        for child in family:
            if child.is_running():
                child.kill()


def status(environment: dict[str, str]) -> dict[str, dict]:
    done = subprocess.run([TAPEWATCH, "status", "--format", "json"], env=environment, capture_output=True, check=True)
    return {row["market"]: row for row in json.loads(done.stdout)}


def settings(tmp_path: Path, **changes: object) -> Settings:
    return Settings(_env_file=None, home=tmp_path, port_emulator=free_ports(1)[0], **changes)


@pytest.mark.slow
def test_stream_without_a_key_restarts_a_killed_collector_and_stops_everything(
    streaming: subprocess.Popen[bytes], environment: dict[str, str], tmp_path: Path
) -> None:
    running = settings(tmp_path, port_metrics=int(environment["TAPEWATCH_PORT_METRICS"]))

    def crypto() -> dict[str, Any]:
        """What the command reads, without a process for each look."""
        found = {standing.market: standing for standing in stream_status.standings(running, [])}
        return status_rows([found[Market.CRYPTO]])[0] if Market.CRYPTO in found else {}  # from its first start on

    found = eventually(lambda: (s := crypto()).get("state") == "streaming" and s["events"] and s, 280)
    assert found["restarts"] == 0
    os.kill(found["pid"], signal.SIGKILL)
    again = eventually(lambda: (s := crypto()).get("restarts") == 1 and s.get("events") and s, 280)
    assert again["pid"] != found["pid"]
    said = status(environment)
    assert (said["crypto"]["restarts"], said["crypto"]["pid"]) == (1, again["pid"])
    assert "forex" not in said
    # The command notices it later than this test.
    for words in ("crypto: connected to", "collector-crypto died and was started again"):
        eventually(lambda words=words: words in (tmp_path / "out").read_text())

    family = psutil.Process(streaming.pid).children(recursive=True)
    streaming.send_signal(signal.SIGINT)
    assert streaming.wait(180) == 0
    assert not psutil.wait_procs(family, timeout=180)[1]
    said = (tmp_path / "out").read_text()
    assert "no POLYGON_API_KEY is set: the synthetic market" in said
    assert "nothing is left running" in said
    assert status(environment)["crypto"]["state"] == "not running"


def test_markets_without_a_stream_or_symbols_are_left_out(tmp_path: Path) -> None:
    bought = settings(
        tmp_path, polygon_api_key="k", markets={"crypto": {"plan": "starter"}, "options": {"plan": "advanced"}}
    )
    assert streamable(bought) == [Market.CRYPTO]
    with pytest.raises(ServiceError, match="TAPEWATCH_SYMBOLS_OPTIONS"):
        stream_services(bought, [Market.OPTIONS])
    with pytest.raises(ServiceError, match="POLYGON_TIER_<MARKET>"):
        stream_services(settings(tmp_path, polygon_api_key="k"))


def test_a_misspelt_symbol_is_refused_before_anything_starts(tmp_path: Path) -> None:
    bought = settings(
        tmp_path, polygon_api_key="k", markets={"stocks": {"plan": "starter", "symbols": ("MSFT", "BTC/")}}
    )
    with pytest.raises(ServiceError, match=r"ticker of crypto, not of stocks: write symbols of stocks alone"):
        stream_services(bought, [Market.STOCKS], "AAPL,X:BTC-USD")
    with pytest.raises(ServiceError, match="BTC/"):
        stream_services(bought, [Market.STOCKS])
    assert stream_services(bought, [Market.STOCKS], " aapl, msft")
    assert stream_services(bought, [Market.STOCKS], "*")


def test_without_a_key_everything_streams_from_the_emulator(tmp_path: Path) -> None:
    source = source_of(settings(tmp_path, flat_files="/recorded"), speed="60")
    assert source.emulator is not None
    assert source.emulator.command[-4:] == ("--speed", "60", "--flat-files", "/recorded")
    assert streamable(source.settings) == [Market.STOCKS, Market.CRYPTO, Market.FOREX, Market.INDICES]
    *collectors, healer = stream_services(source.settings)
    assert [service.port for service in collectors] == [metrics_port(source.settings, m) for m in list(Market)[:4]]
    assert healer.command[-1] == "orchestration.processes.healer"
    config = collector_config(source.settings, Market.CRYPTO, ["BTC-USD"])
    assert config.url == f"{source.emulator.url.replace('http', 'ws')}/crypto"
    assert config.symbols == ["X:BTC-USD"]


@pytest.mark.parametrize(
    ("market", "hours", "base", "sleeps"),
    [
        (Market.STOCKS, "auto", "https://api.polygon.io", True),
        (Market.STOCKS, "auto", "http://127.0.0.1:8900", False),
        (Market.STOCKS, "always", "https://api.polygon.io", False),
        (Market.STOCKS, "sessions", "http://127.0.0.1:8900", True),
        (Market.CRYPTO, "sessions", "https://api.polygon.io", False),
    ],
)
def test_collecting_hours_depend_on_market_setting_and_address(
    tmp_path: Path, market: Market, hours: str, base: str, sleeps: bool
) -> None:
    tiers = {"markets": {"stocks": {"plan": "starter"}, "crypto": {"plan": "starter"}}}
    collecting = settings(tmp_path, polygon_api_key="k", polygon_base_url=base, stream_hours=hours, **tiers)
    config = collector_config(collecting, market, ["*"])
    assert config.in_sessions is sleeps
    assert config.delay_ns == (15 * 60 * 10**9 if market is Market.STOCKS else 0)
    assert not config.symbols


def test_a_log_is_followed_through_its_rotation(tmp_path: Path) -> None:
    path = tmp_path / "collector.log"
    path.write_text("before\n")
    tail = LogTail(path)
    assert not list(tail.lines())
    with path.open("a") as log:
        log.write("one\ntw")
    assert list(tail.lines()) == ["one"]
    path.rename(tmp_path / "collector.log.1")
    path.write_text("two\n")
    assert list(tail.lines()) == ["two"]


def test_following_a_log_during_its_rotation_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "collector.log"
    path.write_text("before\n")
    tail, look = LogTail(path), Path.stat
    path.write_text("before\none\n")

    def look_and_rotate(self: Path, **options: bool) -> os.stat_result:
        found = look(self, **options)
        path.rename(tmp_path / "collector.log.1")
        return found

    with monkeypatch.context() as rotating:
        rotating.setattr(Path, "stat", look_and_rotate)
        assert list(tail.lines()) == ["one"]
    path.rename(tmp_path / "collector.log.1")
    assert not list(tail.lines())
    path.write_text("two\n")
    assert list(tail.lines()) == ["two"]


def test_status_shows_running_and_stopped_collectors() -> None:
    figures = CollectorStatus(
        market="crypto", state="streaming", pid=1, events=5, lag_s=0.25, uptime_s=3_700, restarts=2
    )
    found = [Standing(Market.CRYPTO, "streaming", "", figures), Standing(Market.STOCKS, "gave up", "see the log")]
    table, note = status_table(found).renderables
    assert [next(iter(column.cells)) for column in table.columns][:4] == ["crypto", "streaming", "0", "0.25s"]
    assert [next(iter(column.cells)) for column in table.columns][-2:] == ["1h01m", "2"]
    assert note == "[dim]stocks: see the log[/]"
    crypto, stocks = status_rows(found)
    assert crypto["events"] == 5
    assert stocks == {"market": "stocks", "state": "gave up", "detail": "see the log"}


def test_status_names_the_command_that_restarts_a_collector_that_was_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state is a stand-in: supervisord is trusted to report FATAL after quick deaths."""
    monkeypatch.setattr(stream_status, "_supervised", lambda settings: {"collector-crypto": "FATAL"})
    monkeypatch.setenv("TAPEWATCH_HOME", str(tmp_path))
    monkeypatch.setenv("TAPEWATCH_PORT_METRICS", str(free_ports(1)[0]))
    found = CliRunner().invoke(app, ["status", "--format", "json"])
    assert found.exit_code == 1
    (crypto,) = (row for row in json.loads(found.stdout) if row["market"] == "crypto")
    assert crypto["state"] == "gave up"
    assert "collector-crypto.log" in crypto["detail"]
    assert "`tapewatch stream crypto`" in crypto["detail"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--speed", "abc"], "neither a multiple"),
        (["--speed", "-3"], "neither a multiple"),
        (["--symbols", ""], "it names none"),
        (["--symbols", " , "], "it names none"),
    ],
)
def test_what_cannot_be_streamed_is_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    started: list[object] = []
    monkeypatch.setattr(
        "orchestration.processes.streaming.stream_markets", lambda *given, **options: started.append(given)
    )
    monkeypatch.setenv("TAPEWATCH_HOME", str(tmp_path))
    refused = CliRunner().invoke(app, ["stream", "crypto", *arguments])
    assert refused.exit_code == 2
    assert message in " ".join(refused.output.split())
    assert not started
