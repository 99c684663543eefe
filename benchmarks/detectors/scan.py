"""The scan and the Isolation Forest on the same unseen days, event by event, and the time that each takes.

Run: python -m benchmarks.detectors.scan [--seeds S ...]. Built-in markets: fitted on three days, judged on the next five; the scan leaves
the declared anomalies of its training days out, the forest sees them unmarked. Recorded days, if their folder exists: each
judged with ten anomalies injected into each symbol, and as recorded, after training on the other two.
"""

import argparse
import datetime as dt
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from benchmarks.measuring import MARKET_DATA, joined, synthetic_days
from models.events import merge_anomalies
from models.isolation_forest.detector import IsolationForestDetector
from models.scan.detector import Day, ScanDetector
from models.scan.evaluation import evaluate_incidents
from tapewatch.emulator.synthetic.market import Synthetic
from tapewatch.features.bins.batch import bins_5s
from tapewatch.features.microstructure import microstructure
from tapewatch.labels.injection.injection import inject
from tapewatch.market.instruments import Market, Partition, Session, trading_days
from tapewatch.market.tables.tape import ATTRIBUTIONS
from tests.support.recorded import TICK_DAYS, recorded_quotes, recorded_trades

_FIRST, _LAST = dt.date(2024, 3, 4), dt.date(2024, 3, 14)
_FITTED, _JUDGED = 3, 5
_DETECTORS = ("scan", "isolation forest")


@dataclass(frozen=True)
class Tape:
    """A day's tape as both detectors read it, and its anomalies."""

    session: Session
    bins: pl.DataFrame
    minutes: pl.DataFrame
    anomalies: pl.DataFrame

    @classmethod
    def of(cls, session: Session, trades: pl.DataFrame, quotes: pl.DataFrame, anomalies: pl.DataFrame) -> "Tape":
        rows = microstructure(trades, quotes, session).filter("is_regular")
        return cls(session, bins_5s(trades, quotes, session), rows, anomalies)


def judged(group: str, fitted: list[Tape], unseen: list[Tape]) -> Iterator[pl.DataFrame]:
    """By kind, what both detectors find on unseen days; columns of SCAN_EVALUATION, `group`, `detector`, `days`."""
    scan = ScanDetector.fit([Day(tape.session, tape.bins, tape.anomalies) for tape in fitted])
    forest = IsolationForestDetector().fit(pl.concat(tape.minutes for tape in fitted))
    symbol_minutes = sum(tape.bins["symbol"].n_unique() * tape.session.regular_minutes for tape in unseen)
    known = pl.concat(
        tape.anomalies.with_columns(event_id=pl.format("{} {}", pl.lit(str(tape.session.date)), "event_id"))
        for tape in unseen
    )
    for name in _DETECTORS:
        start = time.perf_counter()
        found = pl.concat(
            scan.incidents(tape.bins, tape.session) if name == "scan" else _events(forest, tape) for tape in unseen
        )
        seconds = time.perf_counter() - start
        result = evaluate_incidents(found, known, symbol_minutes=symbol_minutes, truth="")
        yield result.by_kind.with_columns(
            pl.col("kind").cast(pl.String),
            group=pl.lit(group),
            detector=pl.lit(name),
            days=pl.lit(symbol_minutes / 390),
            seconds=pl.lit(seconds),
        )


def _events(forest: IsolationForestDetector, tape: Tape) -> pl.DataFrame:
    scored = forest.scored(tape.minutes)
    return merge_anomalies(scored, ATTRIBUTIONS.empty(), tape.minutes, threshold=forest.threshold, model="")


def synthetic(seed: int, market: Market) -> Iterator[pl.DataFrame]:
    """The built-in market of a seed."""
    tapes = []
    for date in trading_days(market, _FIRST, _LAST)[: _FITTED + _JUDGED]:
        day = Partition(date, market)
        tapes.append(Tape.of(day.session, *joined(synthetic_days(Synthetic(seed), day))))
    yield from judged(f"built-in {market}", tapes[:_FITTED], tapes[_FITTED:])


def recorded(root: Path) -> Iterator[pl.DataFrame]:
    """Each recorded day with injected anomalies, and as it was recorded."""
    raw = [
        (Partition(day, Market.STOCKS).session, recorded_trades(root, day), recorded_quotes(root, day))
        for day in TICK_DAYS
    ]
    none = inject(*raw[0][1:], raw[0][0], seed=0, per_symbol=0).truth_events
    clean = [Tape.of(*tape, none) for tape in raw]
    for at, (session, trades, quotes) in enumerate(raw):
        others = [tape for other, tape in enumerate(clean) if other != at]
        injected = inject(trades, quotes, session, seed=at, per_symbol=10)
        unseen = Tape.of(session, injected.trades, injected.quotes, injected.truth_events)
        yield from judged("recorded, injected", others, [unseen])
        yield from judged("as recorded", others, [clean[at]])


def _print(rows: pl.DataFrame) -> None:
    groups = list(dict.fromkeys(rows["group"]))
    of = ("group", "detector", "kind")
    sums = rows.group_by(of, maintain_order=True).agg(
        pl.col("events", "found", "named", "false_alerts", "days", "seconds").sum(), pl.col("delay_s").median()
    )
    print(f"{'':22}{'detector':18}{'found':>14}{'named':>7}{'false':>8}{'delay s':>9}{'ms/day':>8}")
    for row in sums.filter(pl.col("kind") == "all").to_dicts():
        share = f"{row['found']}/{row['events']} {row['found'] / row['events']:.2f}" if row["events"] else "-"
        named = f"{row['named'] / row['found']:.2f}" if row["found"] else "-"
        delay = "-" if row["delay_s"] is None else f"{row['delay_s']:.0f}"
        false = row["false_alerts"] / row["days"]
        print(
            f"{row['group']:22}{row['detector']:18}{share:>14}{named:>7}{false:8.2f}{delay:>9}"
            f"{1e3 * row['seconds'] / row['days']:8.0f}"
        )
    print("\nfalse: false alerts in 390 minutes of a symbol; ms/day: time to score 390 minutes of a symbol\n")
    print(f"{'found of each kind':22}" + "".join(f"{group:>38}" for group in groups))
    print(f"{'':22}" + "".join(f"{name:>19}" for _ in groups for name in _DETECTORS))
    for kind in sorted(set(sums["kind"]) - {"all"}):
        cells = [
            sums.filter((pl.col("kind") == kind) & (pl.col("group") == group) & (pl.col("detector") == name))
            for group in groups
            for name in _DETECTORS
        ]
        shares = [f"{c['found'][0]}/{c['events'][0]}" if c.height and c["events"][0] else "-" for c in cells]
        print(f"{kind:22}" + "".join(f"{share:>19}" for share in shares))


def main() -> None:
    """Judge both detectors on every seed and, where they are, on the recorded days."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[41, 42, 43], help="seeds of the built-in market")
    seeds = parser.parse_args().seeds
    parts = [part for market in (Market.STOCKS, Market.CRYPTO) for seed in seeds for part in synthetic(seed, market)]
    if MARKET_DATA.is_dir():
        parts += recorded(MARKET_DATA)
    _print(pl.concat(parts, how="diagonal"))


if __name__ == "__main__":
    main()
