"""How tests run each command that the documentation shows: here, in a demo's home; in another test; or not at all, and why.

Commands of `tapewatch` run in this process, one after the other as the pages show them, so that libraries are imported once.
"""

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path

from typer.testing import CliRunner

from orchestration.cli.app import app
from tests.documentation.pages import PAGES, Command, shown

#: What other tests run, by how it begins, and where.
ELSEWHERE: Mapping[str, str] = {
    "make demo": "tests/integration/test_platform.py",
    "tapewatch up": "tests/integration/test_platform.py",
    "tapewatch run": "tests/integration/test_every_market_runs.py",
    ".venv/bin/tapewatch run": "tests/integration/test_every_market_runs.py",
    "tapewatch stream": "tests/orchestration/cli/test_stream_command.py",
    "tapewatch backfill": "tests/integration/test_backfill_markets.py",
    "tapewatch emulate": "tests/emulator/test_process.py",
    "tapewatch actions": "tests/trading/test_backtest_command.py",
    "tapewatch daily": "tests/orchestration/cli/test_daily_command.py",
    "tapewatch heal": "tests/orchestration/cli/test_gap_commands.py",
    "tapewatch watch": "tests/orchestration/cli/test_watch_command.py",
    "tapewatch labels push": "tests/orchestration/cli/test_shared_labels_command.py",
    "tapewatch labels pull": "tests/orchestration/cli/test_shared_labels_command.py",
    "tapewatch labeller": "tests/orchestration/cli/test_labeller_command.py",
    "tapewatch paper run": "tests/integration/test_paper_over_the_stream.py",
    "tapewatch replay": "tests/orchestration/runs/test_replay.py",
    "tapewatch models compare": "tests/orchestration/cli/test_models_command.py",
    "tapewatch models webhook": "tests/serving/test_mlflow_webhook.py",
    "tapewatch lookahead": "tests/orchestration/cli/test_lookahead_command.py",
    "tapewatch lake migrate": "tests/store/lake/test_layout.py",
    "bentoml serve": "tests/serving/test_bento.py",
    ".venv/bin/dask": "tests/orchestration/cluster/test_cluster.py",
    "docker build": "tests/deployment/images.py",
    "docker run": "tests/deployment/images.py",
    "aws cloudformation deploy": "tests/deployment/test_aws.py",
    "helm install": "tests/deployment/test_helm.py",
    "tapewatch db create": "tests/integration/test_platform_postgres.py",
    "tapewatch db move": "tests/store/database/test_commands.py",
    "python -m tapewatch.store.database.migrations": "tests/store/database/test_migrations.py",
    "feast": "tests/feature_repo/test_features.py",
}
#: What no test runs, by how it begins, and why.
NOT_RUN: Mapping[str, str] = {
    "make install": "the suite runs in what it installs",
    "make test": "the suite itself; `make test-fast` is a part of it",
    "make mutation": "takes an hour; what it changes is tested in tests/mutation/test_changes.py",
    "docker compose": "needs a Docker engine; the same commands run from the compose files in tests/deployment/test_compose.py",
    "C ": "needs a Docker engine",
    "kubectl": "needs a cluster; the manifests of the chart, its secret included, are rendered and validated in tests/deployment/test_helm.py",
    "aws": "needs an account of AWS",
    "psql": "needs a server with TimescaleDB, or one with TLS",
    "git clone https": "needs the network",
    "python -m benchmarks": "takes many minutes, and data that the reader fetches",
    "tapewatch security check --audit": "asks PyPI for known vulnerabilities; without --audit it runs here",
}
#: Programs that are not ours: tests/documentation/programs.py.
PROGRAMS = ("git", ".venv/bin/pre-commit", "bentoml", "mlflow", "python")
#: The shell's own, without which the others are run.
SHELL = ("export", "cd", "chmod", "cp", "mkdir", "source", "echo", "head", "tail", "awk", "jq", "rand", ".env")
#: Files that the pages' commands read.
FILES: Mapping[str, str] = {
    "orders.csv": "order_id,symbol,time,side,quantity\n1,AAPL,2024-06-03T14:00:00Z,1,100\n2,AAPL,2024-06-03T15:00:00Z,-1,100\n",
    "row.json": '{"symbol": "AAPL", "event_time": "2024-06-03T14:31:00Z", "volume_ratio": 500.0}',
}
#: Commands that end with another exit code, as their page says; for curl with another status, here also since nothing streams.
ENDS: Mapping[str, int] = {
    "tapewatch labels add AAPL volume_spike --from 2024-06-03T18:25": 1,
    "tapewatch db restore backup.zip": 1,
    "tapewatch db restore backup.zip --replace": 0,
    "curl -s -H Authorization: Bearer $TOKEN": 401,
    "curl -s localhost:3001/score_symbols": 503,
    "curl -s localhost:3001/feedback": 404,
    'curl -s localhost:3001/score -H content-type: application/json -d {"symbol": "AAPL", "event_time": "2024-06-03T14:25:00Z", '
    '"volume_ratio": -1}': 422,
}
#: What a page tells in words to do before.
BEFORE: Mapping[str, str] = {
    "tapewatch labels agreement": "labels add AAPL volume_spike --from 2024-06-03T18:22 --to 2024-06-03T18:32 --author ben",
    "tapewatch paper signals": "paper start --market crypto --account signals",
}
#: What stands in the pages for the reader's own: here a day of the demo.
OWN: Mapping[str, str] = {
    "2026-11-25": "2024-06-04",
    "2024-06-07": "2024-06-05",
    "ID": "stocks:anomaly:AAPL:20240604T154700000000",
}
#: Runs until Ctrl-C.
UNTIL_STOPPED = ["paper", "start"]
_ID = re.compile(r"\b[0-9a-f]{12}\b")
_PATIENCE_S = 180


