"""A collector's figures over HTTP."""

import json
import urllib.error
import urllib.request

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from tapewatch.market.instruments import Market
from tapewatch.streaming.collector.lock import CollectorError
from tapewatch.streaming.collector.metrics import CollectorStatus, Latencies, Rate, serve_metrics


def status() -> CollectorStatus:
    return CollectorStatus(market="crypto", state="streaming", pid=7, events=41, open_gaps=2, is_database_away=True)


def fetch(port: int, page: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{page}", timeout=60) as answer:
        return answer.read().decode()


def test_the_same_snapshot_as_json_and_for_prometheus() -> None:
    registry = CollectorRegistry()
    latencies = Latencies(Market.CRYPTO, registry)
    latencies.add(0.004)
    with serve_metrics(0, status, registry) as port:
        answer = json.loads(fetch(port, "/status"))
        assert answer["market"] == "crypto"
        assert answer["lag_s"] is None
        samples = {
            (sample.name, sample.labels.get("le", "")): sample.value
            for family in text_string_to_metric_families(fetch(port, "/metrics"))
            for sample in family.samples
            if sample.labels["market"] == "crypto"
        }
        assert samples["tapewatch_events_total", ""] == 41
        assert samples["tapewatch_open_gaps", ""] == 2
        assert samples["tapewatch_database_away", ""] == 1
        assert samples["tapewatch_alert_latency_seconds_bucket", "0.005"] == 1
        assert samples["tapewatch_alert_latency_seconds_bucket", "0.0025"] == 0
        assert ("tapewatch_lag_seconds", "") not in samples
        with pytest.raises(urllib.error.HTTPError, match="404"):
            fetch(port, "/nothing")


def test_a_taken_port_is_refused_with_the_way_out() -> None:
    with (
        serve_metrics(0, status, CollectorRegistry()) as port,
        pytest.raises(CollectorError, match=rf"port {port} .*TAPEWATCH_PORT_METRICS"),
        serve_metrics(port, status, CollectorRegistry()),
    ):
        pass


def test_quantiles_of_latencies() -> None:
    latencies = Latencies(Market.CRYPTO, CollectorRegistry())
    assert latencies.quantile_ms(0.5) is None
    for ms in range(1, 101):
        latencies.add(ms / 1_000)
    assert latencies.quantile_ms(0.5) == pytest.approx(51)
    assert latencies.quantile_ms(0.99) == pytest.approx(100)


def test_a_rate_covers_the_last_seconds_only() -> None:
    rate = Rate()
    assert rate.per_second == 0
    for second in range(100):
        rate.mark(second, 10 * second if second < 50 else 500)
    assert rate.per_second == 0
    rate.mark(100, 600)
    assert rate.per_second == pytest.approx(10)
