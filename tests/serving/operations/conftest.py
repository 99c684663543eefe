"""A deployment with an operational database and an online store, and a client of it in this process."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import polars as pl
import pytest
from feast.protos.feast.types.Value_pb2 import Value
from starlette.testclient import TestClient

from serving.app import application
from serving.deployment import Deployment
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.derived import INCIDENTS
from tapewatch.market.tables.live import ALERTS
from tapewatch.market.tables.tape import ANOMALIES
from tapewatch.store.database.database import Database
from tapewatch.store.vectors.symbols import MICROSTRUCTURE_VIEW, open_vectors, symbol_key
from tapewatch.store.vectors.vectors import Vector
from tests.support.scoring import deployment_of, save_detector

AT = dt.datetime(2024, 6, 3, 14, 25, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)
DAY = Partition(AT.date(), Market.STOCKS)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True)
class Served:
    """A running application: its client, its parts, and its database to write to."""

    client: TestClient
    deployment: Deployment
    database: Database


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_detector(tmp_path_factory.mktemp("served-model"))


@pytest.fixture
def served(tmp_path: Path, model: Path) -> Iterator[Served]:
    with Database(f"sqlite:///{tmp_path / 'tapewatch.db'}") as database:
        deployment = deployment_of(model, tmp_path, scoring_sample=1.0, scoring_log_requests=False)
        with TestClient(application(deployment), base_url="http://127.0.0.1") as client:
            yield Served(client, deployment, database)
    deployment.database.close()


def an_alert(
    name: str = "1", *, detected: dt.datetime = AT, symbol: str = "AAPL", severity: str = "warning"
) -> pl.DataFrame:
    """A row of `ALERTS`."""
    row = {
        **{"alert_id": f"stocks:price_jump:{symbol}:{name}", "symbol": symbol, "rule": "price_jump"},
        **{"severity": severity, "start_time": AT, "end_time": None, "detected_time": detected, "value": 1.0},
        **{"baseline": 0.5, "multiple": 2.0, "peak": 1.0, "observations": 1, "message": "moved"},
    }
    return ALERTS.conform(pl.DataFrame([row], schema_overrides={"end_time": pl.Datetime("us", "UTC")}))


def write_findings(database: Database, *, hours: float | None = 150.0) -> None:
    """An alert, an incident and an anomaly, ten minutes apart."""
    database.upsert(ALERTS, DAY, an_alert())
    incident = {
        **{"symbol": "AAPL", "start_time": AT + 10 * MINUTE, "end_time": AT + 11 * MINUTE, "surprise": 5.0},
        **{"known_time": AT + 10 * MINUTE, "kind": "spread_blowout", "hours": 137.0, "model": "scan/1"},
        "reasons": '[{"kind": "spread_blowout", "statistic": "x", "value": 6.5, "words": "spread 6.5 times the usual"}]',
    }
    database.upsert(INCIDENTS, DAY, INCIDENTS.conform(pl.DataFrame([incident])))
    anomaly = {
        **{"symbol": "MSFT", "start_time": AT + 20 * MINUTE, "end_time": AT + 21 * MINUTE, "score": 0.8},
        **{"known_time": AT + 21 * MINUTE, "kind": "volume_spike", "threshold": 0.6, "minutes": 1, "model": "if/1"},
        "hours": hours,
        "reasons": '[{"feature": "volume_ratio", "value": 400.0, "shap_value": 1.0}]',
    }
    database.upsert(ANOMALIES, DAY, ANOMALIES.conform(pl.DataFrame([anomaly])))


def publish(home: Path, symbol: str, event: dt.datetime, known: dt.datetime, **values: float) -> None:
    """Write a symbol's vector as Feast's online store does."""
    content = {name: Value(double_val=value).SerializeToString() for name, value in values.items()}
    vectors = open_vectors(home)
    vectors.prepare()
    times = ((time - _EPOCH) // dt.timedelta(microseconds=1) for time in (event, known))
    vectors.write(MICROSTRUCTURE_VIEW, [Vector(symbol_key(symbol), *times, msgspec.msgpack.encode(content))])
    vectors.close()
