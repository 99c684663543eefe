"""The rows of spool files: Arrow streams of one record batch each, without dictionaries.

All streams of a table begin with the same bytes, so many files are read as one stream, each without its beginning and end.
"""

import os
from collections.abc import Iterator, Sequence
from io import IOBase
from pathlib import Path
from typing import BinaryIO, cast

import polars as pl
import pyarrow as pa

from tapewatch.market.schema import Table
from tapewatch.store.spool.files import SpoolFile

#: A message of a stream: this mark, the length of its metadata, the metadata, the data. Length 0 ends the stream.
_MARK = b"\xff\xff\xff\xff"
_END = _MARK + bytes(4)
_PIECE_BYTES = 8 * 1024 * 1024


class DamagedFileError(ValueError):
    """A file is cut short, or holds no rows of its table; the message says which and why."""


def write_rows(rows: pl.DataFrame, stream: BinaryIO) -> None:
    """Write a file's content."""
    plain = rows.cast({pl.Categorical: pl.String}).rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    with pa.ipc.new_stream(cast("IOBase", stream), plain.schema) as writer:
        writer.write_table(plain)


def read_rows(table: Table, files: Sequence[SpoolFile]) -> tuple[pl.DataFrame, list[int]]:
    """The rows of some files of a table in the files' order, and the number of rows of each file.

    Raises:
        DamagedFileError: one of them cannot be read.
        FileNotFoundError: one has been deleted.
    """
    if not files:
        return table.empty(), []
    frames, counts = [], []
    for piece in _pieces(files):
        frame, of_each = _read_piece(table, piece)
        frames.append(frame)
        counts += of_each
    return pl.concat(frames, rechunk=True), counts


def _pieces(files: Sequence[SpoolFile]) -> Iterator[list[SpoolFile]]:
    """Groups of files to read at once: small, so that memory is reused; fresh memory costs more time than reading."""
    piece: list[SpoolFile] = []
    size = 0
    for file in files:
        if piece and size + file.bytes > _PIECE_BYTES:
            yield piece
            piece, size = [], 0
        piece.append(file)
        size += file.bytes
    yield piece


def _read_piece(table: Table, files: Sequence[SpoolFile]) -> tuple[pl.DataFrame, list[int]]:
    content = _spliced(files)
    if content is None:
        # Different versions of this program wrote them.
        each = [_read_piece(table, [file]) for file in files]
        return pl.concat(frame for frame, _ in each), [count for _, counts in each for count in counts]
    buffer, has_rows = content
    try:
        batches = list(pa.ipc.open_stream(pa.py_buffer(buffer)))
        if len(batches) != sum(has_rows):
            raise DamagedFileError(f"{len(batches)} record batches in {len(files)} file(s), from {files[0].path}")
        joined = pa.Table.from_batches(batches).combine_chunks() if batches else None
        frame = table.empty() if joined is None else cast("pl.DataFrame", pl.from_arrow(joined))
        counts = iter([batch.num_rows for batch in batches])
        return (
            frame.select(pl.col(name).cast(dtype) for name, dtype in table.schema.items()),
            [next(counts) if has else 0 for has in has_rows],
        )
    except (pa.ArrowException, pl.exceptions.PolarsError, OSError) as error:
        raise DamagedFileError(f"{files[0].path} or one of {len(files) - 1} after it: {error}") from error


def _spliced(files: Sequence[SpoolFile]) -> tuple[memoryview, list[bool]] | None:
    """The files as one stream, and which of them bring a record batch; None where they begin differently."""
    sizes = [file.bytes or Path(file.path).stat().st_size for file in files]
    head = _head(files[0])
    start = bytearray(len(head))
    buffer = memoryview(bytearray(len(head) + sum(sizes)))
    buffer[: len(head)] = head
    end = len(head)
    has_rows = []
    for file, size in zip(files, sizes, strict=True):
        body = size - len(head)
        handle = os.open(file.path, os.O_RDONLY)
        try:
            got = os.preadv(handle, [start, buffer[end : end + max(body, 0)]], 0)
        finally:
            os.close(handle)
        if start != head and len(files) > 1:
            return None
        end += body - len(_END)
        if got != size or body < len(_END) or buffer[end : end + len(_END)] != _END:
            raise DamagedFileError(f"{file.path} is cut short")
        has_rows.append(body > len(_END))
    return buffer[: end + len(_END)], has_rows


def _head(file: SpoolFile) -> bytes:
    """The schema at the beginning of a file."""
    with Path(file.path).open("rb") as stream:
        begin = stream.read(8)
        length = int.from_bytes(begin[4:], "little")
        if begin[:4] != _MARK or not 0 < length <= os.fstat(stream.fileno()).st_size:
            raise DamagedFileError(f"{file.path} is not an Arrow stream")
        return begin + stream.read(length)
