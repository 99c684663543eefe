"""The scan in a real collector, from the champion's file to the committed alert."""

import asyncio
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import polars as pl
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from models.scan.detector import Day, ScanDetector
from serving.app import application
from tapewatch.emulator.process import RunningEmulator, running_emulator
from tapewatch.features.bins.batch import bins_5s
from tapewatch.market.instruments import Market
from tapewatch.market.tables.live import ALERTS
from tapewatch.store.database.database import Database
from tapewatch.streaming.detection.champion import file_of, publish
from tapewatch.tracing import ids_of
from tests.support.collectors import CollectorProcess, collecting, eventually
from tests.support.otlp import Receiver, otlp_receiver
from tests.support.scoring import deployment_of, save_detector
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
    with (
        otlp_receiver() as receiver,
        collecting(
            Market.CRYPTO, tmp_path, emulator.base_url, SYMBOLS, TAPEWATCH_OTLP_ENDPOINT=receiver.url
        ) as collector,
    ):
        status = eventually(lambda: (s := collector.status()).get("scan_latency_p50_ms") and s)
        assert status["scan_model"] == "scan/1"
        # A machine that stalls for a moment delays a few.
        assert eventually(lambda: collector.status().get("scan_latency_p50_ms", 1e9) < 1_000)
        before = eventually(lambda: not (found := scan_alerts(collector)).is_empty() and [found])[0]
        assert before["message"].str.contains(r": [a-z ]+, 1 in [\d,]+ h: ").all()
        assert before["end_time"].is_null().all()
        eventually(lambda: set(before["alert_id"]) <= {name for name, _ in traced_alerts(receiver)})
        collector.signal(signal.SIGKILL)
        collector.wait()
        collector.start()
        eventually(lambda: (s := collector.status()).get("scan_model") and s["uptime_s"] > 10)
        after = scan_alerts(collector)
        # The same incidents go on under the same names.
        assert after["symbol"].n_unique() == after.height
        assert set(before["alert_id"]) <= set(after["alert_id"])
        check_traces(receiver, tmp_path)


def traced_alerts(receiver: Receiver) -> list[tuple[str, Span]]:
    """The root spans of alerts, each with the alert's id."""
    return [
        (each.value.string_value, span)
        for span in receiver.spans
        for each in span.attributes
        if each.key == "tapewatch.alert_id"
    ]


def check_traces(receiver: Receiver, home: Path) -> None:
    """An alert's trace leads from the end of its bin to the commit, and a score that is asked for because of it joins the trace."""
    alert_id, root = traced_alerts(receiver)[0]
    assert (root.name, root.trace_id) == ("alert scan", ids_of(alert_id)[0].to_bytes(16))
    steps = sorted(
        (span for span in receiver.spans if span.parent_span_id == root.span_id),
        key=lambda span: span.start_time_unix_nano,
    )
    # Another process may hold the database for a moment.
    assert [span.name for span in steps][-2:] in (["detect", "commit"], ["detect", "wait for the database"])
    edges = [root.start_time_unix_nano, *(span.end_time_unix_nano for span in steps)]
    assert edges == sorted(edges)
    assert edges[-1] == root.end_time_unix_nano
    asyncio.run(score_because_of(alert_id, home, receiver.url))
    eventually(lambda: [s for s in receiver.spans if s.name == "POST /score" and s.trace_id == root.trace_id])


async def score_because_of(alert_id: str, home: Path, endpoint: str) -> None:
    """Score a row with the header that the service lists with an alert."""
    deployment = deployment_of(save_detector(home / "model"), home, otlp_endpoint=endpoint)
    await deployment.start()
    transport = httpx.ASGITransport(application(deployment))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        listed = (await client.get("/alerts?source=alert&limit=1000")).raise_for_status().json()["alerts"]
        header = next(each["traceparent"] for each in listed if each["id"] == alert_id)
        row = {"symbol": "AAPL", "event_time": "2024-06-03T14:31:00Z", "volume_ratio": 400.0}
        (await client.post("/score", json=row, headers={"traceparent": header})).raise_for_status()
    await deployment.stop()
