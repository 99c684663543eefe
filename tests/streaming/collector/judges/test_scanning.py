"""The scan in a real collector, from the champion's file to the committed alert."""

import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from models.scan.detector import Day, ScanDetector
from tapewatch.emulator.process import RunningEmulator, running_emulator
from tapewatch.features.bins.batch import bins_5s
from tapewatch.market.instruments import Market
from tapewatch.market.tables.live import ALERTS
from tapewatch.store.database.database import Database
from tapewatch.streaming.detection.champion import file_of, publish
from tests.support.collectors import CollectorProcess, collecting, eventually
from tests.support.synthetic_days import days, synthetic_day

pytestmark = pytest.mark.slow
SYMBOLS = "X:BTC-USD,X:ETH-USD"


@pytest.fixture(scope="module")
def detector() -> ScanDetector:
    """Fitted on two days of crypto, and set so low that every symbol has an incident."""
    fitted = []
    for date in days(Market.CRYPTO)[:2]:
        day = synthetic_day(Market.CRYPTO, date)
        fitted.append(Day(day.session, bins_5s(day.trades, day.quotes, day.session), day.truth))
    return replace(ScanDetector.fit(fitted), hours=1e-6)


@pytest.fixture(scope="module")
def emulator() -> Iterator[RunningEmulator]:
    """The present of crypto, at the pace of the clock."""
    with running_emulator(speed="1") as running:
        yield running


def scan_alerts(collector: CollectorProcess) -> pl.DataFrame:
    with Database(f"sqlite:///{collector.home / 'tapewatch.db'}") as database:
        return database.read(ALERTS, market=Market.CRYPTO, where={"rule": "scan"})


def test_an_incident_is_a_committed_alert_within_a_second_of_its_bin_and_survives_a_kill(
    tmp_path: Path, emulator: RunningEmulator, detector: ScanDetector
) -> None:
    publish(detector, "scan/1", file_of(tmp_path / "champions", "scan"))
    with collecting(Market.CRYPTO, tmp_path, emulator.base_url, SYMBOLS) as collector:
        status = eventually(lambda: (s := collector.status()).get("scan_latency_p50_ms") and s)
        assert status["scan_model"] == "scan/1"
        # A machine that stalls for a moment delays a few.
        assert eventually(lambda: collector.status().get("scan_latency_p50_ms", 1e9) < 1_000)
        before = eventually(lambda: not (found := scan_alerts(collector)).is_empty() and [found])[0]
        assert before["message"].str.contains(r": [a-z ]+, 1 in [\d,]+ h: ").all()
        assert before["end_time"].is_null().all()
        collector.signal(signal.SIGKILL)
        collector.wait()
        collector.start()
        eventually(lambda: (s := collector.status()).get("scan_model") and s["uptime_s"] > 10)
        after = scan_alerts(collector)
        # The same incidents go on under the same names.
        assert after["symbol"].n_unique() == after.height
        assert set(before["alert_id"]) <= set(after["alert_id"])
