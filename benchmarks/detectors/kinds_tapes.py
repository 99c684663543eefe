"""The days of the injection benchmark: clean days to fit on, and later ones as they are and with anomalies put in."""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from benchmarks.measuring import joined, synthetic_days
from models.anomaly_classifier.examples import injected
from models.scan.detector import Day
from models.scan.fitting.examples import with_copies
from tapewatch.emulator.synthetic.market import Synthetic
from tapewatch.features.bins.batch import bins_5s
from tapewatch.features.microstructure import microstructure
from tapewatch.labels.injection.strengths import MEASURED_EVENTS_SCHEMA, Nature, inject_at_strengths
from tapewatch.market.instruments import Market, Partition, Session, trading_days
from tests.support.recorded import TICK_DAYS, recorded_quotes, recorded_trades

_FIRST, _LAST = dt.date(2024, 3, 4), dt.date(2024, 3, 20)
#: Of the anomalies that train; tests use other seeds.
_TRAINING_SEED = 1
Raw = tuple[pl.DataFrame, pl.DataFrame, Session]


@dataclass(frozen=True)
class Tape:
    """A day as the detectors read it, and the anomalies put into it."""

    session: Session
    bins: pl.DataFrame
    minutes: pl.DataFrame
    events: pl.DataFrame

    @classmethod
    def of(cls, trades: pl.DataFrame, quotes: pl.DataFrame | None, session: Session, events: pl.DataFrame) -> "Tape":
        """Bins and minute features of the regular session."""
        minutes = microstructure(trades, quotes, session).filter("is_regular")
        return cls(session, bins_5s(trades, quotes, session), minutes, events)

    @property
    def symbol_minutes(self) -> int:
        """Minutes of all symbols."""
        return self.bins["symbol"].n_unique() * self.session.regular_minutes


@dataclass(frozen=True)
class Trial:
    """Clean days to fit on, and days that follow or surround them: with anomalies, and clean.

    `labelled` are minutes of copies of the fitted days with other anomalies in them, for what learns from labels; `days` are the fitted
    days with bins of such copies, for the scan.
    """

    group: str
    name: str
    fitted: list[Tape]
    judged: list[Tape]
    clean: list[Tape]
    labelled: pl.DataFrame
    days: list[Day]


def recorded(root: Path, seeds: Sequence[int], per_symbol: int, realisations: Sequence[int]) -> Iterator[Trial]:
    """Each recorded day, fitted on the two others."""
    order = pl.col("symbol").cast(pl.String), "time", "sequence_number"
    raw = [
        (
            recorded_trades(root, day).sort(*order),
            recorded_quotes(root, day).sort(*order),
            Partition(day, Market.STOCKS).session,
        )
        for day in TICK_DAYS
    ]
    yield from _trials("recorded stocks", raw, [[0], [1], [2]], seeds, per_symbol, realisations)


def built_in(
    market: Market, market_seed: int, days: tuple[int, int], seeds: Sequence[int], per_symbol: int, ways: Sequence[int]
) -> Iterator[Trial]:
    """The built-in market of a seed without its own anomalies: fitted on the first days, judged on those after them."""
    source = Synthetic(market_seed, has_anomalies=False)
    raw: list[Raw] = []
    for date in trading_days(market, _FIRST, _LAST)[: sum(days)]:
        day = Partition(date, market)
        raw.append((*joined(synthetic_days(source, day))[:2], day.session))
    judged = [list(range(days[0], sum(days)))]
    yield from _trials(
        f"built-in {market}", raw, judged, [market_seed * 100 + seed for seed in seeds], per_symbol, ways
    )


def _trials(
    group: str,
    raw: Sequence[Raw],
    judged: Sequence[Sequence[int]],
    seeds: Sequence[int],
    per_symbol: int,
    realisations: Sequence[int],
) -> Iterator[Trial]:
    nature = Nature.of(raw)
    none = pl.DataFrame(schema=MEASURED_EVENTS_SCHEMA)
    clean = [Tape.of(*day, none) for day in raw]
    for days in judged:
        found = []
        for at in days:
            for seed in seeds:
                tape = inject_at_strengths(
                    *raw[at], nature, seed=seed, per_symbol=per_symbol, realisations=realisations
                )
                found.append(Tape.of(tape.trades, tape.quotes, raw[at][2], tape.events))
        others = [at for at in range(len(raw)) if at not in days]
        tapes, fitted = [raw[at] for at in others], [clean[at] for at in others]
        plain = [Day(tape.session, tape.bins) for tape in fitted]
        yield Trial(
            group,
            f"{group} {days}",
            fitted,
            found,
            [clean[at] for at in days],
            injected(tapes, seed=_TRAINING_SEED),
            with_copies(plain, tapes, seed=_TRAINING_SEED),
        )
