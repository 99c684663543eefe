"""When splits and dividends of stocks take effect, and several of one day as one."""

import datetime as dt

import polars as pl

from tapewatch.market.instruments import Market, known_session

#: A day without trading is followed by one with within so many days.
_LONGEST_CLOSURE = 12


class ActionError(ValueError):
    """A split or dividend that cannot be; the message names it."""


def begin_of(date: dt.date) -> int:
    """The begin of a day in New York (ns UTC), or of the next day with trading.

    Raises:
        ActionError: no trading day is known near the date.
    """
    days = (date + dt.timedelta(days=offset) for offset in range(_LONGEST_CLOSURE))
    sessions = (known_session(Market.STOCKS, day) for day in days)
    found = next((session for session in sessions if session is not None), None)
    if found is None:
        raise ActionError(f"no trading day is known within {_LONGEST_CLOSURE} days after {date}: mend the date")
    return found.day_start


def merged(actions: pl.DataFrame) -> pl.DataFrame:
    """The actions with one row for a symbol and time: two splits multiply, two dividends add up.

    Args:
        actions: symbol, time, split_ratio and dividend, a dividend of a unit before the split.
    """
    return (
        actions.group_by(pl.col("symbol").cast(pl.String), "time")
        .agg(
            split_ratio=pl.when(pl.col("split_ratio").count() > 0).then(pl.col("split_ratio").product()),
            dividend=pl.when(pl.col("dividend").count() > 0).then(pl.col("dividend").sum()),
        )
        .sort("symbol", "time")
    )
