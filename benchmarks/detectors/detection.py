"""The detector's results on unseen days, compared with a simple volume rule that raises the same number of alerts.

Run: python -m benchmarks.detectors.detection [--seeds S ...]. Synthetic markets: one detector for stocks and crypto, fitted on three days
and evaluated on the next five. Recorded days, if their folder exists: each day is evaluated with injected anomalies and as
recorded, by a detector fitted on the other two.
"""

import argparse
import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from benchmarks.measuring import MARKET_DATA, joined, synthetic_days
from models.evaluation import Evaluation, evaluate
from models.isolation_forest.detector import IsolationForestDetector
from models.rules import volume_ratio
from tapewatch.emulator.synthetic.market import Synthetic
from tapewatch.features.microstructure import microstructure
from tapewatch.labels.injection.injection import inject
from tapewatch.labels.truth import truth_minutes
from tapewatch.market.instruments import Market, Partition, Session, trading_days
from tests.support.recorded import TICK_DAYS, recorded_quotes, recorded_trades

_MARKETS = (Market.STOCKS, Market.CRYPTO)
_FIRST, _LAST_FITTED, _LAST = dt.date(2024, 3, 4), dt.date(2024, 3, 6), dt.date(2024, 3, 11)
_INJECTED_PER_SYMBOL = 10
_COLUMNS = {
    "AP": "average_precision",
    "rule": "rule_average_precision",
    "precision": "precision",
    "of alerts": "alert_precision",
    "found": "event_recall",
    "rule ": "rule_event_recall",
    "false/day": "false_alerts_per_symbol_day",
    "delay min": "delay_minutes",
}


@dataclass(frozen=True)
class Evaluated:
    """The evaluation of one group of days."""

    group: str
    evaluation: Evaluation

    @property
    def alerts_per_hour(self) -> float:
        """Alert minutes per symbol-hour."""
        return 60 * self.evaluation.metrics["alert_minutes"] / self.evaluation.metrics["minutes"]


def synthetic(seed: int) -> Iterator[Evaluated]:
    """Each market of a seed, scored by one detector fitted on both."""
    days = [_synthetic_day(seed, market, day) for market in _MARKETS for day in trading_days(market, _FIRST, _LAST)]
    detector = IsolationForestDetector().fit(
        pl.concat(rows.filter("is_regular") for session, rows, _ in days if session.date <= _LAST_FITTED)
    )
    for market in _MARKETS:
        unseen = [
            (rows, truth) for session, rows, truth in days if session.market is market and session.date > _LAST_FITTED
        ]
        yield _evaluated(
            str(market), detector, *(pl.concat(parts) for parts in zip(*unseen, strict=True)), truth="source"
        )


def recorded(root: Path) -> Iterator[Evaluated]:
    """Each recorded day with injected anomalies, scored by a detector fitted on the other days as recorded."""
    tapes = [
        (Partition(day, Market.STOCKS).session, recorded_trades(root, day), recorded_quotes(root, day))
        for day in TICK_DAYS
    ]
    clean = [microstructure(trades, quotes, session) for session, trades, quotes in tapes]
    for i, (session, trades, quotes) in enumerate(tapes):
        others = pl.concat(rows.filter("is_regular") for j, rows in enumerate(clean) if j != i)
        detector = IsolationForestDetector().fit(others)
        injected = inject(trades, quotes, session, seed=i, per_symbol=_INJECTED_PER_SYMBOL)
        features = microstructure(injected.trades, injected.quotes, session)
        truth = truth_minutes(injected.truth_events, session)
        yield _evaluated("injected", detector, features, truth, truth="injected")
        flagged = detector.score(clean[i].filter("is_regular")) >= detector.threshold
        budget = detector.parameters.alerts_per_symbol_hour
        print(
            f"{session.date} as recorded: {60 * flagged.mean():.2f} alert minutes per symbol-hour (budget {budget:.2f})"
        )


def _synthetic_day(seed: int, market: Market, date: dt.date) -> tuple[Session, pl.DataFrame, pl.DataFrame]:
    day = Partition(date, market)
    session = day.session
    trades, quotes, truth = joined(synthetic_days(Synthetic(seed), day))
    return session, microstructure(trades, quotes, session), truth_minutes(truth, session)


def _evaluated(
    group: str, detector: IsolationForestDetector, features: pl.DataFrame, labels: pl.DataFrame, *, truth: str
) -> Evaluated:
    rows = features.with_columns(rule_score=volume_ratio(features)).filter("is_regular")
    scored = detector.scored(rows).with_columns(rows["rule_score"])
    return Evaluated(group, evaluate(scored, labels, threshold=detector.threshold, truth=truth))


def _print(runs: Sequence[Evaluated]) -> None:
    groups = list(dict.fromkeys(one.group for one in runs))
    metrics = pl.DataFrame(
        {"group": one.group, **one.evaluation.metrics, "alerts/h": one.alerts_per_hour} for one in runs
    )
    means = metrics.group_by("group", maintain_order=True).agg(pl.all().mean())
    print(f"\n{'mean of the runs':20}" + "".join(f"{name:>11}" for name in [*_COLUMNS, "alerts/h"]))
    for row in means.to_dicts():
        print(f"{row['group']:20}" + "".join(f"{row[name]:11.3f}" for name in [*_COLUMNS.values(), "alerts/h"]))
    kinds = pl.concat(
        one.evaluation.by_kind.with_columns(pl.col("kind").cast(pl.String), group=pl.lit(one.group)) for one in runs
    )
    counts = kinds.group_by("kind", "group").agg(pl.col("found", "events", "rule_found").sum())
    print(f"\n{'found, all runs':20}" + "".join(f"{group:>12}{'%':>6}{'rule %':>8}" for group in groups))
    for kind in sorted(counts["kind"].unique()):
        cells = []
        for group in groups:
            row = counts.filter((pl.col("kind") == kind) & (pl.col("group") == group))
            found, events, rule = row.select("found", "events", "rule_found").row(0) if row.height else (0, 0, 0)
            share = (f"{100 * found / events:6.0f}{100 * rule / events:8.0f}") if events else f"{'-':>6}{'-':>8}"
            cells.append(f"{f'{found}/{events}':>12}{share}")
        print(f"{kind:20}" + "".join(cells))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="*", default=[31, 32, 33, 34], help="seeds of the synthetic markets")
    options = parser.parse_args()
    if options.seeds:
        print(f"synthetic markets, seeds {', '.join(map(str, options.seeds))}, fitted on days up to {_LAST_FITTED}")
        _print([run for seed in options.seeds for run in synthetic(seed)])
        print()
    if MARKET_DATA.is_dir():
        _print(list(recorded(MARKET_DATA)))


if __name__ == "__main__":
    main()
