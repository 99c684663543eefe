"""The dossier of an event: made again bit for bit, and what it says when the tape was revised."""

import datetime as dt
import json
from collections.abc import Iterator

import numpy as np
import polars as pl
import pytest

from models.patterns.shape import SHAPE
from tapewatch.market.tables.derived import ANOMALY_PATTERNS, INCIDENTS
from tapewatch.market.tables.features import REGIMES
from tapewatch.market.tables.live import ALERTS
from tapewatch.market.tables.tape import MICROSTRUCTURE, TRADES
from tapewatch.reports.dossier.page import dossier_html, dossier_text
from tapewatch.reports.dossier.regime import regime_words
from tapewatch.store.database.people.verdicts import VerdictError, give_verdict, incident_id
from tests.support.scored_days import DAYS, ScoredDays


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScoredDays]:
    made = ScoredDays(tmp_path_factory.mktemp("platform"))
    yield made
    made.database.close()


@pytest.mark.long
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
    # The scan's reasons name no features: those are the champion's.
    minute = pl.col("event_time") == found.event.first_minute
    rows = platform.lake.read(MICROSTRUCTURE, found.event.partition, symbols=[found.event.symbol]).filter(minute)
    names, contributions = platform.forest.contributions(rows)
    assert {m.feature: m.contribution for m in found.measures if m.contribution is not None} == pytest.approx(
        dict(zip(names, contributions[0], strict=True))
    )
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


def test_the_regime_is_the_newest_that_was_known_when_the_event_began(platform: ScoredDays) -> None:
    name = platform.strongest(DAYS[1])
    event = platform.dossier(name).event
    assert platform.dossier(name).regime is None
    states = {"calm": -10, "turbulent": -5, "normal": -4}  # minutes from the event to the start of a block of five
    rows = [
        {
            "symbol": event.symbol, "event_time": (start := event.start + dt.timedelta(minutes=at)),
            "known_time": start + dt.timedelta(minutes=5), "volatility_bps": 1.0, "regime": state, "direction": "falling",
            **{f"probability_{each}": 0.9 if each == state else 0.05 for each in states},
        }
        for state, at in states.items()
    ]  # fmt: skip
    platform.lake.write(REGIMES, DAYS[1], REGIMES.conform(pl.DataFrame(rows)))
    try:
        found = platform.dossier(name)
    finally:
        platform.lake.remove(REGIMES, DAYS[1])
    assert found.regime is not None
    assert regime_words(found.regime) == "turbulent (90 %), falling"
    assert "Regime when it began: turbulent (90 %), falling" in dossier_text(found)
    assert "turbulent (90 %), falling" in dossier_html(found)
    assert json.loads(found.json())["regime"]["regime"] == "turbulent"


def test_the_pattern_is_the_one_that_is_stored_and_is_nearest_to_itself(platform: ScoredDays) -> None:
    found = platform.dossier(platform.strongest(DAYS[1]))
    stored = platform.lake.read(ANOMALY_PATTERNS, DAYS[1]).filter(pl.col("pattern_id") == found.event.event_id)
    # The stored one was made from the day alone, the dossier's from days before too; both are of the same event.
    assert len(found.pattern) == len(SHAPE)
    assert np.corrcoef(found.pattern, stored.select(SHAPE).row(0))[0, 1] > 0.9
    near = found.neighbours[0]
    assert near["distance"] == pytest.approx(np.linalg.norm(np.subtract(found.pattern, near["pattern"])), rel=1e-5)
