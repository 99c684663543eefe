"""Rows of a request as an Arrow IPC stream: the same checks as of JSON, by column."""

import struct
from collections.abc import Iterator, Sequence
from typing import Any, Final

import polars as pl

from serving.schemas import FIRST_YEAR, LAST_YEAR, MAX_MAGNITUDE, MAX_ROWS, RequestError
from tapewatch.market.schema import Column
from tapewatch.market.tables.tape import MICROSTRUCTURE

MEDIA_TYPES: Final = ("application/vnd.apache.arrow.stream",)
_NEEDED: Final = ("symbol", "event_time")
_LONGEST_SYMBOL: Final = 64
#: Places in Arrow's messages (format/Message.fbs): `header`, and `compression` of a RecordBatch.
_HEADER, _COMPRESSION = 2, 3


def frame_of_arrow(body: bytes, features: Sequence[str]) -> pl.DataFrame:
    """The rows of an IPC stream as a frame: symbol (text), event_time and the columns of `MICROSTRUCTURE` that it has.

    Raises:
        RequestError: it is no such stream, is compressed, has another column, no or too many rows, a value outside its column's
            range, a time without a zone, or a row in which all `features` are null.
    """
    table = _read(body)
    unknown = [name for name in table.column_names if name not in MICROSTRUCTURE.by_name]
    missing = [name for name in _NEEDED if name not in table.column_names]
    if unknown or missing or len(set(table.column_names)) < len(table.column_names):
        what = f"unknown columns {', '.join(unknown)}" if unknown else f"missing columns {', '.join(missing)}"
        raise RequestError(f"{what if unknown or missing else 'a column comes twice'}: send columns of MICROSTRUCTURE")
    if not 1 <= table.num_rows <= MAX_ROWS:
        raise RequestError(f"{table.num_rows:,} rows: send 1 to {MAX_ROWS:,}")
    columns = [_column(table, MICROSTRUCTURE.by_name[name]) for name in table.column_names]
    frame = pl.DataFrame(columns)
    absent = [pl.lit(None, pl.Float64).alias(name) for name in features if name not in frame.columns]
    frame = frame.with_columns(absent)
    is_blank = frame.select(pl.all_horizontal(pl.col(features).is_null())).to_series()
    if is_blank.any():
        row = is_blank.arg_max()
        raise RequestError(f"row {row} holds no feature: give at least one of {', '.join(features)}")
    return frame


def _read(body: bytes) -> Any:
    import pyarrow as pa  # noqa: PLC0415 - needed for Arrow alone

    try:
        stream = pa.BufferReader(body)
        for message in _messages(pa, stream):
            if message.type == "record batch" and _is_compressed(message.metadata.to_pybytes()):
                raise RequestError("the stream is compressed: send it without compression")
        table = pa.ipc.open_stream(pa.BufferReader(body)).read_all()
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError, struct.error, IndexError) as error:
        if isinstance(error, RequestError):
            raise
        raise RequestError(f"this is no Arrow IPC stream: {error}") from error
    return table


def _messages(pa: Any, stream: Any) -> Iterator[Any]:
    while True:
        try:
            yield pa.ipc.read_message(stream)
        except EOFError:
            return


def _is_compressed(metadata: bytes) -> bool:
    """Whether a message's record batch names a compression: a few bytes of it may stand for gigabytes."""
    root = struct.unpack_from("<I", metadata)[0]
    header = _field(metadata, root, _HEADER)
    if header is None:
        return False
    batch = header + struct.unpack_from("<I", metadata, header)[0]
    return _field(metadata, batch, _COMPRESSION) is not None


def _field(buffer: bytes, table: int, number: int) -> int | None:
    """The position of a field of a FlatBuffers table; None if it is absent."""
    vtable = table - struct.unpack_from("<i", buffer, table)[0]
    size = struct.unpack_from("<H", buffer, vtable)[0]
    at = 4 + 2 * number
    offset = struct.unpack_from("<H", buffer, vtable + at)[0] if at + 2 <= size else 0
    return table + offset if offset else None


def _column(table: Any, column: Column) -> pl.Series:
    import pyarrow as pa  # noqa: PLC0415 - as above

    chunks = table.column(column.name)
    if pa.types.is_dictionary(chunks.type):
        # Polars keeps categories for the life of the process: clients must not add any.
        chunks = chunks.cast(chunks.type.value_type)
    try:
        series = pl.Series(column.name, pl.from_arrow(chunks))
    except (pl.exceptions.PolarsError, ValueError, TypeError) as error:
        raise RequestError(f"column {column.name}: {error}") from error
    if column.name == "symbol":
        return _symbols(series)
    if isinstance(column.dtype, pl.Datetime):
        return _times(series, column)
    if column.dtype == pl.Boolean():
        _expect(series.dtype == pl.Boolean, column.name, f"has type {series.dtype}, not bool")
        return series
    _expect(series.dtype.is_numeric(), column.name, f"has type {series.dtype}, not a number")
    series = series.cast(pl.Float64)
    lowest = -MAX_MAGNITUDE if column.minimum is None else column.minimum
    highest = MAX_MAGNITUDE if column.maximum is None else column.maximum
    is_out = ~series.is_between(lowest, highest) | series.is_nan()
    _expect(
        not is_out.any(), column.name, f"has a value outside {lowest:g} to {highest:g}; send null where none is known"
    )
    return series


def _symbols(series: pl.Series) -> pl.Series:
    _expect(series.dtype == pl.String, "symbol", f"has type {series.dtype}, not text")
    lengths = series.str.len_chars()
    is_fine = not series.null_count() and lengths.is_between(1, _LONGEST_SYMBOL).all()
    _expect(bool(is_fine), "symbol", f"has a value that is null, empty or longer than {_LONGEST_SYMBOL}")
    return series


def _times(series: pl.Series, column: Column) -> pl.Series:
    is_aware = isinstance(series.dtype, pl.Datetime) and series.dtype.time_zone is not None
    _expect(is_aware, column.name, f"has type {series.dtype}, not a timestamp with a time zone")
    _expect(column.name not in _NEEDED or not series.null_count(), column.name, "has a null")
    is_known = series.dt.convert_time_zone("UTC").dt.year().is_between(FIRST_YEAR, LAST_YEAR)
    _expect(bool(is_known.all()), column.name, f"lies outside {FIRST_YEAR} to {LAST_YEAR}")
    return series.dt.convert_time_zone("UTC").dt.cast_time_unit("ns")


def _expect(is_so: bool, name: str, fault: str) -> None:
    if not is_so:
        raise RequestError(f"column {name} {fault}")
