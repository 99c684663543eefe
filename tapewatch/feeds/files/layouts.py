"""The vendor's flat-file layouts: which folder holds a table, what its columns are called, what they mean here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from tapewatch.feeds.source import SourceError
from tapewatch.market.copies import identity
from tapewatch.market.instruments import Market
from tapewatch.market.schema import Column, Table
from tapewatch.market.tables import DELIVERED_BARS, QUOTES, TRADES

DAY_BARS_FOLDER = "day_aggs_v1"
#: Columns that a file may lack although the table needs them: an index has no volume, and where the tape numbers nothing
#: the position in the symbol's day stands in.
_DERIVED: Mapping[str, float] = {"volume": 0.0, "sequence_number": 0}
#: Times that the vendor writes as 0 where there is none.
_ZERO_IS_NULL = ("participant_time", "trf_time")


@dataclass(frozen=True)
class Layout:
    """One kind of flat file.

    Attributes:
        columns: file column to table column; columns of the file that are not named are ignored.
    """

    market: Market
    name: str
    folder: str
    table: Table
    columns: Mapping[str, str]

    @property
    def prefix(self) -> str:
        """Folder under the root."""
        return f"{self.market.flat_file_prefix}/{self.folder}"

    @property
    def is_numbered(self) -> bool:
        """Whether the file holds the table's whole key."""
        return set(self.table.key) <= set(self.columns.values())

    @property
    def redelivery(self) -> tuple[str, ...]:
        """Table columns that identify a symbol's row where the tape numbers nothing; empty where nothing does."""
        return () if self.is_numbered else identity(self.table, self.market)[1:]

    @property
    def order(self) -> tuple[str, ...]:
        """Table columns by which a symbol's rows are sorted; where the tape numbers nothing, file order breaks ties."""
        if self.is_numbered:
            return self.table.sort[1:]
        return tuple(c for c in ("time", "exchange", "id") if c in self.columns.values())


@dataclass(frozen=True)
class Binding:
    """A layout bound to one file's header: what to parse, and how to make table columns of it."""

    layout: Layout
    header: tuple[str, ...]
    parse_schema: pl.Schema = field(init=False)
    required: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        table, columns = self.layout.table, self.layout.columns
        schema = {
            name: _parse_dtype(table.by_name[columns[name]]) if name in columns else pl.String() for name in self.header
        }
        object.__setattr__(self, "parse_schema", pl.Schema(schema))
        object.__setattr__(
            self,
            "required",
            tuple(
                file
                for file, ours in columns.items()
                if not table.by_name[ours].is_nullable and table.by_name[ours].name != "conditions"
            ),
        )

    def file_column(self, ours: str) -> str:
        """The file's name of a table column."""
        return next(file for file, name in self.layout.columns.items() if name == ours)

    def conform(self, parsed: pl.DataFrame) -> pl.DataFrame:
        """`parsed` as table columns, in order; required values may still be null, and numbers still be wrong."""
        theirs = {ours: file for file, ours in self.layout.columns.items() if file in self.header}
        return parsed.select(_conform(column, theirs.get(column.name), parsed) for column in self.layout.table.columns)


def bind(layout: Layout, header: Sequence[str], path: str) -> Binding:
    """Hold a file's header against its layout; order does not matter, and unknown columns are ignored.

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
        value: float | None = None if column.is_nullable else _DERIVED[column.name]
        return pl.lit(value, dtype=column.dtype).alias(column.name)
    source = pl.col(file)
    if column.name in _ZERO_IS_NULL:
        if parsed[file].max() in (0, None):
            return pl.lit(None, dtype=column.dtype).alias(column.name)
        if parsed[file].min() == 0:
            source = pl.when(source != 0).then(source)
    if column.dtype == pl.Categorical() and column.name != "symbol":
        source = source.fill_null("")
    return source.cast(column.dtype).alias(column.name)


_AGGREGATE = {
    "ticker": "symbol",
    "open": "open",
    "close": "close",
    "high": "high",
    "low": "low",
    "window_start": "time",
}
_VOLUME_AGGREGATE = {**_AGGREGATE, "volume": "volume", "transactions": "transactions"}
_SIDES = {
    f"{side}_{what}": f"{side}_{what}" for side in ("ask", "bid") for what in ("exchange", "price", "size")
}  # fmt: skip


def _aggregates(market: Market, *, has_volume: bool) -> list[Layout]:
    columns = _VOLUME_AGGREGATE if has_volume else _AGGREGATE
    return [
        Layout(market, name, folder, DELIVERED_BARS, columns)
        for name, folder in (("bars", "minute_aggs_v1"), ("day_bars", DAY_BARS_FOLDER))
    ]


_LAYOUTS = (
    Layout(
        Market.STOCKS,
        "trades",
        "trades_v1",
        TRADES,
        {
            "ticker": "symbol",
            "conditions": "conditions",
            "correction": "correction",
            "exchange": "exchange",
            "id": "id",
            "participant_timestamp": "participant_time",
            "price": "price",
            "sequence_number": "sequence_number",
            "sip_timestamp": "time",
            "size": "size",
            "tape": "tape",
            "trf_id": "trf_id",
            "trf_timestamp": "trf_time",
        },
    ),
    Layout(
        Market.STOCKS,
        "quotes",
        "quotes_v1",
        QUOTES,
        {
            "ticker": "symbol",
            **_SIDES,
            "conditions": "conditions",
            "indicators": "indicators",
            "participant_timestamp": "participant_time",
            "sequence_number": "sequence_number",
            "sip_timestamp": "time",
            "tape": "tape",
            "trf_timestamp": "trf_time",
        },
    ),
    *_aggregates(Market.STOCKS, has_volume=True),
    Layout(
        Market.OPTIONS,
        "trades",
        "trades_v1",
        TRADES,
        {
            "ticker": "symbol",
            "conditions": "conditions",
            "correction": "correction",
            "exchange": "exchange",
            "price": "price",
            "sip_timestamp": "time",
            "size": "size",
        },
    ),
    Layout(
        Market.OPTIONS,
        "quotes",
        "quotes_v1",
        QUOTES,
        {"ticker": "symbol", **_SIDES, "sequence_number": "sequence_number", "sip_timestamp": "time"},
    ),
    *_aggregates(Market.OPTIONS, has_volume=True),
    Layout(
        Market.CRYPTO,
        "trades",
        "trades_v1",
        TRADES,
        {
            "ticker": "symbol",
            "conditions": "conditions",
            "exchange": "exchange",
            "id": "id",
            "participant_timestamp": "time",
            "price": "price",
            "size": "size",
        },
    ),
    # The vendor has no such files; a folder of one's own may hold crypto quotes so.
    Layout(
        Market.CRYPTO,
        "quotes",
        "quotes_v1",
        QUOTES,
        {"ticker": "symbol", **_SIDES, "participant_timestamp": "time"},
    ),
    *_aggregates(Market.CRYPTO, has_volume=True),
    Layout(
        Market.FOREX,
        "quotes",
        "quotes_v1",
        QUOTES,
        {
            "ticker": "symbol",
            "ask_exchange": "ask_exchange",
            "ask_price": "ask_price",
            "bid_exchange": "bid_exchange",
            "bid_price": "bid_price",
            "participant_timestamp": "time",
        },
    ),
    *_aggregates(Market.FOREX, has_volume=True),
    *_aggregates(Market.INDICES, has_volume=False),
)  # fmt: skip

LAYOUTS: Mapping[tuple[Market, str], Layout] = {(layout.market, layout.name): layout for layout in _LAYOUTS}
