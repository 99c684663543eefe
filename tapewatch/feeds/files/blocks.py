"""Reads a flat file, compressed or not, in blocks of whole lines; decompresses in a separate thread."""

import mmap
import queue
import threading
from collections.abc import Generator
from contextlib import closing, suppress
from typing import Any

from isal import igzip, igzip_lib

from tapewatch.feeds.source import SourceError

#: Uncompressed bytes per block: large enough to amortise the set-up of parsing, small enough for the cache.
BLOCK_BYTES = 8 * 1024 * 1024
#: The vendor's longest lines have a few hundred bytes; a packed file may hold one of gigabytes.
LINE_BYTES = 1024 * 1024
_BLOCKS_AHEAD = 1
_NEWLINE = b"\n"
#: On Linux only.
_HUGE_PAGES: int | None = getattr(mmap, "MADV_HUGEPAGE", None)
_BROKEN: Any = (EOFError, OSError, igzip_lib.IsalError)


class LongLineError(SourceError):
    """A line is longer than `LINE_BYTES`."""


def read_blocks(fs: Any, path: str, block_bytes: int = BLOCK_BYTES, held: int = 1) -> Generator[memoryview]:
    """The file's text in blocks that end in a newline; decompressed if the name ends in `.gz`.

    A block is valid until `held` more are requested, as buffers are reused. Closing the generator stops its thread.

    Raises:
        LongLineError: the line after the last block is longer than `LINE_BYTES`.
        SourceError: the file is truncated or damaged; names the file and the position. Errors of opening and reading it are
            raised here too.
    """
    ready: queue.Queue[memoryview | Exception | None] = queue.Queue(_BLOCKS_AHEAD)
    stop = threading.Event()

    def put(item: memoryview | Exception | None) -> None:
        while not stop.is_set():
            with suppress(queue.Full):
                ready.put(item, timeout=0.1)
                return

    def work() -> None:
        try:
            with closing(_whole_lines(fs, path, block_bytes, held)) as blocks:
                for block in blocks:
                    put(block)
                    if stop.is_set():
                        return
            put(None)
        except Exception as error:  # noqa: BLE001 - raised again by the reader, which would wait for ever
            put(error)

    thread = threading.Thread(target=work, name=f"unpack {path}", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        stop.set()
        thread.join()


def _whole_lines(fs: Any, path: str, block_bytes: int, held: int) -> Generator[memoryview]:
    # One buffer being filled, those in the queue, and those that the reader uses.
    ring = [_buffer(block_bytes) for _ in range(_BLOCKS_AHEAD + 1 + held)]
    tail = b""
    turn = 0
    with fs.open(path, "rb") as stream, closing(_filled(stream, path)) as fill:
        next(fill)
        is_over = False
        while not is_over:
            if len(tail) > LINE_BYTES:
                raise LongLineError(f"a line is longer than {LINE_BYTES:,} bytes")
            if len(tail) * 2 > len(ring[turn]):
                ring[turn] = _buffer(4 * len(tail))
            buffer = memoryview(ring[turn])
            buffer[: len(tail)] = tail
            size = len(tail) + fill.send(buffer[len(tail) : -1])
            is_over = size < len(buffer) - 1
            if is_over and size and buffer[size - 1] != _NEWLINE[0]:
                buffer[size] = _NEWLINE[0]
                size += 1
            end = ring[turn].rfind(_NEWLINE, 0, size) + 1
            tail = bytes(buffer[end:size])
            if end:
                yield buffer[:end]
                turn = (turn + 1) % len(ring)


def _buffer(size: int) -> mmap.mmap:
    buffer = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if _HUGE_PAGES is not None:
        # The first touches of small pages would take a good part of the time.
        buffer.madvise(_HUGE_PAGES)
    return buffer


def _filled(stream: Any, path: str) -> Generator[int, memoryview, None]:
    """A coroutine: fills the buffer sent to it and yields how many bytes; fewer than fit at the end of the file."""
    source = igzip.IGzipFile(fileobj=stream) if path.endswith(".gz") else stream  # type: ignore[no-untyped-call]
    unpacked = size = 0
    target = yield 0
    try:
        while True:
            size = 0
            while size < len(target) and (count := source.readinto(target[size:])):
                size += count
            unpacked += size
            target = yield size
    except _BROKEN as error:
        if source is stream:
            raise
        kind = "is truncated: it ends inside its gzip stream" if isinstance(error, EOFError) else f"is damaged: {error}"
        raise SourceError(
            f"{path} {kind}, at byte {stream.tell():,} ({unpacked + size:,} unpacked); fetch the file again"
        ) from error
