"""The rows of /v3/reference/splits and /v3/reference/dividends, from a file that the server was given."""

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from tapewatch.emulator.rest.paging import limit_of
from tapewatch.emulator.rest.requests import cursor_of
from tapewatch.market.tickers import to_rest

Row = dict[str, Any]
_SCHEMA = {"symbol": pl.String(), "date": pl.Date(), "split_ratio": pl.Float64(), "dividend": pl.Float64()}
_DEFAULT_LIMIT, _MAX_LIMIT = 10, 1000
_UNITS = 1_000_000


def read(file: Path | None) -> pl.DataFrame:
    """symbol, date, split_ratio and dividend of a CSV file; without one, none.

    Raises:
        ValueError: the file lacks a column, or holds something else in it.
    """
    if file is None:
        return pl.DataFrame(schema=_SCHEMA)
    try:
        return pl.read_csv(file, schema_overrides=_SCHEMA, try_parse_dates=True).select(list(_SCHEMA))
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"{file}: no corporate actions (symbol, date, split_ratio, dividend): {error}") from error


def splits(actions: pl.DataFrame, query: Mapping[str, str]) -> tuple[list[Row], str | None]:
    """A page of splits, the newest first, and the next page's cursor."""
    return _page(actions.drop_nulls("split_ratio"), query, "execution_date", _split)


def dividends(actions: pl.DataFrame, query: Mapping[str, str]) -> tuple[list[Row], str | None]:
    """A page of dividends, likewise."""
    return _page(actions.drop_nulls("dividend"), query, "ex_dividend_date", _dividend)


def _split(row: Row) -> Row:
    # In whole units, as the vendor writes most: 4 for 1, or 1 for 10.
    ratio = row["split_ratio"]
    old, new = (1.0, ratio) if ratio >= 1 else (round(1 / ratio * _UNITS) / _UNITS, 1.0)
    return {"execution_date": str(row["date"]), "split_from": old, "split_to": new}


def _dividend(row: Row) -> Row:
    declared = row["date"] - dt.timedelta(days=14)
    return {
        "cash_amount": row["dividend"], "currency": "USD", "declaration_date": str(declared), "dividend_type": "CD",
        "ex_dividend_date": str(row["date"]), "frequency": 4,
    }  # fmt: skip


def _page(actions: pl.DataFrame, query: Mapping[str, str], name: str, fields: Any) -> tuple[list[Row], str | None]:
    ticker, day = query.get("ticker"), pl.col("date").cast(pl.String)
    bounds = {"": day.eq, ".gt": day.gt, ".gte": day.ge, ".lt": day.lt, ".lte": day.le}
    kept = [holds(pl.lit(query[f"{name}{end}"])) for end, holds in bounds.items() if query.get(f"{name}{end}")]
    found = actions.filter(*kept) if kept else actions
    rows = [
        {"id": f"E{at:06d}", "ticker": to_rest(row["symbol"]), **fields(row)}
        for at, row in enumerate(
            found.sort("date", "symbol", descending=query.get("order", "desc") != "asc").to_dicts()
        )
        if not ticker or to_rest(row["symbol"]) == ticker
    ]
    start = int(query.get("_start", "0"))
    end = start + limit_of(query, _DEFAULT_LIMIT, _MAX_LIMIT)
    more = {key: value for key, value in query.items() if key != "apiKey"}
    return rows[start:end], cursor_of(more | {"_start": str(end)}) if end < len(rows) else None
