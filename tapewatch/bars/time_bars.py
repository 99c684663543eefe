"""Bars from trades by the vendor's update rules, and their agreement with the bars that the vendor delivers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from tapewatch.bars import kernel
from tapewatch.market.arrays import Array, FlatTrades, flat_trades, session_bounds
from tapewatch.market.conditions import STOCK_UPDATE_RULES, Updates
from tapewatch.market.instruments import NS_PER_MINUTE, Session
from tapewatch.market.prices import floor_of
from tapewatch.market.tables.tape import BARS, SYMBOL, TIME

_PRICES = ("open", "high", "low", "close")
# Both sides are made from the same decimals, so they differ by rounding at most.
_RELATIVE_TOLERANCE = 1e-9


def minute_bars(
    trades: pl.DataFrame,
    session: Session,
    rules: Mapping[int, Updates] = STOCK_UPDATE_RULES,
    *,
    exclude_price_codes: Sequence[int] = (),
) -> pl.DataFrame:
    """Minute bars of a day's trades, one row for each symbol-minute with an eligible trade.

    A stock trade updates what all its condition codes allow; outside regular hours code 12 (extended hours) restricts
    nothing. Other markets have no such rules. Withdrawn trades (`correction` 7 and above) update nothing. A minute whose
    trades set volume but neither open nor close takes the day's last price for both; before the first such price it has no
    bar.

    Args:
        trades: `TRADES` rows of whole symbols, sorted as the table says.
        session: the day they belong to.
        rules: condition code to allowed fields, for stocks.
        exclude_price_codes: codes whose trades set no price in regular hours, though their volume counts: (14,) leaves out
            the prices of intermarket sweeps.

    Returns:
        `DELIVERED_BARS` rows. `vwap` is null where the volume is 0; `transactions` counts the trades in the volume.

    Raises:
        ValueError: trades are unsorted or lie outside the session's day.
    """
    return time_bars(trades, session, NS_PER_MINUTE, rules, exclude_price_codes=exclude_price_codes)


def time_bars(
    trades: pl.DataFrame,
    session: Session,
    width_ns: int,
    rules: Mapping[int, Updates] = STOCK_UPDATE_RULES,
    *,
    exclude_price_codes: Sequence[int] = (),
) -> pl.DataFrame:
    """Bars of any width, counted from the day's start; arguments, columns and errors as in `minute_bars`."""
    symbols, flat = flat_trades(trades, session, rules, exclude_price_codes)
    first, end = flat.offsets[:-1], flat.offsets[1:]
    built = built_bars(flat, first, end, session, width_ns, np.full(len(symbols), np.nan))
    return pl.DataFrame(bar_columns(pl.Series(symbols, dtype=SYMBOL), built))


