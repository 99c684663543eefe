"""`microstructure` rows of a day of which only minute bars are known: what bars can tell, and null for the rest."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from tapewatch.features.microstructure import minute_rows
from tapewatch.features.records import MINUTE, NEVER
from tapewatch.features.sums import MinuteSums
from tapewatch.market.arrays import flat
from tapewatch.market.instruments import NS_PER_MINUTE, Session
from tapewatch.market.tables.tape import SYMBOL

_UNKNOWN = ("vpin", "mid_price", "squared_returns")


def bar_features(
    bars: pl.DataFrame, session: Session, *, through_ns: int | None = None, symbols: Sequence[str] | None = None
) -> pl.DataFrame:
    """`MICROSTRUCTURE` rows from minute bars alone.

    Volume, number of trades, returns, ranges and drawdown come from the bars. Sides, spreads, quotes and all that lies
    within a minute are unknown: null, or 0 in the columns that allow no null. The last trade counts as the bar's end, so
    `trade_age_s` is 0 in a minute with a bar. As in `microstructure`, a symbol has a row for every minute with a bar and for
    every regular minute, and no row depends on anything after its `known_time`.

    Args:
        bars: symbol, time (start), open, high, low, close, volume, vwap, transactions; one row a symbol and minute.
        session: the day they belong to.
        through_ns: minutes that end later are left out; by default the day's end.
        symbols: the symbols of the rows; by default those with a bar. Name them if a part of a day shall have the rows of
            the whole day.
    """
    through = session.day_end if through_ns is None else through_ns
    start = pl.col("time").to_physical()
    known = bars.filter(start >= session.day_start, start + NS_PER_MINUTE <= through).sort(
        pl.col("symbol").cast(pl.String), "time"
    )
    named = known["symbol"].unique().to_list() if symbols is None else list(symbols)
    names = pl.Series("symbol", named, pl.String).sort()
    return minute_rows(_sums(_minutes(known, names, session, through), names, session))


def _minutes(bars: pl.DataFrame, names: pl.Series, session: Session, through: int) -> pl.DataFrame:
    """The bars of each of `names`, and a row of nulls for each regular minute without one; `at` is the symbol's position."""
    last = min(session.regular_end, through - NS_PER_MINUTE + 1)
    regular = pl.DataFrame({"start": np.arange(session.regular_start, last, NS_PER_MINUTE, dtype=np.int64)})
    symbols = pl.DataFrame({"symbol": names}).with_row_index("at")
    mine = bars.with_columns(pl.col("symbol").cast(pl.String), start=pl.col("time").to_physical())
    return (
        symbols.join(regular, how="cross")
        .join(mine.join(symbols, on="symbol"), on=["at", "symbol", "start"], how="full", coalesce=True)
        .sort("at", "start")
        .with_columns(last=pl.col("close").forward_fill().over("at"))
        .with_columns(
            last_trade=pl.when(pl.col("close").is_not_null())
            .then(pl.col("start") + NS_PER_MINUTE)
            .forward_fill()
            .over("at")
            .fill_null(NEVER),
            notional=pl.col("volume") * pl.coalesce("vwap", "close"),
        )
    )


def _sums(minutes: pl.DataFrame, names: pl.Series, session: Session) -> MinuteSums:
    records = np.zeros(minutes.height, dtype=MINUTE)
    records["start"] = flat(minutes["start"])
    for field, column in {"high": "high", "low": "low", "last_price": "last"}.items():
        records[field] = minutes[column].fill_null(np.nan).to_numpy()
    for field, column in {"volume": "volume", "notional": "notional", "trade_count": "transactions"}.items():
        records[field] = minutes[column].fill_null(0).to_numpy()
    records["last_trade"], records["last_quote"] = minutes["last_trade"].to_numpy(), NEVER
    for field in _UNKNOWN:
        records[field] = np.nan
    return MinuteSums(names.cast(SYMBOL), session, minutes["at"].cast(pl.Int64).to_numpy(), records)
