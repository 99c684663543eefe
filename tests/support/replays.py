"""A collector in the test's process that collects an emulator's replay to its end."""

import json
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tapewatch.emulator.process import RunningEmulator
from tapewatch.features.regimes.hidden_markov import RegimeModel
from tapewatch.features.seasonality.model import SeasonalModel
from tapewatch.feeds.plans.table import plan_for
from tapewatch.feeds.stream.channels import subscriptions
from tapewatch.feeds.stream.policy import ConnectionPolicy
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.live import GAPS
from tapewatch.store.database.database import Database
from tapewatch.streaming.collector.collector import Collector
from tapewatch.streaming.collector.config import CollectorConfig
from tapewatch.streaming.collector.metrics import CollectorStatus
from tapewatch.streaming.detection.rules.settings import DetectionConfig
from tapewatch.streaming.gaps.book import GROWING
from tapewatch.streaming.gaps.interruptions import DISCONNECT

KEY = "advanced-test"
#: Long timeouts for an emulator on a busy machine.
PATIENT = ConnectionPolicy(open_timeout_s=60, reply_timeout_s=60, ping_timeout_s=60)


@dataclass(frozen=True)
class Home:
    """A collector's home folder."""

    root: Path

    @property
    def spool(self) -> Path:
        """Its spool."""
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
    key: str = KEY,
    champions: Path | None = None,
    regime_model: Callable[[Partition], RegimeModel | None] | None = None,
    seasonal_model: Callable[[Partition], SeasonalModel | None] | None = None,
    timeout_s: float = 240.0,
) -> CollectorStatus:
    """Collect a replay to its end; returns the collector's status after it has stored everything."""
    config = CollectorConfig(
        market=market,
        url=f"{emulator.ws_url}/{market}",
        key=key,
        subscriptions=subscriptions(plan_for(market, "advanced"), symbols, channels),
        spool_root=home.spool,
        run_folder=home.root / "run",
        database_url=home.database,
        detection=DetectionConfig.load(),
        connection=connection or PATIENT,
        champions=champions,
        regime_model=regime_model,
        seasonal_model=seasonal_model,
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
    """Wait until the tape's end has been received over a working connection and the queue is empty."""
    while time.monotonic() < deadline:
        assert thread.is_alive(), "the collector ended before the tape did"
        if progress_of(emulator, market, collector.config.key)["is_done"]:
            status = collector.status()
            if status.state == "streaming" and not status.queue_frames and not _growing(collector.config):
                return
        time.sleep(0.1)
    raise AssertionError(f"the replay did not end in time: {progress_of(emulator, market)}, {collector.status()}")


def _growing(config: CollectorConfig) -> int:
    with Database(config.database_url) as database:
        return database.read(GAPS, market=config.market, where={"status": GROWING, "cause": DISCONNECT}).height


def progress_of(emulator: RunningEmulator, market: Market, key: str | None = None) -> dict[str, Any]:
    """The progress of a market's stream in the emulator, for one key or for any."""
    query = f"market={market}" + (f"&key={key}" if key else "")
    with urllib.request.urlopen(f"{emulator.base_url}/emulator/v1/stream?{query}", timeout=60) as answer:  # noqa: S310
        progress: dict[str, Any] = json.load(answer)
    return progress


def put_faults(emulator: RunningEmulator, faults: Sequence[Mapping[str, object]]) -> None:
    """Replace the faults in force."""
    body = json.dumps({"fault": list(faults)}).encode()
    with urllib.request.urlopen(f"{emulator.base_url}/emulator/v1/faults", data=body, timeout=60):  # noqa: S310
        pass
