"""The completeness of each symbol's day."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from tapewatch.market.instruments import NS_PER_MINUTE, Market, Session
from tapewatch.market.live_tables import GAPS
from tapewatch.market.tables import COVERAGE, SYMBOL

_COUNTED = ("trades", "quotes", "bars", "received_minutes", "healed_minutes", "open_gaps")
Frame = pl.DataFrame | pl.LazyFrame


def coverage(
    trades: Frame,
    quotes: Frame,
    bars: Frame,
    session: Session,
    *,
    symbols: Sequence[str] = (),
    gaps: pl.DataFrame | None = None,
    known_until: int | None = None,
) -> pl.DataFrame:
    """`COVERAGE` rows, one for each symbol on the day's tape or in `symbols`.

    Every regular minute is one of four. It is `missing` if an unfilled gap touches it or it was not collected yet. Otherwise,
    with a bar (in forex: a quote), it is `healed` within a filled gap and `received` outside; without one it is `silent`.
    Lazy frames are streamed, so a day need not fit in memory.

    Args:
        trades, quotes, bars: of their columns only `symbol` and `time` are read.
        session: the day.
        symbols: symbols that get a row even without data.
        gaps: rows of `GAPS` that may touch the day.
        known_until: the tape was collected up to here, ns; None for the whole day.
    """
    holes = _Holes.of(GAPS.empty() if gaps is None else gaps, session, known_until)
    rows_with_minutes = quotes if session.market is Market.FOREX else bars
    by_symbol = [
        trades.lazy()
        .group_by("symbol")
        .agg(trades=pl.len(), first_time=pl.col("time").min(), last_time=pl.col("time").max()),
        quotes.lazy().group_by("symbol").agg(quotes=pl.len()),
        bars.lazy().group_by("symbol").agg(bars=pl.len()),
        _received(rows_with_minutes, session, holes),
        holes.own_counts.lazy(),
    ]
    rows = pl.LazyFrame({"symbol": symbols}, schema={"symbol": SYMBOL}).unique()
    for counts in by_symbol:
        rows = rows.join(counts, on="symbol", how="full", coalesce=True)
    expected, held = session.regular_minutes, pl.col("received_minutes") + pl.col("healed_minutes")
    filled = (
        rows.with_columns(
            pl.col(_COUNTED).fill_null(0),
            pl.col("longest_gap_minutes").fill_null(expected),
            expected_minutes=pl.lit(expected),
            missing_minutes=pl.col("own_missing").fill_null(0) + len(holes.missing),
        )
        .with_columns(
            silent_minutes=expected - pl.col("missing_minutes") - held, open_gaps=pl.col("open_gaps") + holes.open_gaps
        )
        .with_columns(is_complete=(pl.col("missing_minutes") == 0) & (pl.col("open_gaps") == 0))
    )
    return COVERAGE.conform(filled.collect(engine="streaming").sort(pl.col("symbol").cast(pl.String)))


@dataclass(frozen=True)
class _Holes:
    """Regular minutes, counted from the open, that gaps touch: of all symbols, and of single ones.

    `own` has symbol, minute and is_missing (else healed), without the minutes missing for all symbols; `own_counts` has symbol,
    own_missing and open_gaps.
    """

    missing: list[int]
    healed: list[int]
    open_gaps: int
    own: pl.DataFrame
    own_counts: pl.DataFrame

    @classmethod
    def of(cls, gaps: pl.DataFrame, session: Session, known_until: int | None) -> "_Holes":
        minutes = session.regular_minutes
        start, end = pl.col("time_from"), pl.col("time_to")
        touching = gaps.select(
            pl.col("symbol").cast(SYMBOL),
            is_missing=pl.col("status") != "healed",
            time_from=pl.col("start_time").to_physical(),
            time_to=pl.col("end_time").to_physical().fill_null(session.day_end),
        ).filter(end > session.day_start, start < session.day_end, start < end)
        first = ((start - session.regular_start) // NS_PER_MINUTE).clip(0, minutes)
        beyond = (-((session.regular_start - end) // NS_PER_MINUTE)).clip(0, minutes)
        spans = touching.select("symbol", "is_missing", minute=pl.int_ranges(first, beyond)).explode("minute")
        spans = spans.filter(pl.col("minute").is_not_null()).unique()
        of_all = spans.filter(pl.col("symbol").is_null())
        missing = set(of_all.filter("is_missing")["minute"])
        if known_until is not None:
            # The minute of the last event counts as collected.
            missing.update(range(max(0, -((session.regular_start - known_until) // NS_PER_MINUTE)), minutes))
        own = (
            spans.filter(pl.col("symbol").is_not_null(), ~pl.col("minute").is_in(list(missing)))
            .group_by("symbol", "minute")
            .agg(pl.col("is_missing").any())
        )
        own_gaps = touching.filter("is_missing").group_by("symbol").agg(open_gaps=pl.len())
        own_counts = (
            own.group_by("symbol")
            .agg(own_missing=pl.col("is_missing").sum())
            .join(own_gaps.filter(pl.col("symbol").is_not_null()), on="symbol", how="full", coalesce=True)
        )
        return cls(
            missing=sorted(missing),
            healed=of_all.filter(~pl.col("is_missing"))["minute"].to_list(),
            open_gaps=touching.filter("is_missing", pl.col("symbol").is_null()).height,
            own=own,
            own_counts=own_counts,
        )


def _received(rows: Frame, session: Session, holes: _Holes) -> pl.LazyFrame:
    """By symbol: the regular minutes with a row, received and healed apart, and the longest run of minutes without any."""
    minute = (pl.col("time").to_physical() - session.regular_start) // NS_PER_MINUTE
    held = pl.col("minute")
    is_missing = held.is_in(holes.missing) | pl.col("is_missing").fill_null(value=False)
    is_healed = held.is_in(holes.healed) | (~pl.col("is_missing")).fill_null(value=False)
    return (
        rows.lazy()
        .select("symbol", minute=minute)
        .filter(held.is_between(0, session.regular_minutes, closed="left"))
        .unique()
        .join(holes.own.lazy(), on=["symbol", "minute"], how="left")
        .group_by("symbol")
        .agg(
            received_minutes=(~is_missing & ~is_healed).sum(),
            healed_minutes=(~is_missing & is_healed).sum(),
            # The time before the first minute and after the last counts too.
            longest_gap_minutes=pl.max_horizontal(
                held.min(), (held.sort().diff() - 1).max(), session.regular_minutes - 1 - held.max()
            ),
        )
    )
