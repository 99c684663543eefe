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
from tapewatch.streaming.collector import Collector, CollectorConfig
from tapewatch.streaming.metrics import Status
from tapewatch.streaming.rules_settings import DetectionConfig

KEY = "advanced-test"
_QUIET_S = 2.0


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
    """Collect a replay to its end; what the collector said of itself when all had come."""
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
        status = _until_done(emulator, market, collector, thread, time.monotonic() + timeout_s)
    finally:
        collector.stop()
        thread.join(60)
    assert not failures
    assert not thread.is_alive()
    return status


def _until_done(
    emulator: RunningEmulator, market: Market, collector: Collector, thread: threading.Thread, deadline: float
) -> Status:
    # What was on its way when a connection broke never comes: the end is where nothing more does.
    seen, since = -1, time.monotonic()
    while time.monotonic() < deadline:
        assert thread.is_alive(), "the collector ended before the tape did"
        if progress_of(emulator, market)["is_done"]:
            status = collector.status()
            if status.events != seen or status.queue_frames:
                seen, since = status.events, time.monotonic()
            if time.monotonic() - since > _QUIET_S:
                return status
        time.sleep(0.1)
    raise AssertionError(f"the replay did not end in time: {progress_of(emulator, market)}, {collector.status()}")


def progress_of(emulator: RunningEmulator, market: Market) -> dict[str, Any]:
    """How far the emulator's stream of a market is."""
    with urllib.request.urlopen(f"{emulator.base_url}/emulator/v1/stream?market={market}") as answer:  # noqa: S310
        progress: dict[str, Any] = json.load(answer)
    return progress
