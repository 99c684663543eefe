"""Rows of a request as an Arrow IPC stream: the same checks as of JSON, by column."""

import datetime as dt
import struct
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import polars as pl

from models.base import Scores
from models.served.minutes import Indices, Minutes, distinct_times
from serving.schemas import FIRST_YEAR, LAST_YEAR, MAX_MAGNITUDE, MAX_ROWS, RequestError
from tapewatch.market.schema import Column
from tapewatch.market.tables.tape import MICROSTRUCTURE

ARROW: Final = "application/vnd.apache.arrow.stream"
_NEEDED: Final = ("symbol", "event_time")
_TIMES: Final = frozenset(column.name for column in MICROSTRUCTURE.columns if isinstance(column.dtype, pl.Datetime))
_LONGEST_SYMBOL: Final = 64
_A_SECOND: Final = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_FIRST_SECOND, _END_SECOND = (
    int(dt.datetime(year, 1, 1, tzinfo=dt.UTC).timestamp()) for year in (FIRST_YEAR, LAST_YEAR + 1)
)
#: Places in Arrow's messages (format/Message.fbs): `header`, and `compression` of a RecordBatch.
_HEADER, _COMPRESSION = 2, 3


def minutes_of_arrow(body: bytes, features: Sequence[str]) -> Minutes:
    """The rows of an IPC stream, with the values of `features`; NaN where one is null or left out.

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
    columns = [MICROSTRUCTURE.by_name[name] for name in table.column_names]
    names, of_name = _symbols(_plain(table, "symbol"))
    times = {column.name: _times(_plain(table, column.name), column) for column in columns if column.name in _TIMES}
    for column in columns:
        if column.dtype == pl.Boolean():
            kind = table.schema.field(column.name).type
            _expect(_pa().types.is_boolean(kind), column.name, f"has type {kind}, not bool")
    values = _values(table, [column for column in columns if column.dtype.is_numeric()], features)
    is_blank = np.isnan(values).all(axis=0)
    if is_blank.any():
        raise RequestError(f"row {is_blank.argmax()} holds no feature: give at least one of {', '.join(features)}")
    moments, of_moment = distinct_times(times["event_time"])
    unplaced = np.full(len(of_name), -1, dtype=np.int64)
    return Minutes(tuple(features), names, of_name, moments, of_moment, unplaced, values.T)


def _read(body: bytes) -> Any:
    pa = _pa()
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


def _plain(table: Any, name: str) -> Any:
    """A column as one array, without a dictionary."""
    column = table.column(name).combine_chunks()
    return column.dictionary_decode() if _pa().types.is_dictionary(column.type) else column


def _values(table: Any, columns: Sequence[Column], features: Sequence[str]) -> Scores:
    """The values of `features` (features x rows), of which `columns` come with the table and are checked; NaN where one is null."""
    found = np.full((len(columns), table.num_rows), np.nan)
    nulls = np.zeros(len(columns), dtype=np.int64)
    for at, column in enumerate(columns):
        array = _plain(table, column.name)
        is_number = _pa().types.is_integer(array.type) or _pa().types.is_floating(array.type)
        _expect(is_number, column.name, f"has type {array.type}, not a number")
        nulls[at] = array.null_count
        found[at] = array.cast(_pa().float64(), safe=False).to_numpy(zero_copy_only=False)
    limits = [(column.minimum, column.maximum) for column in columns]
    lowest = np.array([-MAX_MAGNITUDE if low is None else low for low, _ in limits], dtype=np.float64)
    highest = np.array([MAX_MAGNITUDE if high is None else high for _, high in limits], dtype=np.float64)
    is_out = ((found < lowest[:, None]) | (found > highest[:, None])).any(axis=1)
    is_out |= np.count_nonzero(np.isnan(found), axis=1) != nulls
    for at in np.flatnonzero(is_out):
        fault = f"has a value outside {lowest[at]:g} to {highest[at]:g}; send null where none is known"
        raise RequestError(f"column {columns[at].name} {fault}")
    names = [column.name for column in columns]
    if names == list(features):
        return found
    # The last row stands for features that were left out.
    padded = np.concatenate([found, np.full((1, table.num_rows), np.nan)])
    return padded.take([names.index(name) if name in names else len(names) for name in features], axis=0)


def _symbols(array: Any) -> tuple[list[str], Indices]:
    pa = _pa()
    is_text = (
        pa.types.is_string(array.type) or pa.types.is_large_string(array.type) or pa.types.is_string_view(array.type)
    )
    _expect(is_text, "symbol", f"has type {array.type}, not text")
    coded = array.cast(pa.large_string()).dictionary_encode()
    names = coded.dictionary.to_pylist()
    is_fine = not array.null_count and all(1 <= len(name) <= _LONGEST_SYMBOL for name in names)
    _expect(is_fine, "symbol", f"has a value that is null, empty or longer than {_LONGEST_SYMBOL}")
    return names, coded.indices.to_numpy().astype(np.int64)


def _times(array: Any, column: Column) -> Indices:
    """Microseconds since 1970; those of a null are of no meaning."""
    pa = _pa()
    is_aware = pa.types.is_timestamp(array.type) and array.type.tz is not None
    _expect(is_aware, column.name, f"has type {array.type}, not a timestamp with a time zone")
    _expect(column.name not in _NEEDED or not array.null_count, column.name, "has a null")
    raw = array.cast(pa.int64()).fill_null(0).to_numpy()
    a_second = _A_SECOND[array.type.unit]
    seconds = raw // a_second
    is_known = ((seconds >= _FIRST_SECOND) & (seconds < _END_SECOND)).all()
    _expect(bool(is_known), column.name, f"lies outside {FIRST_YEAR} to {LAST_YEAR}")
    return np.asarray(seconds * 1_000_000 + raw % a_second * 1_000_000 // a_second, dtype=np.int64)


def _pa() -> Any:
    import pyarrow as pa  # noqa: PLC0415 - needed for Arrow alone

    return pa


def _expect(is_so: bool, name: str, fault: str) -> None:
    if not is_so:
        raise RequestError(f"column {name} {fault}")
