"""The champion of minutes on a live tape scores and finds what it does in the whole day."""

import logging
from dataclasses import replace
from functools import cache

import numpy as np
import polars as pl
import pytest

from models.base import Detector
from models.ensemble.detector import EnsembleDetector
from models.events import merge_anomalies
from models.isolation_forest.detector import IsolationForestDetector
from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND
from tapewatch.market.tables.tape import MICROSTRUCTURE
from tapewatch.streaming.detection.findings import CHAMPION, Finding, Source
from tapewatch.streaming.detection.live_minutes import LiveMinutes
from tapewatch.streaming.detection.minute_scores import MinuteScores
from tapewatch.streaming.live.tape import LiveTape
from tests.support.ensembles import UNSEEN, ensemble
from tests.support.live import streamed
from tests.support.scans import tape
from tests.support.synthetic_days import SyntheticDay

_STEP_NS = 20 * NS_PER_SECOND
#: The first two hours of the session are played.
END_NS = tape(3).session.regular_start + 120 * NS_PER_MINUTE


@cache
def live_rows() -> list[tuple[int, pl.DataFrame]]:
    """The regular minutes of a day that the ensemble was not fitted on, as a live tape emits them, and when."""
    day, live = tape(3), LiveTape(tape(3).session)
    trades, quotes = streamed(day.trades, day.quotes)
    edges = np.append(day.session.day_start, np.arange(day.session.regular_start, END_NS + 1, _STEP_NS))
    cuts = [np.searchsorted(frame["time"].to_physical().to_numpy(), edges) for frame in (trades, quotes)]
    emitted = []
    for at, through in enumerate(edges[1:].tolist()):
        live.push(trades[cuts[0][at] : cuts[0][at + 1]], quotes[cuts[1][at] : cuts[1][at + 1]])
        rows = live.advance(through).microstructure.filter("is_regular")
        emitted.append(
            (through, rows.select(MICROSTRUCTURE.schema.names()).with_columns(pl.col("symbol").cast(pl.String)))
        )
    return emitted


def played(live: LiveMinutes) -> tuple[pl.DataFrame, list[Finding]]:
    """Every score and finding of the day, minute by minute."""
    scored, findings = [], []
    for through, rows in live_rows():
        new = live.score(rows) if rows.height else rows.with_columns(is_flagged=pl.lit(value=False))
        findings += live.findings(new, through)
        if rows.height:
            scored.append(new)
    return pl.concat(scored).sort("symbol", "event_time"), [*findings, *live.end(END_NS)]


