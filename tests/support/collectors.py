"""A market's collector in its own process, with its home in a folder, over an emulator's stream."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from tapewatch.market.instruments import Market
from tapewatch.store.spool.files import SPOOLED, market_files
from tapewatch.store.spool.rows import read_rows
from tests.support.ports import free_ports


def eventually(condition: Callable[[], object], seconds: float = 180) -> Any:
    """The first true result of `condition`; fails if there is none in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := condition():
            return answer
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds:.0f} s")


@dataclass
class CollectorProcess:
    """A collector of one market. `environment` adds to its settings."""

    market: Market
    home: Path
    base_url: str
    symbols: str
    environment: dict[str, str] = field(default_factory=dict)
    key: str = "advanced-test"

    def __post_init__(self) -> None:
        # The collector adds its market's number to the first port.
        self.port = free_ports(1)[0]
        self.log = self.home / "collector.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        index = list(Market).index(self.market)
        settings = {
            "TAPEWATCH_HOME": str(self.home),
            "POLYGON_API_KEY": self.key,
            "POLYGON_BASE_URL": self.base_url,
            f"POLYGON_TIER_{self.market.upper()}": "advanced",
            "TAPEWATCH_PORT_METRICS": str(self.port - index),
            **self.environment,
        }
        command = [sys.executable, "-m", "orchestration.processes.collector", self.market, "--symbols", self.symbols]
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                command, env=os.environ | settings, stdout=output, stderr=output, stdin=subprocess.DEVNULL
            )

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self, seconds: float = 180) -> int:
        """Wait for its end; returns the exit code."""
        assert self.process is not None
        return self.process.wait(seconds)

    def status(self) -> dict[str, Any]:
        """Its status; empty before it replies."""
        assert self.process is not None
        assert self.process.poll() is None, f"the collector ended:\n{self.log.read_text()}"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/status", timeout=30) as answer:
                return json.load(answer)
        except OSError:
            return {}

    def waits_for(self, events: int, seconds: float = 180) -> dict[str, Any]:
        """Its status once `events` events are decoded."""
        return eventually(lambda: (s := self.status()).get("events", 0) >= events and s, seconds)

    def spooled(self, table: str) -> pl.DataFrame:
        """The spooled rows of a streamed table in order of their files."""
        days = market_files(self.home / "spool" / self.market).values()
        files = [file for day in days for file in day if file.table == table]
        return read_rows(SPOOLED[table], sorted(files))[0]

    def end(self) -> None:
        """Kill the process if it is running."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@contextmanager
def collecting(
    market: Market, home: Path, base_url: str, symbols: str, **environment: str
) -> Iterator[CollectorProcess]:
    """A collector that runs within the block."""
    collector = CollectorProcess(market, home, base_url, symbols, environment)
    collector.start()
    try:
        yield collector
    finally:
        collector.end()


def sent(base_url: str, market: Market) -> dict[str, Any]:
    """The progress of a market's stream in the emulator."""
    with urllib.request.urlopen(f"{base_url}/emulator/v1/stream?market={market}", timeout=60) as answer:  # noqa: S310 - loopback
        return json.load(answer)