def commands() -> Iterator[Command]:
    """The commands of all pages in their order, each once; of one that is run in a container, what is run there."""
    found: dict[tuple[str, ...], Command] = {}
    for page in PAGES:
        for command in shown(page):
            words = command.words[3:] if command.words[:2] == ("C", "exec") else command.words
            found.setdefault(words, Command(command.page, words))
    yield from found.values()


def way_of(command: Command, ways: Mapping[str, object]) -> str | None:
    """The key of `ways` with which the command begins, the longest."""
    text = " ".join(command.words) + " "
    return max((key for key in ways if text.startswith(key)), key=len, default=None)


def is_run_here(command: Command) -> bool:
    return command.words[0] in ("tapewatch", "curl", *PROGRAMS) and way_of(command, {**ELSEWHERE, **NOT_RUN}) is None


class Reader:
    """Types the commands of the pages, one after the other, in the present folder; takes ids from what was printed before."""

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}
        for name, text in FILES.items():
            Path(name).write_text(text)

    def run(self, command: Command) -> None:
        """Run one of `tapewatch`; an AssertionError if it ends otherwise than its page says."""
        group = command.words[1]
        if (before := way_of(command, BEFORE)) is not None:
            self._invoke(BEFORE[before].split())
        words = [OWN.get(word, word) for word in command.words[1:]]
        words = [self._ids.get(group, "") if word == "LABEL_ID" or _ID.fullmatch(word) else word for word in words]
        code, said = self._invoke(words)
        assert code == ENDS.get(way_of(command, ENDS) or "", 0), f"{command}: exit code {code}\n{said}"
        if found := _ID.findall(said):
            self._ids[group] = found[-1]

    @staticmethod
    def _invoke(words: list[str]) -> tuple[int, str]:
        with interrupted_once_it_listens() if words[:2] == UNTIL_STOPPED else nullcontext():
            done = CliRunner().invoke(app, words)
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.exit_code, done.output


@contextmanager
def interrupted_once_it_listens() -> Iterator[None]:
    """Ctrl-C for a command that runs until then, as soon as it handles it."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def interrupt() -> None:
        while signal.getsignal(signal.SIGINT) is before[signal.SIGINT]:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt, daemon=True)
    thread.start()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def fetch(command: Command, ports: Mapping[int, int]) -> None:
    """Run a `curl` of the pages against services on other ports; an AssertionError if the status is not what its page says.

    Of a stream that stays open, its beginning is enough.
    """
    words = [
        re.sub(r"(localhost|127\.0\.0\.1|192\.0\.2\.7):(\d+)", lambda at: f"127.0.0.1:{ports[int(at[2])]}", word)
        for word in command.words
    ]
    is_stream = "-N" in words
    for limit_s in (1, _PATIENCE_S) if is_stream else (_PATIENCE_S,):
        options = ["--noproxy", "*", "--max-time", str(limit_s), "--output", os.devnull, "--write-out", "%{http_code}"]
        done = subprocess.run([*words, *options], stdout=subprocess.PIPE, text=True, check=False)
        if int(done.stdout):
            break
    assert done.returncode == 0 or is_stream, command
    assert int(done.stdout) == ENDS.get(way_of(command, ENDS) or "", 200), f"{command}: status {done.stdout}"
