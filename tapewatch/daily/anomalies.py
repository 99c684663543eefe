"""Price anomalies in daily bars of raw prices: bad prices, and price shocks that are not splits."""

import polars as pl

from tapewatch.daily.splits import SPLIT_COLUMNS, is_split, with_traded_values
from tapewatch.market.tables.tape import F64, SYMBOL, TEXT, TIME

ANOMALY_SCHEMA = pl.Schema(
    {"symbol": SYMBOL, "time": TIME, "kind": TEXT, "field": TEXT, "value": F64, "expected": F64, "deviation": F64}
)
#: Least deviation as log, and as a multiple of the symbol's usual range (log of high over low).
LEAST_DEVIATION, LEAST_RANGES = 0.5, 8.0
#: The same for an open that is the day's high or low, on a day that closes near the previous close.
LEAST_OPEN_DEVIATION, LEAST_OPEN_RANGES = 0.15, 5.0
#: Rows of a ticker that are further apart are not compared: it was halted, or belongs to another company.
_LONGEST_PAUSE_DAYS = 10
_USUAL_DAYS = 41
_LEAST_RANGE = 0.005
#: A split lasts. A level that is left by a jump within this many days, back to the level before, was none.
_LEAST_DAYS_OF_A_LEVEL = 10
#: How much of the first move the jump makes good at least, and how far from the level before it may end.
_RETURN_SHARE, _RETURN_DISTANCE = 0.8, 0.2


def daily_anomalies(bars: pl.DataFrame) -> pl.DataFrame:
    """Days with anomalous prices, by symbol and time.

    - `bad_price`: a high, low or close far from the neighbouring days and the day's other prices; or an open that is the day's
      high or low and far, by a smaller limit, from a close near the previous close. An open needs no following day.
    - `price_shock`: the price moves that far from one day to the next and stays there. A split
      (`is_split`) is none, unless a jump within ten days leads back.

    Far means at least `LEAST_DEVIATION`, and `LEAST_RANGES` times the median range (log of high over low) of 41 days; for opens
    `LEAST_OPEN_DEVIATION` and `LEAST_OPEN_RANGES`.

    Args:
        bars: daily bars with symbol, time, open, high, low, close and, where known, volume; raw prices; any order.

    Returns: symbol, time, kind, field (`open`, `high`, `low` or `close`), value, expected (the nearest price among
        the neighbours), deviation (log of value over expected).
    """
    days = _with_neighbours(bars.filter(pl.min_horizontal("open", "high", "low", "close") > 0))
    logs = pl.col("before", "after", "open", "close").log()
    days = days.with_columns(logs.name.prefix("log_"))
    found = pl.concat(
        [
            _beyond(days, "high", ("before", "after", "close"), sign=1),
            _beyond(days, "low", ("before", "after", "close"), sign=-1),
            _beyond(days, "close", ("before", "after"), sign=1),
            _beyond(days, "close", ("before", "after"), sign=-1),
            _bad_opens(days, "high", sign=1),
            _bad_opens(days, "low", sign=-1),
            _shocks(days),
        ]
    )
    return (
        found.with_columns(rank=pl.col("deviation").abs())
        .sort("symbol", "time", "rank", descending=[False, False, True])
        .unique(["symbol", "time"], keep="first", maintain_order=True)
        .select(*(pl.col(name).cast(dtype) for name, dtype in ANOMALY_SCHEMA.items()))
        .sort(pl.col("symbol").cast(pl.String), "time")
    )


