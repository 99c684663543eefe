"""The dossier of an event: made again bit for bit, and what it says when the tape was revised."""

import json
from collections.abc import Iterator

import polars as pl
import pytest

from tapewatch.market.derived_tables import INCIDENTS
from tapewatch.market.live_tables import ALERTS
from tapewatch.market.tables import TRADES
from tapewatch.reports.dossier.page import dossier_html, dossier_text
from tapewatch.store.database.verdicts import VerdictError, give_verdict, incident_id
from tests.support.scored_days import DAYS, ScoredDays


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScoredDays]:
    made = ScoredDays(tmp_path_factory.mktemp("platform"))
    yield made
    made.database.close()


def test_an_anomaly_is_made_again_and_explained(platform: ScoredDays) -> None:
    name = platform.strongest(DAYS[1])
    give_verdict(platform.database, name, verdict="confirmed", author="ada", note="halted soon after")
    found = platform.dossier(name)
    assert found.is_identical
    assert found.score_now == found.score_of_features == found.event.score
    assert found.revised == found.changed == []
    assert {name for name, each in found.inputs.items() if each["sha256"] == each["sha256_then"]} == {
        "features/microstructure", "tape/trades", "tape/quotes", "tape/bars",
    }  # fmt: skip
    strongest = found.measures[0]
    assert strongest.value is not None
    assert strongest.low is not None
    assert strongest.high is not None
    assert not strongest.low <= strongest.value <= strongest.high
    said = {reason["feature"]: reason["shap_value"] for reason in found.event.reasons}
    assert {m.feature: m.contribution for m in found.measures if m.feature in said} == pytest.approx(said)
    # The events that are shown were over before this one began.
    assert found.neighbours
    assert all(row["end_time"] <= found.event.start for row in found.neighbours)
    text, page = dossier_text(found), dossier_html(found)
    assert "bit for bit" in text
    assert strongest.words in text
    assert "halted soon after" in page
    assert strongest.words.replace("'", "&#39;") in page
    assert json.loads(found.json())["is_identical"] is True


def test_an_incident_is_made_again(platform: ScoredDays) -> None:
    event = platform.database.read(INCIDENTS).sort("surprise", descending=True).row(0, named=True)
    found = platform.dossier(incident_id(event["market"], event["symbol"], event["start_time"]))
    assert found.is_identical
    assert found.reasons[0] == json.loads(event["reasons"])[0]["words"]
    assert "bit for bit" in dossier_html(found)


def test_a_person_s_word_on_a_similar_event_is_shown(platform: ScoredDays) -> None:
    found = platform.dossier(platform.strongest(DAYS[1]))
    near = found.neighbours[0]
    give_verdict(platform.database, near["pattern_id"], verdict="dismissed", author="ben")
    assert platform.dossier(found.event.event_id).neighbours[0]["label"] == "dismissed"


def test_an_alert_of_a_rule_is_explained_but_not_made_again(platform: ScoredDays) -> None:
    minute = platform.dossier(platform.strongest(DAYS[1])).event.start
    row = {
        "alert_id": "stocks:volume_spike:AAPL:1", "symbol": "AAPL", "rule": "volume_spike", "severity": "warning", "value": 9.0,
        "start_time": minute, "end_time": None, "detected_time": minute, "baseline": 3.0, "multiple": 3.0, "peak": 9.0,
        "observations": 1, "message": "AAPL: volume 9",
    }  # fmt: skip
    platform.database.upsert(ALERTS, DAYS[1], ALERTS.conform(pl.DataFrame([row])))
    found = platform.dossier("stocks:volume_spike:AAPL:1")
    assert found.score_now is None
    assert found.reasons[0] == "AAPL: volume 9"
    assert found.measures
    assert "order in which the stream arrived" in dossier_html(found)


def test_an_unknown_event_is_refused_by_name(platform: ScoredDays) -> None:
    with pytest.raises(VerdictError, match="there is no alert 'stocks:anomaly:AAPL:20240304T120000000000'"):
        platform.dossier("stocks:anomaly:AAPL:20240304T120000000000")


def test_where_the_tape_was_revised_both_are_shown(platform: ScoredDays) -> None:
    name = platform.strongest(DAYS[1])
    event = platform.dossier(name).event
    trades = platform.lake.read(TRADES, DAYS[1])
    inside = (pl.col("symbol").cast(pl.String) == event.symbol) & pl.col("time").is_between(event.start, event.end)
    # Every other trade of the event is withdrawn.
    late = trades.filter(~inside | (pl.col("sequence_number") % 2 == 0))
    platform.lake.write(TRADES, DAYS[1], late)
    try:
        found = platform.dossier(name)
    finally:
        platform.lake.write(TRADES, DAYS[1], trades)
    assert not found.is_identical
    assert found.score_of_features == event.score
    assert found.score_now != event.score
    assert found.revised == ["tape/trades"]
    assert found.changed
    page = dossier_html(found)
    assert "The tape says otherwise now: tape/trades was replaced since" in page
    assert repr(event.score) in page
    assert repr(found.score_now) in page
