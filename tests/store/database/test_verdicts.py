"""Verdicts on alerts and incidents."""

import datetime as dt

import polars as pl
import pytest

from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.derived import INCIDENTS
from tapewatch.market.tables.live import ALERT_VERDICTS, ALERTS, AUDIT
from tapewatch.store.database.database import Database
from tapewatch.store.database.people.verdicts import VerdictError, give_verdict, incident_id

_AT = dt.datetime(2024, 6, 3, 14, 25, 0, 5, tzinfo=dt.UTC)
_DAY = Partition(_AT.date(), Market.CRYPTO)


@pytest.fixture
def database(tmp_path):
    with Database(f"sqlite:///{tmp_path / 'd.db'}") as database:
        yield database


def _an_alert(database: Database) -> str:
    row = {
        "alert_id": "crypto:price_jump:X:BTC-USD:1",
        "symbol": "X:BTC-USD",
        "rule": "price_jump",
        "severity": "warning",
        "start_time": _AT,
        "end_time": None,
        "detected_time": _AT,
        "value": 1.0,
        "baseline": 0.5,
        "multiple": 2.0,
        "peak": 1.0,
        "observations": 1,
        "message": "moved",
    }
    database.upsert(ALERTS, _DAY, ALERTS.conform(pl.DataFrame([row])))
    return row["alert_id"]


def test_the_newest_verdict_of_each_author_stays(database):
    alert = _an_alert(database)
    give_verdict(database, alert, verdict="confirmed", author="ada")
    give_verdict(database, alert, verdict="dismissed", author="ada", note="a late print")
    give_verdict(database, alert, verdict="confirmed", author="ben")
    kept = database.read(ALERT_VERDICTS).sort("author")
    assert kept["verdict"].to_list() == ["dismissed", "confirmed"]
    assert kept["symbol"].to_list() == ["X:BTC-USD"] * 2
    assert kept["market"].to_list() == ["crypto"] * 2
    assert database.read(AUDIT, where={"action": "verdict"}).height == 3


def test_an_incident_is_named_by_market_symbol_and_start(database):
    row = {
        "symbol": "X:BTC-USD",
        "start_time": _AT,
        "end_time": _AT,
        "known_time": _AT,
        "kind": "price_jump",
        "surprise": 2.0,
        "hours": 650.0,
        "reasons": "[]",
        "model": "scan 1",
    }
    database.upsert(INCIDENTS, _DAY, INCIDENTS.conform(pl.DataFrame([row])))
    name = incident_id("crypto", "X:BTC-USD", _AT)
    give_verdict(database, name, verdict="confirmed", author="ada")
    assert database.read(ALERT_VERDICTS)["alert_id"].to_list() == [name]


@pytest.mark.parametrize(
    ("alert_id", "verdict", "author", "words"),
    [
        ("crypto:price_jump:X:BTC-USD:1", "maybe", "ada", "'maybe' is no verdict"),
        ("crypto:price_jump:X:BTC-USD:1", "confirmed", " ", "needs an author"),
        ("nothing", "confirmed", "ada", "no alert 'nothing'"),
        ("crypto:incident:X:BTC-USD:noon", "confirmed", "ada", "its start is no time"),
        ("crypto:incident:X:BTC-USD:20240603T142500000005", "confirmed", "ada", "no alert"),
    ],
)
def test_what_cannot_be_recorded_is_refused(database, alert_id, verdict, author, words):
    _an_alert(database)
    with pytest.raises(VerdictError, match=words):
        give_verdict(database, alert_id, verdict=verdict, author=author)
    assert database.read(ALERT_VERDICTS).is_empty()
