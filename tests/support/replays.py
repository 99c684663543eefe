"""A collector over an emulator's replay, from the first frame to the last, within a test."""

import json
import threading
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tapewatch.emulator.process import RunningEmulator
from tapewatch.feeds.plans import plan_for
from tapewatch.feeds.stream_channels import subscriptions
from tapewatch.feeds.stream_policy import ConnectionPolicy
from tapewatch.market.instruments import Market
from tapewatch.market.live_tables import GAPS
from tapewatch.store.database import Database
from tapewatch.streaming.collector import Collector, CollectorConfig
from tapewatch.streaming.gaps import GROWING
from tapewatch.streaming.metrics import Status
from tapewatch.streaming.rules_settings import DetectionConfig

KEY = "advanced-test"


@dataclass(frozen=True)
class Home:
    """Where a collector keeps what it has."""

    root: Path

    @property
    def spool(self) -> Path:
        """Its batches."""
        return self.root / "spool"

    @property
    def database(self) -> str:
        """Its operational database."""
        return f"sqlite:///{self.root / 'live.db'}"


def collect_all(
    emulator: RunningEmulator,
    market: Market,
    home: Home,
    symbols: Sequence[str] = (),
    *,
    channels: Sequence[str] | None = None,
    connection: ConnectionPolicy | None = None,
    timeout_s: float = 240.0,
) -> Status:
    """Collect a replay to its end; what the collector said of itself when all was kept."""
    config = CollectorConfig(
        market=market,
        url=f"{emulator.ws_url}/{market}",
        key=KEY,
        subscriptions=subscriptions(plan_for(market, "advanced"), symbols, channels),
        spool_root=home.spool,
        run_folder=home.root / "run",
        database_url=home.database,
        detection=DetectionConfig.load(),
        connection=connection,
    )
    collector = Collector(config)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            collector.run()
        except BaseException as error:
            failures.append(error)
            raise

    thread = threading.Thread(target=run)
    thread.start()
    try:
        _until_done(emulator, market, collector, thread, time.monotonic() + timeout_s)
    finally:
        collector.stop()
        thread.join(60)
    assert not failures
    assert not thread.is_alive()
    return collector.status()


def _until_done(
    emulator: RunningEmulator, market: Market, collector: Collector, thread: threading.Thread, deadline: float
) -> None:
    """Wait until the tape's end has come over a connection that holds, and no gap grows: the rest is kept at the stop."""
    while time.monotonic() < deadline:
        assert thread.is_alive(), "the collector ended before the tape did"
        if progress_of(emulator, market)["is_done"]:
            status = collector.status()
            if status.state == "streaming" and not status.queue_frames and not _growing(collector.config):
                return
        time.sleep(0.1)
    raise AssertionError(f"the replay did not end in time: {progress_of(emulator, market)}, {collector.status()}")


def _growing(config: CollectorConfig) -> int:
    with Database(config.database_url) as database:
        return database.read(GAPS, market=config.market, where={"status": GROWING}).height


def progress_of(emulator: RunningEmulator, market: Market) -> dict[str, Any]:
    """How far the emulator's stream of a market is."""
    with urllib.request.urlopen(f"{emulator.base_url}/emulator/v1/stream?market={market}") as answer:  # noqa: S310
        progress: dict[str, Any] = json.load(answer)
    return progress
