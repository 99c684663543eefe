"""The layouts of the vendor's flat files: the folder of each table, and the table column of each file column."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from tapewatch.feeds.source import SourceError
from tapewatch.market.copies import identity
from tapewatch.market.instruments import Market
from tapewatch.market.schema import Column, Table
from tapewatch.market.tables.tape import DELIVERED_BARS, QUOTES, TRADES

_DAY_BARS_FOLDER, _SESSION_BARS_FOLDER = "day_aggs_v1", "session_aggs_v1"
#: Columns that a file may lack although the table needs them: an index has no volume, rows without a sequence number are
#: numbered by position in the symbol's day, and no update rule depends on the condition codes of futures.
_DERIVED: Mapping[str, float | str] = {"volume": 0.0, "sequence_number": 0, "conditions": ""}
#: Times that the vendor writes as 0 where there is none.
_ZERO_IS_NULL = ("participant_time", "trf_time")


@dataclass(frozen=True)
class Layout:
    """One kind of flat file.

    Attributes:
        columns: file column to table column; other columns of the file are ignored.
    """

    market: Market
    name: str
    folder: str
    table: Table
    columns: Mapping[str, str]

    @property
    def folders(self) -> tuple[str, ...]:
        """Folders under the root: one, or one a venue; together they hold the table."""
        return tuple(f"{top}/{self.folder}" for top in self.market.flat_file_folders)

    @property
    def is_numbered(self) -> bool:
        """Whether the file holds the table's whole key."""
        return set(self.table.key) <= set(self.columns.values())

    @property
    def identity(self) -> tuple[str, ...]:
        """Table columns in which copies of a row agree; empty where nothing identifies it."""
        # Fills of one futures order share the sequence number and differ in the report sequence, which is their id.
        is_futures_trade = self.market is Market.FUTURES and self.table is TRADES
        return self.table.key if is_futures_trade else identity(self.table, self.market)

    @property
    def redelivery(self) -> tuple[str, ...]:
        """Table columns that identify a symbol's row where the tape numbers nothing; empty where nothing does."""
        return () if self.is_numbered else self.identity[1:]

    @property
    def order(self) -> tuple[str, ...]:
        """Table columns by which a symbol's rows are sorted; without sequence numbers, file order breaks ties."""
        if self.is_numbered:
            return self.table.sort[1:]
        return tuple(c for c in ("time", "exchange", "id") if c in self.columns.values())


@dataclass(frozen=True)
class Binding:
    """A layout bound to one file's header: how to parse the file, and how to make table columns of it."""

    layout: Layout
    header: tuple[str, ...]
    parse_schema: pl.Schema = field(init=False)

    def __post_init__(self) -> None:
        table, columns = self.layout.table, self.layout.columns
        schema = {
            name: _parse_dtype(table.by_name[columns[name]]) if name in columns else pl.String() for name in self.header
        }
        object.__setattr__(self, "parse_schema", pl.Schema(schema))

    def file_column(self, ours: str) -> str:
        """The file's name of a table column."""
        return next(file for file, name in self.layout.columns.items() if name == ours)

    def conform(self, parsed: pl.DataFrame) -> pl.DataFrame:
        """`parsed` as table columns, in order; required values may still be null, and numbers still be wrong."""
        theirs = {ours: file for file, ours in self.layout.columns.items() if file in self.header}
        columns = self.layout.table.columns
        frame = parsed.select(_conform(column, theirs.get(column.name), parsed) for column in columns)
        if self.layout.market is Market.FUTURES and self.layout.table is QUOTES:
            # The vendor leaves out the price and size of an empty side.
            frame = frame.with_columns(pl.col("bid_price", "ask_price").fill_null(0.0))
        return frame


def bind(layout: Layout, header: Sequence[str], path: str) -> Binding:
    """Match a file's header to its layout; order does not matter, and unknown columns are ignored.

    Raises:
        SourceError: a required column is missing, or a column appears twice; names file and column.
    """
    doubled = sorted({name for name in header if header.count(name) > 1})
    if doubled:
        raise SourceError(f"{path}: the header names {', '.join(doubled)} twice")
    by_name = layout.table.by_name
    missing = [name for name, ours in layout.columns.items() if name not in header and not by_name[ours].is_nullable]
    if missing:
        raise SourceError(
            f"{path}: the header lacks {', '.join(missing)}, which {layout.market} {layout.name} needs; "
            f"it has {', '.join(header)}"
        )
    return Binding(layout, tuple(header))