def built_bars(
    trades: FlatTrades, first: Array, end: Array, session: Session, width_ns: int, lasts: Array
) -> kernel.FlatBars:
    """The bars of rows `first[i]` to `end[i]` of each run; `lasts`, the runs' last prices (NaN for none), is updated.

    Raises:
        ValueError: rows are unsorted or lie outside the session's day.
    """
    most = -(-(session.day_end - session.day_start) // width_ns)
    bars = kernel.room_for(int(np.minimum(end - first, most).sum()))
    floor = floor_of(session.market)
    count = kernel.build(trades, first, end, session_bounds(session), floor, width_ns, lasts, bars)
    if count < 0:
        fault = "lie outside the day" if count == kernel.OUT_OF_DAY else "are not in order of time within"
        raise ValueError(f"trades {fault} {session.date} of {session.market}: a feed should have refused such rows")
    return kernel.FlatBars(*(array[:count] for array in bars))


def bar_columns(names: pl.Series, built: kernel.FlatBars) -> list[pl.Series]:
    """Built bars as columns of `DELIVERED_BARS`; `names` are the symbols of the runs."""
    vwap = np.divide(built.notional, built.volume, out=np.full(built.volume.size, np.nan), where=built.volume > 0)
    return [
        names[built.symbol].alias("symbol"),
        pl.Series("time", built.start).cast(TIME),
        *(pl.Series(name, getattr(built, name)) for name in (*_PRICES, "volume")),
        pl.Series("vwap", vwap, nan_to_null=True),
        pl.Series("transactions", built.transactions),
    ]


def reconcile(built: pl.DataFrame, delivered: pl.DataFrame, *, built_from: str = "trades") -> pl.DataFrame:
    """`BARS` rows, one for each symbol-minute that was built or delivered.

    The built bar is used where there is one, else the delivered one, as `source` states. Agreement is exact up to rounding
    (1e-9), and null unless both exist. `revisions.py` sets the revision.

    Args:
        built: the result of `minute_bars`, maybe without rows.
        delivered: `DELIVERED_BARS` rows, maybe none, with an optional column `delivered_by`.
        built_from: the `source` of built bars, `trades` or `quotes`.
    """
    if "delivered_by" not in delivered.columns:
        delivered = delivered.with_columns(pl.lit(None, SYMBOL).alias("delivered_by"))
    fields, others = (*_PRICES, "volume"), ("vwap", "transactions")
    vendor = delivered.select(
        "symbol",
        "time",
        pl.col(*fields).name.prefix("delivered_"),
        pl.col(*others).name.prefix("_delivered_"),
        pl.col("delivered_by").cast(pl.String),
    )
    joined = built.with_columns(is_built=True).join(vendor, on=["symbol", "time"], how="full", coalesce=True)
    is_built = pl.col("is_built").is_not_null()
    rows = joined.with_columns(
        *(pl.coalesce(name, f"delivered_{name}") for name in fields),
        *(pl.when(is_built).then(name).otherwise(f"_delivered_{name}").alias(name) for name in others),
        source=pl.when(is_built).then(pl.lit(built_from)).otherwise(pl.col("delivered_by").fill_null("delivered")),
        known_time=pl.col("time") + pl.duration(minutes=1),
        is_volume_equal=pl.when(is_built).then(_equal("volume")),
        is_price_equal=pl.when(is_built).then(pl.all_horizontal(map(_equal, _PRICES))),
    )
    return BARS.conform(rows.sort(pl.col("symbol").cast(pl.String), "time"))


def _equal(name: str) -> pl.Expr:
    built, delivered = pl.col(name), pl.col(f"delivered_{name}")
    return (built - delivered).abs() <= _RELATIVE_TOLERANCE * delivered.abs()


@dataclass(frozen=True, slots=True)
class BarAgreement:
    """Numbers of delivered minutes that the built bars reproduce, in all and within regular hours."""

    delivered: int
    built: int
    volume_equal: int
    regular_delivered: int
    regular_volume_equal: int
    regular_price_equal: int
    regular_equal: int

    @property
    def volume_share(self) -> float:
        """Share of delivered minutes with the same volume; 1 where none was delivered."""
        return self.volume_equal / self.delivered if self.delivered else 1.0

    @property
    def regular_price_share(self) -> float:
        """Share of delivered regular minutes with the same open, high, low and close; 1 where none was delivered."""
        return self.regular_price_equal / self.regular_delivered if self.regular_delivered else 1.0


def bar_agreement(built: pl.DataFrame, delivered: pl.DataFrame, session: Session) -> BarAgreement:
    """Count the delivered minutes of which the built bars reproduce the volume, and open, high, low and close.

    A delivered minute without a built bar counts as disagreement. `regular_equal` requires equal prices and volume.
    """
    start = pl.col("time").to_physical()
    is_regular = start.is_between(session.regular_start, session.regular_end, closed="left")
    price, volume = pl.col("is_price_equal").fill_null(value=False), pl.col("is_volume_equal").fill_null(value=False)
    counts = (
        reconcile(built, delivered)
        .filter(pl.col("delivered_close").is_not_null())
        .select(
            pl.len().alias("delivered"),
            volume.sum().alias("volume_equal"),
            is_regular.sum().alias("regular_delivered"),
            (is_regular & volume).sum().alias("regular_volume_equal"),
            (is_regular & price).sum().alias("regular_price_equal"),
            (is_regular & price & volume).sum().alias("regular_equal"),
        )
    )
    return BarAgreement(built=built.height, **counts.row(0, named=True))
