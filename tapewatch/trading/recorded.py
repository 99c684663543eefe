"""Inputs of a backtest: orders from a file, and the recorded tape of their symbols from the lake."""

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from tapewatch.market.corporate_actions import ActionError, begin_of, merged
from tapewatch.market.instruments import Market, Partition, trading_days
from tapewatch.market.schema import SchemaError, Table
from tapewatch.market.tables.tape import BARS, QUOTES, TIME, TRADES
from tapewatch.market.tables.trading import CORPORATE_ACTIONS, HALTS, ORDERS
from tapewatch.store.lake.lake import Lake
from tapewatch.trading.engine import Tape
from tapewatch.trading.events import halts_of_days, stored_events

_DEFAULTS = {"kind": "market", "time_in_force": "day", "tag": ""}
_TRADE_COLUMNS = ("symbol", "time", "sequence_number", "price", "size", "conditions", "correction")
_QUOTE_COLUMNS = ("symbol", "time", "sequence_number", "bid_price", "ask_price", "bid_size", "ask_size")
_BAR_COLUMNS = ("symbol", "time", "known_time", "open", "high", "low", "close", "volume")


class RecordedError(ValueError):
    """A file of orders or a recorded tape that cannot be used; the message names it and the way out."""


def read_orders(file: Path) -> pl.DataFrame:
    """`ORDERS` from CSV, JSON or Parquet, by the file's name.

    A row needs order_id, symbol, time (ISO 8601, UTC unless it says otherwise), side and quantity; by default it is a market
    order for the day.

    Raises:
        RecordedError: the file cannot be read, or lacks a column.
    """
    return _read(file, ORDERS, "orders", _DEFAULTS)


def read_actions(file: Path) -> pl.DataFrame:
    """`CORPORATE_ACTIONS` likewise: symbol, time, and split_ratio, dividend or both; a `date` stands for the begin of the stock day."""
    return CORPORATE_ACTIONS.conform(merged(_read(file, CORPORATE_ACTIONS, "corporate actions")))


def read_halts(file: Path) -> pl.DataFrame:
    """`HALTS` likewise: symbol, start_time, and end_time where trading went on."""
    return _read(file, HALTS, "halts")


def _read(file: Path, table: Table, what: str, defaults: Mapping[str, str] | None = None) -> pl.DataFrame:
    readers = {".csv": pl.read_csv, ".json": pl.read_json, ".parquet": pl.read_parquet}
    reader = readers.get(file.suffix)
    if reader is None:
        raise RecordedError(f"{file}: {what} are read from {', '.join(readers)}")
    times = [column.name for column in table.columns if isinstance(column.dtype, pl.Datetime)]
    names = [column.name for column in table.columns if column.name in ("order_id", "symbol")]
    try:
        frame = reader(file)  # type: ignore[operator]
        if "date" in frame.columns and "time" in times and "time" not in frame.columns:
            frame = frame.with_columns(time=_day_starts(frame["date"]))
        frame = frame.with_columns(_as_time(name, frame) for name in times if name in frame.columns)
        absent = {name: pl.lit(value) for name, value in (defaults or {}).items() if name not in frame.columns}
        texts = [pl.col(name).cast(pl.String) for name in names if name in frame.columns]
        return table.conform(frame.with_columns(*texts, **absent))
    except (OSError, pl.exceptions.PolarsError, SchemaError, ActionError) as error:
        raise RecordedError(f"{file} holds no {what}: {error}") from error


def _day_starts(dates: pl.Series) -> pl.Series:
    """The begin of each day of stocks, or of the next with trading."""
    days = dates.str.to_date() if dates.dtype == pl.String() else dates.cast(pl.Date)
    return pl.Series("time", [begin_of(day) for day in days], dtype=pl.Int64).cast(TIME)


def _as_time(name: str, frame: pl.DataFrame) -> pl.Expr:
    column = pl.col(name)
    if frame.schema[name] == pl.String():
        is_aware = frame[name].str.contains(r"(Z|[+-]\d\d:?\d\d)$").fill_null(value=True).all()
        parsed = column.str.to_datetime(time_unit="ns", time_zone="UTC" if is_aware else None)
        return (parsed if is_aware else parsed.dt.replace_time_zone("UTC")).cast(TIME)
    if frame.schema[name] == pl.Datetime("us") or frame.schema[name] == pl.Datetime("ns"):
        return column.dt.replace_time_zone("UTC").cast(TIME)
    return column.cast(TIME)


def recorded_tape(
    lake: Lake,
    market: Market,
    first: dt.date,
    last: dt.date,
    symbols: Sequence[str],
    *,
    is_bars: bool,
    actions: pl.DataFrame | None = None,
    halts: pl.DataFrame | None = None,
) -> Tape:
    """The tape of some symbols over a range of days: minute bars, or quotes and trades, with corporate actions and halts.

    Without `actions` or `halts` those of the lake are taken, see `tapewatch.trading.events`.

    Raises:
        RecordedError: the lake holds nothing of these days.
    """
    if actions is None:
        actions = stored_events(lake, CORPORATE_ACTIONS, market, first, last, symbols)
    if halts is None:
        halts = halts_of_days(lake, market, first, last, symbols)
    if is_bars:
        return Tape.of_bars(recorded_bars(lake, market, first, last, symbols), actions=actions, halts=halts)
    days = _days(lake, QUOTES, market, first, last)
    quotes, trades = (_joined(lake, table, days, symbols) for table in (QUOTES, TRADES))
    return Tape.of_quotes(quotes, trades, actions=actions, halts=halts)


def recorded_bars(lake: Lake, market: Market, first: dt.date, last: dt.date, symbols: Sequence[str]) -> pl.DataFrame:
    """The columns of `BARS` that the engine reads, of some symbols over a range of days.

    Raises:
        RecordedError: the lake holds no bars of these days.
    """
    return _joined(lake, BARS, _days(lake, BARS, market, first, last), symbols)


def _days(lake: Lake, table: Table, market: Market, first: dt.date, last: dt.date) -> list[Partition]:
    days = [day for date in trading_days(market, first, last) if lake.exists(table, day := Partition(date, market))]
    if not days:
        what = "bars" if table is BARS else "quotes"
        raise RecordedError(
            f"the lake holds no {what} of {market} from {first} to {last}: `tapewatch backfill` loads them"
        )
    return days


def tick_columns(table: Table) -> tuple[str, ...]:
    """The columns of BARS, QUOTES or TRADES that the engine reads."""
    return {BARS.name: _BAR_COLUMNS, QUOTES.name: _QUOTE_COLUMNS, TRADES.name: _TRADE_COLUMNS}[table.name]


def _joined(lake: Lake, table: Table, days: Sequence[Partition], symbols: Sequence[str]) -> pl.DataFrame:
    columns = tick_columns(table)
    frames = [lake.read(table, day, columns=columns, symbols=symbols) for day in days if lake.exists(table, day)]
    return pl.concat(frames or [table.empty().select(columns)])
