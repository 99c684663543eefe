"""CPU time of the champion of minutes in a collector, 500 stocks, each minute scored once it is closed, as a share of one core.

Run: python -m benchmarks.live.live_minutes [SYMBOLS [MINUTES]]. An ensemble of the default members is fitted on two days of the built-in
market; the minutes of a third day are repeated under other names, so that an anomaly comes to a hundred symbols at once. The rows
below, for comparison, score the same minutes as a batch would: the session so far again each minute, and one symbol after the other.
"""

import datetime as dt
import sys
import time
from collections.abc import Callable

import numpy as np
import polars as pl

from benchmarks.measuring import joined, synthetic_days
from models.anomaly_classifier.detector import AnomalyClassifierDetector
from models.anomaly_classifier.examples import injected
from models.ensemble.detector import EnsembleDetector
from models.isolation_forest.detector import IsolationForestDetector
from tapewatch.emulator.synthetic.market import Synthetic
from tapewatch.features.microstructure import microstructure
from tapewatch.market.instruments import NS_PER_MINUTE, Market, Partition
from tapewatch.market.tables.tape import MICROSTRUCTURE
from tapewatch.streaming.detection.live_minutes import LiveMinutes
from tapewatch.streaming.detection.shadow import Shadow

_DATES = (dt.date(2024, 3, 4), dt.date(2024, 3, 5), dt.date(2024, 3, 6))
_SYMBOLS, _MINUTES, _PEER_MINUTES = 500, 120, 12


def main(symbols: int, minutes: int) -> None:
    """Measure and print each row."""
    days = [Partition(date, Market.STOCKS) for date in _DATES]
    tapes = [joined(synthetic_days(Synthetic(seed=7), day)) for day in days]
    features = [
        microstructure(tape[0], tape[1], day.session).filter("is_regular")
        for tape, day in zip(tapes, days, strict=True)
    ]
    ensemble = _fitted(pl.concat(features[:2]), [(*tapes[at][:2], days[at].session) for at in (0, 1)])
    closed = _minutes(features[2], symbols, minutes)
    per_minute = closed[0].height
    live, challenger = LiveMinutes(ensemble, "ensemble/1"), LiveMinutes(ensemble, "ensemble/2")
    shadow, found = Shadow("ensemble/1", "ensemble/2"), 0

    def judge(rows: pl.DataFrame) -> pl.DataFrame:
        nonlocal found
        scored = live.score(rows)
        through = int(rows["event_time"].dt.epoch("ns").max()) + NS_PER_MINUTE
        found += sum(finding.is_opening for finding in live.findings(scored, through))
        return scored

    def judge_both(rows: pl.DataFrame) -> None:
        keys = ["symbol", "event_time", "is_flagged"]
        shadow.add(judge(rows).select(keys), challenger.scores.score(rows).select(keys))

    print(f"{per_minute} stocks, {minutes} minutes, members {', '.join(member.name for member in ensemble.members)}")
    alone = _cpu_seconds(judge, closed)
    _show("champion, with its alerts", alone)
    raised, live = found, LiveMinutes(ensemble, "ensemble/1")
    _show("champion and challenger", _cpu_seconds(judge_both, closed))
    some = closed[:_PEER_MINUTES]
    _show(f"the session so far, {_PEER_MINUTES} minutes", _cpu_seconds(_session_so_far(ensemble), some), alone)
    by_symbol = [part for rows in some[:1] for part in rows.partition_by("symbol")]
    one_by_one = np.array([_cpu_seconds(ensemble.scored, by_symbol).sum()])
    _show("one symbol after the other", one_by_one, alone)
    print(f"the champion raised {raised} alerts, each with its reasons")


def _fitted(rows: pl.DataFrame, tapes: list[tuple[pl.DataFrame, pl.DataFrame, object]]) -> EnsembleDetector:
    classifier = AnomalyClassifierDetector(seed=7).fit(rows, labelled=injected(tapes, seed=7))
    return EnsembleDetector((IsolationForestDetector(seed=7).fit(rows), classifier)).fit(rows)


def _minutes(rows: pl.DataFrame, symbols: int, minutes: int) -> list[pl.DataFrame]:
    """The rows of each minute from half an hour after the open on, for `symbols` symbols: copies of those of `rows`."""
    text = pl.col("symbol").cast(pl.String)
    rows = rows.select(MICROSTRUCTURE.schema.names())
    copies = symbols // rows["symbol"].n_unique()
    times = rows["event_time"].unique().sort()[30 : 30 + minutes]
    whole = pl.concat(rows.with_columns(symbol=text + str(copy)) for copy in range(copies))
    return [whole.filter(pl.col("event_time") == at) for at in times]


def _session_so_far(ensemble: EnsembleDetector) -> Callable[[pl.DataFrame], object]:
    held: list[pl.DataFrame] = []

    def score(rows: pl.DataFrame) -> object:
        held.append(rows)
        return ensemble.scored(pl.concat(held))

    return score


def _cpu_seconds(step: Callable[[pl.DataFrame], object], parts: list[pl.DataFrame]) -> np.ndarray:
    taken = []
    for rows in parts:
        began = time.process_time()
        step(rows)
        taken.append(time.process_time() - began)
    return np.array(taken)


def _show(name: str, took: np.ndarray, beside: np.ndarray | None = None) -> None:
    ratio = "" if beside is None else f"   {np.median(took) / np.median(beside):.1f} times the champion's median"
    print(
        f"{name:<38} {took.sum() / (60 * took.size):5.1%} of a core   {1e3 * np.median(took):6.0f} ms a minute, at most "
        f"{1e3 * took.max():,.0f} ms{ratio}"
    )


if __name__ == "__main__":
    given = [int(each) for each in sys.argv[1:]]
    main(*given, *(_SYMBOLS, _MINUTES)[len(given) :])