def _parse_dtype(column: Column) -> pl.DataType:
    if column.dtype.is_temporal():
        return pl.Int64()
    return column.dtype


def _conform(column: Column, file: str | None, parsed: pl.DataFrame) -> pl.Expr:
    if file is None:
        value: float | str | None = None if column.is_nullable else _DERIVED[column.name]
        return pl.lit(value, dtype=column.dtype).alias(column.name)
    source = pl.col(file)
    if column.name in _ZERO_IS_NULL:
        if parsed[file].max() in (0, None):
            return pl.lit(None, dtype=column.dtype).alias(column.name)
        if parsed[file].min() == 0:
            source = pl.when(source != 0).then(source)
    if column.name == "sequence_number":
        # As the vendor writes 0 for none.
        source = source.fill_null(0)
    if column.dtype == pl.Categorical() and column.name != "symbol":
        source = source.fill_null("")
    return source.cast(column.dtype).alias(column.name)


def _same(names: str) -> dict[str, str]:
    """File columns whose names are also the table's."""
    return {name: name for name in names.split()}


_AGGREGATE = {"ticker": "symbol", **_same("open close high low"), "window_start": "time"}
_VOLUME_AGGREGATE = _AGGREGATE | _same("volume transactions")
_TIME = {"sip_timestamp": "time"}
_PAIR_TIME = {"participant_timestamp": "time"}
_EXCHANGE_TIME = {"timestamp": "time"}
_OTHER_TIMES = {"participant_timestamp": "participant_time", "trf_timestamp": "trf_time"}
_PRICES = _same("ask_exchange ask_price bid_exchange bid_price")
_SIDES = _PRICES | _same("ask_size bid_size")


def _ticks(market: Market, table: Table, columns: Mapping[str, str]) -> Layout:
    # In the vendor's order: of several faults of a row, the first column's is reported.
    in_order = {"ticker": "symbol", **dict(sorted(columns.items()))}
    return Layout(market, table.name, f"{table.name}_v1", table, in_order)


def _aggregates(market: Market, *, has_volume: bool = True, day_bars: str = _DAY_BARS_FOLDER) -> list[Layout]:
    columns = _VOLUME_AGGREGATE if has_volume else _AGGREGATE
    return [
        Layout(market, name, folder, DELIVERED_BARS, columns)
        for name, folder in (("bars", "minute_aggs_v1"), ("day_bars", day_bars))
    ]


_TRADE = _same("conditions exchange price size")
_LAYOUTS = (
    _ticks(Market.STOCKS, TRADES, _TIME | _OTHER_TIMES | _TRADE | _same("correction id sequence_number tape trf_id")),
    _ticks(Market.STOCKS, QUOTES, _TIME | _OTHER_TIMES | _SIDES | _same("conditions indicators sequence_number tape")),
    *_aggregates(Market.STOCKS),
    _ticks(Market.OPTIONS, TRADES, _TIME | _TRADE | _same("correction")),
    _ticks(Market.OPTIONS, QUOTES, _TIME | _SIDES | _same("sequence_number")),
    *_aggregates(Market.OPTIONS),
    _ticks(Market.CRYPTO, TRADES, _PAIR_TIME | _TRADE | _same("id")),
    # The vendor has no such files; a user's own folder may.
    _ticks(Market.CRYPTO, QUOTES, _PAIR_TIME | _SIDES),
    *_aggregates(Market.CRYPTO),
    _ticks(Market.FOREX, QUOTES, _PAIR_TIME | _PRICES),
    *_aggregates(Market.FOREX),
    *_aggregates(Market.INDICES, has_volume=False),
    _ticks(
        Market.FUTURES,
        TRADES,
        _EXCHANGE_TIME | {"report_sequence": "id"} | _same("correction exchange price sequence_number size"),
    ),
    _ticks(Market.FUTURES, QUOTES, _EXCHANGE_TIME | _same("ask_price ask_size bid_price bid_size sequence_number")),
    *_aggregates(Market.FUTURES, day_bars=_SESSION_BARS_FOLDER),
)

LAYOUTS: Mapping[tuple[Market, str], Layout] = {(layout.market, layout.name): layout for layout in _LAYOUTS}


def layouts_of(market: Market) -> list[Layout]:
    """The layouts of a market, in the order trades, quotes, bars, daily bars."""
    return [layout for layout in _LAYOUTS if layout.market is market]
