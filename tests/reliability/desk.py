"""A deployment on one emulator: collector, healer and ingest runs as processes that may be killed, and their home."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tapewatch.emulator.process import RunningEmulator
from tapewatch.market.instruments import Market, Partition
from tapewatch.settings import Settings
from tapewatch.store.lake.lake import Lake
from tapewatch.streaming.gaps.book import GROWING, OPEN
from tests.support.ports import free_ports
from tests.support.replays import progress_of

CHECKOUT = Path(__file__).resolve().parents[2]
_INGEST = """
import sys
from orchestration.runs.runs import run_days
from tapewatch.market.instruments import Partition
from tapewatch.settings import Settings
day = Partition.parse(sys.argv[1])
run_days(Settings(), "ingest_stream", day.market, day.date, day.date)
"""


@dataclass
class Desk:
    """A deployment under test. `day` is the day that the emulator replays."""

    emulator: RunningEmulator
    home: Path
    day: Partition
    symbols: Sequence[str]
    database_url: str | None = None

    @property
    def market(self) -> Market:
        return self.day.market

    @property
    def lake(self) -> Lake:
        return Lake(self.home / "lake")

    @property
    def database(self) -> str:
        """URL of the operational database."""
        return self.database_url or f"sqlite:///{self.home / 'tapewatch.db'}"

    def environment(self) -> dict[str, str]:
        """Settings of its processes."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("TAPEWATCH_", "POLYGON_"))}
        market = self.market.upper()
        return kept | {
            "TAPEWATCH_HOME": str(self.home),
            "TAPEWATCH_DATABASE_URL": self.database,
            f"TAPEWATCH_SYMBOLS_{market}": ",".join(self.symbols),
            "TAPEWATCH_PORT_METRICS": str(free_ports(len(Market))[0]),
            "POLYGON_API_KEY": "advanced-desk",  # pragma: allowlist secret
            "POLYGON_BASE_URL": self.emulator.base_url,
            "POLYGON_WS_URL": self.emulator.ws_url,
            f"POLYGON_TIER_{market}": "advanced",
            "DAGSTER_HOME": str(self.home / "dagster"),
        }

    def settings(self) -> Settings:
        """The same settings for work in this process."""
        return Settings(
            _env_file=None,
            home=self.home,
            database_url=self.database,
            polygon_api_key="advanced-desk",  # pragma: allowlist secret
            polygon_base_url=self.emulator.base_url,
            markets={self.market: {"symbols": tuple(self.symbols), "plan": "advanced"}},
        )

    def collector(self) -> subprocess.Popen[bytes]:
        """A collector, as the supervisor starts it."""
        return self._start("collector", "-m", "orchestration.processes.collector", str(self.market))

    def healer(self) -> subprocess.Popen[bytes]:
        """One pass of the healer over the gaps."""
        return self._start("healer", "-c", "from orchestration.cli.app import app; app()", "heal")

    def ingest(self) -> subprocess.Popen[bytes]:
        """One ingest run of the day, as the sensor asks for it."""
        return self._start("ingest", "-c", _INGEST, str(self.day))

    def _start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        self.home.mkdir(parents=True, exist_ok=True)
        log = self.home / f"{name}.log"
        with log.open("ab") as stream:
            return subprocess.Popen(
                [sys.executable, *arguments], cwd=CHECKOUT, env=self.environment(), stdout=stream, stderr=stream
            )

    def tail(self, name: str, lines: int = 15) -> str:
        """The end of a process's log."""
        path = self.home / f"{name}.log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""


UNFINISHED = (GROWING, OPEN)
#: Longest wait, for a busy machine.
PATIENCE_S = 240.0


@contextmanager
def lasting_process(process: "subprocess.Popen[bytes]") -> Iterator["subprocess.Popen[bytes]"]:
    """Kills the process at the scenario's end if it still runs."""
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def until(holds: Callable[[], bool], what: str, seconds: float = PATIENCE_S) -> None:
    """Wait until a condition holds, and fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain for: {what}"
        time.sleep(0.1)


def until_done(desk: Desk, collector: "subprocess.Popen[bytes]", seconds: float) -> None:
    """Wait until the collector has received the whole tape."""

    def is_done() -> bool:
        assert collector.poll() is None, desk.tail("collector")
        return bool(progress_of(desk.emulator, desk.market)["is_done"])

    until(is_done, "the tape's end", seconds)


def stop(desk: Desk, collector: "subprocess.Popen[bytes]") -> None:
    """Stop a running collector with SIGTERM: it keeps what it received."""
    assert collector.poll() is None, desk.tail("collector")
    collector.send_signal(signal.SIGTERM)
    assert collector.wait(PATIENCE_S) == 0, desk.tail("collector")
