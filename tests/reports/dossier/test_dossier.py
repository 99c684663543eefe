"""The dossier of an event: made again bit for bit, and what it says when the tape was revised."""

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from models.events import merge_anomalies
from models.isolation_forest import ForestParameters, IsolationForestDetector
from models.patterns.shape import patterns
from models.scan.detector import Day, ScanDetector
from tapewatch.bars.time_bars import minute_bars
from tapewatch.emulator.synthetic.market import Synthetic
from tapewatch.features.bins.batch import bins_5s
from tapewatch.features.microstructure import microstructure
from tapewatch.market.derived_tables import ANOMALY_PATTERNS, BINS_5S, INCIDENTS
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.live_tables import ALERTS
from tapewatch.market.tables import ANOMALIES, BARS, MICROSTRUCTURE, QUOTES, TRADES
from tapewatch.reports.dossier.dossier import SOURCES, Dossier, Dossiers
from tapewatch.reports.dossier.page import dossier_html, dossier_text
from tapewatch.store.database.database import Database
from tapewatch.store.database.verdicts import VerdictError, anomaly_id, give_verdict, incident_id
from tapewatch.store.lake.inputs import record_inputs
from tapewatch.store.lake.lake import Lake
from tapewatch.store.lake.tape import tape_end

MODEL, SCAN = "isolation_forest/1", "scan/1"
DAYS = [Partition(dt.date(2024, 3, day), Market.STOCKS) for day in (4, 5)]
SYMBOLS = ("AAPL", "MSFT")


def _load_day(lake: Lake, day: Partition) -> None:
    """The tape of two symbols, and what is computed from it."""
    tapes = [Synthetic(7).day(symbol, day.date) for symbol in SYMBOLS]
    trades, quotes = (pl.concat([getattr(tape, name) for tape in tapes]) for name in ("trades", "quotes"))
    lake.write(TRADES, day, trades)
    lake.write(QUOTES, day, quotes)
    bars = minute_bars(trades, day.session)
    lake.write(BARS, day, BARS.conform(bars.with_columns(known_time="time", source=pl.lit("trades"))))
    lake.write(MICROSTRUCTURE, day, microstructure(trades, quotes, day.session, through_ns=tape_end(lake, day)))
    lake.write(BINS_5S, day, bins_5s(trades, quotes, day.session))


class Platform:
    """A lake and a database with two days, and the two detectors that scored them."""

    def __init__(self, folder: Path) -> None:
        self.lake, self.database = Lake(folder / "lake"), Database(f"sqlite:///{folder}/tapewatch.db")
        for day in DAYS:
            _load_day(self.lake, day)
        rows = {day: self.lake.read(MICROSTRUCTURE, day).filter("is_regular") for day in DAYS}
        self.forest = IsolationForestDetector(ForestParameters(trees=30), seed=1).fit(rows[DAYS[0]])
        self.scan = ScanDetector.fit([Day(day.session, self.lake.read(BINS_5S, day)) for day in DAYS])
        for day in DAYS:
            self._detect(day, rows[day])

    def _detect(self, day: Partition, rows: pl.DataFrame) -> None:
        threshold = self.forest.threshold
        scored = self.forest.scored(rows)
        reasons = self.forest.explain(rows.filter(scored["score"] >= threshold))
        events = merge_anomalies(scored, reasons, rows, threshold=threshold, model=MODEL)
        self.lake.write(ANOMALIES, day, events)
        self.database.replace_anomalies(day, events)
        record_inputs(self.lake, ANOMALIES, day, SOURCES[ANOMALIES.name])
        names = [anomaly_id(day.market, *each) for each in events.select("symbol", "start_time").iter_rows()]
        self.lake.write(ANOMALY_PATTERNS, day, patterns(events, rows, names))
        incidents = self.scan.incidents(self.lake.read(BINS_5S, day), day.session, model=SCAN)
        self.database.replace_day(INCIDENTS, day, incidents)
        record_inputs(self.lake, INCIDENTS, day, SOURCES[INCIDENTS.name])

    def dossier(self, alert_id: str) -> Dossier:
        opened = Dossiers(self.lake, self.database, lambda _: self.forest, lambda _: self.scan, MODEL)
        return opened.of(alert_id)

    def strongest(self, day: Partition) -> str:
        event = self.lake.read(ANOMALIES, day).sort("score", descending=True).row(0, named=True)
        return anomaly_id(day.market, event["symbol"], event["start_time"])


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    made = Platform(tmp_path_factory.mktemp("platform"))
    yield made
    made.database.close()


def test_an_anomaly_is_made_again_and_explained(platform: Platform) -> None:
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


def test_an_incident_is_made_again(platform: Platform) -> None:
    event = platform.database.read(INCIDENTS).sort("surprise", descending=True).row(0, named=True)
    found = platform.dossier(incident_id(event["market"], event["symbol"], event["start_time"]))
    assert found.is_identical
    assert found.reasons[0] == json.loads(event["reasons"])[0]["words"]
    assert "bit for bit" in dossier_html(found)


def test_a_person_s_word_on_a_similar_event_is_shown(platform: Platform) -> None:
    found = platform.dossier(platform.strongest(DAYS[1]))
    near = found.neighbours[0]
    give_verdict(platform.database, near["pattern_id"], verdict="dismissed", author="ben")
    assert platform.dossier(found.event.event_id).neighbours[0]["label"] == "dismissed"


def test_an_alert_of_a_rule_is_explained_but_not_made_again(platform: Platform) -> None:
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


def test_an_unknown_event_is_refused_by_name(platform: Platform) -> None:
    with pytest.raises(VerdictError, match="there is no alert 'stocks:anomaly:AAPL:20240304T120000000000'"):
        platform.dossier("stocks:anomaly:AAPL:20240304T120000000000")


def test_where_the_tape_was_revised_both_are_shown(platform: Platform) -> None:
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