def batch(detector: Detector, day: SyntheticDay) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Scores and anomalies of the same minutes at once, as the asset `detections/anomalies` computes them."""
    rows = day.features.filter("is_regular", pl.col("event_time").dt.epoch("ns") < END_NS)
    scored = detector.scored(rows)
    reasons = detector.explain(rows.filter(scored["score"] >= detector.threshold))
    found = merge_anomalies(scored, reasons, rows, threshold=detector.threshold, model="ensemble/1")
    return scored.with_columns(pl.col("symbol").cast(pl.String)).sort("symbol", "event_time"), found


def final(findings: list[Finding]) -> list[tuple[object, ...]]:
    """Symbol, start, end, kind and score of each event as it was found last."""
    last = {(f.symbol, f.start_ns): f for f in findings if not f.is_over}
    return sorted((f.symbol, f.start_ns, f.last_ns, f.kind, f.score) for f in last.values())


def expected(anomalies: pl.DataFrame) -> list[tuple[object, ...]]:
    columns = (
        pl.col("symbol").cast(pl.String),
        pl.col("start_time", "end_time").dt.epoch("ns"),
        pl.col("kind").cast(pl.String),
    )
    return sorted(anomalies.select(*columns, "score").rows())


@pytest.mark.long
def test_scores_and_events_equal_those_of_the_whole_day_bit_for_bit() -> None:
    detector = ensemble()
    scored, findings = played(LiveMinutes(detector, "ensemble/1"))
    whole, anomalies = batch(detector, tape(3))
    assert scored["score"].to_list() == whole["score"].to_list()
    assert scored.select("symbol", "event_time").equals(whole.select("symbol", "event_time"))
    assert final(findings) == expected(anomalies)
    assert len(final(findings)) > 4
    # A symbol that was not in training is scored by what the market taught.
    assert UNSEEN in {finding.symbol for finding in findings}
    assert all(f.hours >= detector.hours * 0.99 and f.words for f in findings if not f.is_over)
    opened, over = ([f for f in findings if flag(f)] for flag in (lambda f: f.is_opening, lambda f: f.is_over))
    assert len(opened) == len(over)
    assert all(f.known_ns == f.start_ns + NS_PER_MINUTE for f in opened)


def test_an_uncalibrated_champion_speaks_in_scores() -> None:
    forest = ensemble().members[0]
    live = LiveMinutes(forest, "isolation_forest/7")
    _, findings = played(live)
    assert final(findings) == expected(batch(forest, tape(3))[1])
    assert live.source == Source(CHAMPION, "isolation_forest/7", forest.threshold)
    assert {f.hours for f in findings} == {None}


class _Broken(IsolationForestDetector):
    """A forest whose scoring fails."""

    def scored(self, rows: pl.DataFrame) -> pl.DataFrame:
        raise MemoryError("no room")


def broken(which: int) -> EnsembleDetector:
    """The ensemble with a member that fails."""
    fitted = ensemble()._fitted
    members = list(fitted.members)
    members[which] = _Broken(name=members[which].name)
    return replace(ensemble(), _state=replace(fitted, members=tuple(members)))


def test_an_absent_member_is_named_and_the_others_combine_as_in_a_batch_without_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    live = LiveMinutes(broken(1), "ensemble/1")
    rows = tape(3).features.filter("is_regular").with_columns(pl.col("symbol").cast(pl.String))
    with caplog.at_level(logging.ERROR):
        scored = live.score(rows)
    assert live.source.model == "ensemble/1 (without anomaly_classifier)"
    assert "goes on without anomaly_classifier: anomaly_classifier cannot score: MemoryError: no room" in caplog.text
    alone = ensemble().without({"anomaly_classifier"})
    assert scored["score"].to_list() == alone.scored(rows)["score"].to_list()
    # The mean of the known levels is that of the forest alone.
    state = ensemble()._fitted
    level = state.levels["isolation_forest"].of(state.members[0].score(rows), rows["symbol"], is_pooled=False)
    assert alone.margin(rows) == pytest.approx(np.nan_to_num(level), abs=0)
    with pytest.raises(MemoryError):
        MinuteScores(replace(broken(1), absent=frozenset({"isolation_forest"})), "ensemble/1").score(rows)


@pytest.mark.long
def test_another_champion_goes_on_with_the_incidents() -> None:
    live, other = LiveMinutes(ensemble(), "ensemble/1"), ensemble(hours=4.0)
    first = next(f for f in played(live)[1] if f.is_opening)
    live = LiveMinutes(ensemble(), "ensemble/1")
    findings: list[Finding] = []
    for through, rows in live_rows():
        if through >= first.known_ns and live.scores.model == "ensemble/1":
            findings += live.findings(live.score(rows), through)
            live.replace(other, "ensemble/2")
            continue
        new = live.score(rows) if rows.height else rows.with_columns(is_flagged=pl.lit(value=False))
        findings += live.findings(new, through)
    assert live.source == Source(CHAMPION, "ensemble/2", 4.0)
    of_first = [f for f in findings if f.symbol == first.symbol and f.is_opening]
    assert of_first[0] == first
    opened, over = (sum(flag(f) for f in findings) for flag in (lambda f: f.is_opening, lambda f: f.is_over))
    assert opened == over + len(live.end(END_NS)) > 3
