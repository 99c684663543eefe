"""Copies of training days with anomalies put in, from which the scan learns what its statistics say together."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import polars as pl

from models.scan.detector import Day
from tapewatch.features.bins.batch import bins_5s
from tapewatch.labels.injection.strengths import Nature, inject_at_strengths
from tapewatch.market.instruments import Session

#: Realisations of each kind that train; the last, in bursts, is left for tests.
TRAINING_REALISATIONS: Final = (0, 1)
#: Copied days of a market: few days are copied more often than many.
COPIES: Final = 9
#: Anomalies wanted in each symbol in 390 minutes, and in a day at most.
_ANOMALIES, _MOST = 12, 24

Tape = tuple[pl.DataFrame, pl.DataFrame | None, Session]


def with_copies(days: Sequence[Day], tapes: Sequence[Tape], *, seed: int, copies: int = COPIES) -> list[Day]:
    """The days, the last of them with copies of their bins in which anomalies lie.

    Args:
        days: of one market.
        tapes: TRADES, QUOTES (or None) and session of some of the days; symbols that are not in a tape keep their bins.
        seed: of the random choices.
        copies: wanted over all tapes.
    """
    chosen = list(tapes)[-copies:]
    nature = Nature.of(chosen)
    found = {session.date: list[tuple[pl.DataFrame, pl.DataFrame]]() for *_, session in chosen}
    own = {day.session.date: day for day in days}
    for at in range(copies if chosen else 0):
        trades, quotes, session = chosen[at % len(chosen)]
        if session.date not in own:
            continue
        made = inject_at_strengths(
            trades,
            quotes,
            session,
            nature,
            seed=seed * 1_000 + at // len(chosen),
            per_symbol=min(_MOST, max(1, round(_ANOMALIES * session.regular_minutes / 390))),
            realisations=TRAINING_REALISATIONS,
        )
        bins = bins_5s(made.trades, made.quotes, session)
        others = own[session.date].bins
        rest = others.filter(~pl.col("symbol").cast(pl.String).is_in(bins["symbol"].cast(pl.String).unique().implode()))
        found[session.date].append((pl.concat([bins, rest]), made.events))
    return [replace(day, copies=tuple(found.get(day.session.date, ()))) for day in days]