def _with_neighbours(bars: pl.DataFrame) -> pl.DataFrame:
    """Adds `earlier`, `before` and `after` (closes of neighbouring days, null across a pause), `far` and `usual` (logs)."""
    days = bars.with_columns(pl.col("symbol").cast(pl.String)).sort("symbol", "time")
    pause = pl.duration(days=_LONGEST_PAUSE_DAYS)
    is_follower = (pl.col("time").diff() <= pause).over("symbol").fill_null(value=False)
    ticker_run = (~is_follower).cum_sum()
    spread = (pl.col("high").log() - pl.col("low").log()).clip(lower_bound=_LEAST_RANGE)
    usual = spread.rolling_median(_USUAL_DAYS, min_samples=1, center=True)
    return (
        days.with_columns(ticker_run=ticker_run)
        .with_columns(
            before=pl.col("close").shift(1).over("ticker_run"),
            earlier=pl.col("close").shift(2).over("ticker_run"),
            after=pl.col("close").shift(-1).over("ticker_run"),
            usual=usual.over("ticker_run"),
        )
        .with_columns(far=pl.max_horizontal(pl.lit(LEAST_DEVIATION), LEAST_RANGES * pl.col("usual")))
    )


def _beyond(days: pl.DataFrame, field: str, others: tuple[str, ...], *, sign: int) -> pl.DataFrame:
    """Days whose `field` is far above (sign 1) or below (-1) all the others, none of which may be null."""
    return _bad_prices(days.drop_nulls(others), field, others, pl.col("far"), sign)


def _bad_opens(days: pl.DataFrame, extreme: str, *, sign: int) -> pl.DataFrame:
    """Days that open at their high (sign 1) or low (-1), far from their close and the neighbours; `after` may be null."""
    far = pl.max_horizontal(pl.lit(LEAST_OPEN_DEVIATION), LEAST_OPEN_RANGES * pl.col("usual"))
    at_extreme = days.filter(pl.col("before").is_not_null(), pl.col("open") == pl.col(extreme))
    return _bad_prices(at_extreme, "open", ("before", "after", "close"), far, sign)


def _bad_prices(days: pl.DataFrame, field: str, others: tuple[str, ...], far: pl.Expr, sign: int) -> pl.DataFrame:
    nearest = pl.max_horizontal(*others) if sign > 0 else pl.min_horizontal(*others)
    deviation = (pl.col(field) / nearest).log()
    deviating = days.with_columns(expected=nearest, deviation=deviation).filter(sign * deviation >= far)
    return deviating.select(_finding("bad_price", field))


def _finding(kind: str, field: str) -> list[pl.Expr]:
    named = {"kind": pl.lit(kind), "field": pl.lit(field), "value": pl.col(field)}
    return [
        pl.col("symbol", "time"),
        *(expression.alias(name) for name, expression in named.items()),
        pl.col("expected", "deviation"),
    ]


def _shocks(days: pl.DataFrame) -> pl.DataFrame:
    moved = pl.col("log_close") - pl.col("log_before")
    stays = (pl.col("log_after") - pl.col("log_before")) / moved >= 0.5
    # The return from a bad price is no shock, so the price must also be far from the day before that one.
    from_earlier = (pl.col("log_close") - pl.col("earlier").log()).abs().fill_null(value=float("inf"))
    days = with_traded_values(days).with_columns(is_left_again=_is_left_again(moved))
    is_far = (moved.abs() >= pl.col("far")) & (from_earlier >= pl.col("far"))
    candidates = days.filter(is_far, stays.fill_null(value=True))
    splits = pl.Series([is_split(row) for row in candidates.select(SPLIT_COLUMNS).iter_rows()], dtype=pl.Boolean)
    return (
        candidates.filter(~splits | pl.col("is_left_again"))
        .with_columns(expected="before", deviation=moved)
        .select(_finding("price_shock", "close"))
    )


def _is_left_again(moved: pl.Expr) -> pl.Expr:
    """Whether a jump leads back to the level before, within a few days."""

    def leads_back(days: int) -> pl.Expr:
        until, then = (pl.col("log_close").shift(-k).over("ticker_run") for k in (days - 1, days))
        makes_good = (until - then) / moved >= _RETURN_SHARE
        return makes_good & ((then - pl.col("log_before")).abs() <= _RETURN_DISTANCE * moved.abs())

    returns = [leads_back(days) for days in range(1, _LEAST_DAYS_OF_A_LEVEL + 1)]
    return pl.any_horizontal(returns).fill_null(value=False)
