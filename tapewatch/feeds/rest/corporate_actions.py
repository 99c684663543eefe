"""Splits and cash dividends as the vendor's reference lists have them, as input of the trading engine."""

import datetime as dt
from collections.abc import Iterable

import polars as pl

from tapewatch.feeds.rest.messages import DividendRow, SplitRow
from tapewatch.market.corporate_actions import ActionError, begin_of, merged
from tapewatch.market.instruments import Market
from tapewatch.market.tables.tape import TIME
from tapewatch.market.tables.trading import CORPORATE_ACTIONS
from tapewatch.market.tickers import from_vendor

_CURRENCY = "USD"


def actions_of(splits: Iterable[SplitRow], dividends: Iterable[DividendRow]) -> pl.DataFrame:
    """`CORPORATE_ACTIONS` of stocks: one row for a symbol and day, at the begin of the day in New York.

    An action of a day without trading takes effect on the next day with. Dividends in other currencies are left out.

    Raises:
        ActionError: a ratio or a date makes no sense.
    """
    rows: list[tuple[str, int, float | None, float | None]] = []
    for split in splits:
        if not (split.split_from > 0 and split.split_to > 0):
            raise ActionError(
                f"{split.ticker} has a split of {split.split_from:g} for {split.split_to:g} on {split.execution_date}: neither may be 0"
            )
        ratio = split.split_to / split.split_from
        rows.append((from_vendor(split.ticker, Market.STOCKS), _begin(split.ticker, split.execution_date), ratio, None))
    for paid in dividends:
        if (paid.currency or _CURRENCY).upper() == _CURRENCY and paid.cash_amount > 0:
            symbol = from_vendor(paid.ticker, Market.STOCKS)
            rows.append((symbol, _begin(paid.ticker, paid.ex_dividend_date), None, paid.cash_amount))
    schema = {"symbol": pl.String(), "time": pl.Int64(), "split_ratio": pl.Float64(), "dividend": pl.Float64()}
    frame = pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.col("time").cast(TIME))
    return CORPORATE_ACTIONS.conform(merged(frame))


def _begin(ticker: str, text: str) -> int:
    try:
        return begin_of(dt.date.fromisoformat(text))
    except ValueError as error:
        raise ActionError(f"{ticker} has an action on {text!r}: {error}") from error
