"""How complete each symbol's day is. Belongs here: counting what came. Not here: refusing what is incomplete."""

from collections.abc import Sequence

import polars as pl

from tapewatch.market.instruments import NS_PER_MINUTE, Market, Session
from tapewatch.market.tables import COVERAGE


def coverage(
    trades: pl.DataFrame | pl.LazyFrame,
    quotes: pl.DataFrame | pl.LazyFrame,
    bars: pl.DataFrame | pl.LazyFrame,
    session: Session,
    *,
    symbols: Sequence[str] = (),
) -> pl.DataFrame:
    """`COVERAGE` rows: one for each symbol that the day's tape holds or that was asked for.

    A regular minute is received when it has a bar; in forex, which has no trades, when it has a quote. Lazy frames are
    streamed, so a day need not fit in memory.

    Args:
        trades, quotes: rows of `TRADES` and `QUOTES`; of their columns only `symbol` and `time` are read.
        bars: rows of `BARS` or `DELIVERED_BARS`, likewise.
        session: the day.
        symbols: symbols that were asked for: one of which nothing came gets a row of zeros.
    """
    by_symbol = [
        trades.lazy()
        .group_by("symbol")
        .agg(trades=pl.len(), first_time=pl.col("time").min(), last_time=pl.col("time").max()),
        quotes.lazy().group_by("symbol").agg(quotes=pl.len()),
        bars.lazy().group_by("symbol").agg(bars=pl.len()),
        _received(quotes if session.market is Market.FOREX else bars, session),
    ]
    rows = pl.LazyFrame({"symbol": symbols}, schema={"symbol": COVERAGE.by_name["symbol"].dtype}).unique()
    for counts in by_symbol:
        rows = rows.join(counts, on="symbol", how="full", coalesce=True)
    expected = session.regular_minutes
    filled = rows.with_columns(
        pl.col("trades", "quotes", "bars", "received_minutes").fill_null(0),
        pl.col("longest_gap_minutes").fill_null(expected),
        pl.lit(expected).alias("expected_minutes"),
    ).with_columns(missing_minutes=pl.col("expected_minutes") - pl.col("received_minutes"))
    return COVERAGE.conform(filled.collect(engine="streaming").sort(pl.col("symbol").cast(pl.String)))


def _received(rows: pl.DataFrame | pl.LazyFrame, session: Session) -> pl.LazyFrame:
    """By symbol: the distinct regular minutes among the rows, and the longest run of regular minutes without one."""
    minute = (pl.col("time").to_physical() - session.regular_start) // NS_PER_MINUTE
    held = pl.col("minute")
    return (
        rows.lazy()
        .select("symbol", minute=minute)
        .filter(held.is_between(0, session.regular_minutes, closed="left"))
        .unique()
        .group_by("symbol")
        .agg(
            received_minutes=pl.len(),
            # The stretch before the first minute and behind the last count as gaps like any other.
            longest_gap_minutes=pl.max_horizontal(
                held.min(), (held.sort().diff() - 1).max(), session.regular_minutes - 1 - held.max()
            ),
        )
    )
