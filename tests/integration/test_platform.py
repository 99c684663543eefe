"""The platform as a user meets it: the demo, queries of its results, `up` and the Dagster UI; no process is left behind."""

import csv
import getpass
import io
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
from playwright.sync_api import expect

from serving.store import StoredBento
from tests.documentation import programs
from tests.documentation.running import FILES, PROGRAMS, Reader, commands, fetch, is_run_here
from tests.support import ask
from tests.support.browser import browser_page
from tests.support.command import TAPEWATCH, environment
from tests.support.ports import free_ports
from tests.support.prometheus import prometheus, queries, without_data

PATIENCE_MS = 240_000
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


class Up(NamedTuple):
    """A running `tapewatch up`: the ports of its services, its process and all of its child processes."""

    ports: dict[str, int]
    process: subprocess.Popen[bytes]
    children: list[psutil.Process]


def processes_of(home: Path) -> list[psutil.Process]:
    """The processes whose environment or arguments name the home, except this one and its parents."""
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        try:
            named = [*process.environ().values(), *process.cmdline()]
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if process.pid not in own and any(str(home) in text for text in named):
            found.append(process)
    return found


def run(home: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [TAPEWATCH, *arguments], env=environment(home), cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory outside the checkout."""
    return tmp_path_factory.mktemp("outside")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, outside: Path) -> tuple[Path, str]:
    """The home of a finished demo of three days, and its output."""
    home = tmp_path_factory.mktemp("home") / "tape #1 é; 100% [x]"
    done = run(home, "demo", "--days", "3", "--seed", "7", cwd=outside)
    return home / "demo", done.stderr


def test_the_demo_reports_its_findings_and_leaves_no_process(demo: tuple[Path, str]) -> None:
    home, output = demo
    assert "Found on days that the detectors had not seen" in output
    assert "/score" in output
    assert "anomaly, score" in output
    assert "Traceback" not in output
    report = next((home / "reports").glob("*.html"))
    assert 1_000_000 < report.stat().st_size < 10_000_000
    assert 'class="card chart"' in report.read_text(encoding="utf-8")
    assert not processes_of(home)
    assert [path.name for path in home.parent.iterdir()] == ["demo"], "no file is beside it"
    assert [path.name for path in home.parent.parent.iterdir()] == [home.parent.name]


def test_the_demo_s_anomalies_are_listed(demo: tuple[Path, str], outside: Path) -> None:
    listed = run(demo[0], "anomalies", "--format", "csv", cwd=outside).stdout
    rows = list(csv.DictReader(io.StringIO(listed)))
    assert rows
    assert list(rows[0]) == ["symbol", "start", "end", "kind", "score", "level", "market", "model", "reasons"]
    assert {row["symbol"].startswith("X:") for row in rows} == {True, False}, "both markets"


def test_a_demo_anomaly_is_scored_by_the_bento_in_process(demo: tuple[Path, str], outside: Path) -> None:
    rows = csv.DictReader(io.StringIO(run(demo[0], "anomalies", "--format", "csv", cwd=outside).stdout))
    strongest = max(rows, key=lambda row: float(row["score"]))
    done = run(demo[0], "score", "--symbol", strongest["symbol"], "--time", strongest["start"], cwd=outside)
    assert "in this process" in done.stderr
    assert strongest["symbol"] in done.stdout


def test_commands_of_the_docs_end_as_their_pages_say(
    demo: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a copy of the demo's home, since they make accounts, keys, labels and orders."""
    shutil.copytree(demo[0], tmp_path / "home")
    settings = environment(tmp_path / "home", TAPEWATCH_LABEL_AUTHORS=f"ann,ben,{getpass.getuser()}")
    for name in {*os.environ} - {*settings}:
        monkeypatch.delenv(name)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    reader, ran = Reader(), 0
    for command in commands():
        if is_run_here(command) and command.words[0] == "tapewatch":
            reader.run(command)
            ran += 1
    assert ran > 60
    programs.write_files(tmp_path)
    others = [command for command in commands() if is_run_here(command) and command.words[0] in PROGRAMS]
    others.sort(key=lambda command: PROGRAMS.index(command.words[0]))
    said = {command.words[:2]: programs.run(command, tmp_path / "home", tmp_path) for command in others}
    assert "isolation_forest 1 average_precision 0." in said["python", "versions.py"]
    assert len(said) >= 6


@pytest.fixture(scope="module")
def up(demo: tuple[Path, str], outside: Path) -> Iterator[Up]:
    """`tapewatch up` on the demo's home: its ports, its process, and its child processes."""
    home, _ = demo
    names = ("DAGSTER", "MLFLOW", "EMULATOR", "SCORING", "DASHBOARD")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    log = outside / "up.log"
    settings = {f"TAPEWATCH_PORT_{name}": str(port) for name, port in ports.items()}
    with log.open("wb") as output:
        # Started like a background job of a script, with SIGINT ignored.
        process = subprocess.Popen(
            ["sh", "-c", 'trap "" INT; exec "$@"', "sh", TAPEWATCH, "up"],
            env=environment(home, **settings),
            cwd=outside,
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + 400
        while "Press Ctrl-C" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.5)
        yield Up(ports, process, psutil.Process(process.pid).children(recursive=True))
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(120)


def test_every_service_answers(up: Up, demo: tuple[Path, str], outside: Path) -> None:
    ports = up.ports
    query = {"query": "{ assetsOrError { ... on AssetConnection { nodes { key { path } } } } }"}
    reply = ask.post(f"http://127.0.0.1:{ports['DAGSTER']}/graphql", json=query, timeout=180).json()
    materialized = {"/".join(node["key"]["path"]) for node in reply["data"]["assetsOrError"]["nodes"]}
    assert {"tape/trades", "models/champion", "serving/anomaly_bento", "detections/anomalies"} <= materialized
    assert ask.get(f"http://127.0.0.1:{ports['MLFLOW']}/health", timeout=180).text == "OK"
    experiments = ask.post(
        f"http://127.0.0.1:{ports['MLFLOW']}/api/2.0/mlflow/experiments/search", json={"max_results": 10}, timeout=180
    ).json()
    assert "isolation_forest" in {experiment["name"] for experiment in experiments["experiments"]}
    bento = StoredBento.latest(demo[0] / "bentoml")
    assert bento is not None
    assert ask.get(f"http://127.0.0.1:{ports['SCORING']}/model", timeout=180).json()["version"] == bento.model_version
    trades = ask.get(
        f"http://127.0.0.1:{ports['EMULATOR']}/v3/trades/AAPL",
        params={"timestamp": "2024-06-03", "limit": 5, "apiKey": "any"},  # pragma: allowlist secret
        timeout=180,
    )
    assert len(trades.json()["results"]) == 5
    assert ask.get(f"http://127.0.0.1:{ports['DASHBOARD']}/_stcore/health", timeout=180).text == "ok"
    said = (outside / "up.log").read_text()
    once = said.partition("admin, one-time password ")[2].partition("\n")[0]
    assert len(once) == 23
    assert not [
        log for log in (demo[0] / "logs").iterdir() if log.is_file() and once in log.read_text(errors="replace")
    ]


def test_score_uses_the_running_service(up: Up, demo: tuple[Path, str], outside: Path) -> None:
    address = f"http://127.0.0.1:{up.ports['SCORING']}"
    done = run(demo[0], "score", "--url", address, cwd=outside)
    assert f"Scored by {address}" in done.stderr
    row = outside / "row.json"
    row.write_text(json.dumps({"symbol": "AAPL", "event_time": "2024-06-03T14:31:00Z", "volume_ratio": 500.0}))
    assert "volume_ratio" in run(demo[0], "score", "--file", str(row), "--url", address, cwd=outside).stdout


def test_requests_of_the_docs_are_answered_as_their_pages_say(
    up: Up, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "row.json").write_text(FILES["row.json"])
    ports = {3001: up.ports["SCORING"], 8501: up.ports["DASHBOARD"], 8900: up.ports["EMULATOR"]}
    wanted = [command for command in commands() if is_run_here(command) and command.words[0] == "curl"]
    assert len(wanted) > 10
    for command in wanted:
        fetch(command, ports)


def test_a_real_prometheus_scrapes_the_running_service_into_every_panel(up: Up, tmp_path: Path) -> None:
    scoring = up.ports["SCORING"]
    with prometheus(tmp_path, {"scoring": scoring, "runs": up.ports["DAGSTER"]}) as address:
        stop = threading.Event()

        def keep_asking() -> None:
            """Rates need requests that come."""
            while not stop.wait(0.2):
                ask.post(f"http://127.0.0.1:{scoring}/score", json=json.loads(FILES["row.json"]), timeout=180)

        asking = threading.Thread(target=keep_asking)
        asking.start()
        try:
            wanted = {*queries("scoring"), *queries("runs"), 'up{job="scoring"} == 1', 'up{job="runs"} == 1'}
            assert without_data(address, wanted) == set()
        finally:
            stop.set()
            asking.join()


def second_up(home: Path, up: Up, outside: Path) -> str:
    """What `tapewatch up` on the same ports says when it is refused."""
    settings = {f"TAPEWATCH_PORT_{name}": str(port) for name, port in up.ports.items()}
    done = subprocess.run(
        [TAPEWATCH, "up"], env=environment(home, **settings), cwd=outside, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    return done.stderr


def test_a_second_up_on_the_home_says_so_and_changes_nothing(up: Up, demo: tuple[Path, str], outside: Path) -> None:
    files = [demo[0] / "run" / name for name in ("supervisor.conf", "supervisor.pid")]
    before = [(file.stat().st_ino, file.read_bytes()) for file in files]
    said = second_up(demo[0], up, outside)
    assert said == (
        f"Error: `tapewatch up` runs on {demo[0]} already (process {up.process.pid}): stop it first, or set TAPEWATCH_HOME "
        "to another folder\n"
    )
    assert [(file.stat().st_ino, file.read_bytes()) for file in files] == before


def test_an_up_on_another_home_names_the_ports_in_use(up: Up, outside: Path, tmp_path: Path) -> None:
    said = second_up(tmp_path, up, outside)
    assert f"port {up.ports['MLFLOW']} is taken: MLflow needs it" in said
    assert "TAPEWATCH_PORT_MLFLOW" in said
    assert len(said.splitlines()) == 1


def test_no_file_of_the_home_is_open_to_others(up: Up, demo: tuple[Path, str]) -> None:
    assert not [
        path for path in (demo[0], *demo[0].rglob("*")) if path.lstat().st_mode & 0o077 and not path.is_symlink()
    ]


def test_an_asset_page_shows_definition_rows_columns_and_checks(up: Up) -> None:
    with browser_page() as page:
        page.goto(f"http://127.0.0.1:{up.ports['DAGSTER']}/assets/features/microstructure")
        expect(page.get_by_text("quant-research")).to_be_visible(timeout=PATIENCE_MS)
        for text in ("Order flow, liquidity and volatility of a symbol", "effective_spread_bps", "bps", "tapewatch"):
            expect(page.get_by_text(text).first).to_be_visible(timeout=PATIENCE_MS)
        expect(page.get_by_text("External Asset")).to_have_count(0)


def test_a_materialization_shows_its_plot(up: Up) -> None:
    with browser_page() as page:
        page.goto(
            f"http://127.0.0.1:{up.ports['DAGSTER']}/assets/tape/trades?view=partitions&partition=2024-06-05%7Cstocks"
        )
        expect(page.get_by_text("plot", exact=True).first).to_be_visible(timeout=PATIENCE_MS)


def test_passed_checks_are_shown(up: Up) -> None:
    with browser_page() as page:
        page.goto(f"http://127.0.0.1:{up.ports['DAGSTER']}/assets/tape/trades?view=checks")
        expect(page.get_by_text("rows_match_source").first).to_be_visible(timeout=PATIENCE_MS)
        expect(page.get_by_text("Passed").first).to_be_visible(timeout=PATIENCE_MS)
        expect(page.get_by_text("Skipped")).to_have_count(0)


def test_an_asset_is_materialized_from_the_page(up: Up) -> None:
    def runs() -> set[str]:
        query = {"query": "{ runsOrError { ... on Runs { results { runId status } } } }"}
        reply = ask.post(f"http://127.0.0.1:{up.ports['DAGSTER']}/graphql", json=query, timeout=180).json()
        return {run["runId"] for run in reply["data"]["runsOrError"]["results"] if run["status"] == "SUCCESS"}

    before = runs()
    with browser_page() as page:
        page.goto(f"http://127.0.0.1:{up.ports['DAGSTER']}/assets/serving/anomaly_bento")
        button = page.get_by_role("button", name="Materialize").first
        expect(button).to_be_enabled(timeout=PATIENCE_MS)
        # Clicked once: a click that is tried again meets the dialog that the first one opened.
        button.evaluate("button => button.click()")
        expect(page.get_by_text("Launched run").first).to_be_visible(timeout=PATIENCE_MS)
    while not runs() - before:
        time.sleep(0.5)  # until the daemon has run it; the test's timeout bounds it


def test_an_interrupt_stops_everything(up: Up, demo: tuple[Path, str]) -> None:
    assert len(up.children) > 8
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(180) == 0
    _, alive = psutil.wait_procs(up.children, timeout=180)
    assert not alive
    assert not processes_of(demo[0])
