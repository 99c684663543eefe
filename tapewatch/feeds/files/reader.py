"""Reads flat files of one layout into frames: header, blocks, rows, checks, order and counters."""

import csv
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import polars as pl

from tapewatch.feeds.files.blocks import BLOCK_BYTES, LINE_BYTES, LongLineError, read_blocks
from tapewatch.feeds.files.columns import LINE
from tapewatch.feeds.files.layouts import Layout, bind
from tapewatch.feeds.files.merging import merged
from tapewatch.feeds.files.ordering import MEMORY_BYTES, Conflict, RowBuffer
from tapewatch.feeds.files.parsing import BadLine, line_texts, parse_block
from tapewatch.feeds.files.quarantine import Bounds, Screen, refuse
from tapewatch.feeds.source import Load, SourceError

#: A file with more refused rows than this is taken for the wrong file.
QUARANTINE_LIMIT = 200_000
_HEADER_LINES = 1
#: Blocks parsed at a time, and blocks in memory: one more, so that no parser waits.
_WORKERS = 3
_IN_HAND = _WORKERS + 1


@dataclass(frozen=True, slots=True)
class _Judged:
    """A block's accepted and refused rows, with lines counted from the block's first; and its number of lines."""

    accepted: pl.DataFrame
    refused: pl.DataFrame
    lines: int


@dataclass(frozen=True, slots=True)
class FileReader:
    """Reads files of one layout; `symbols` None reads all."""

    fs: Any
    layout: Layout
    bounds: Bounds
    symbols: frozenset[str] | None = None
    block_bytes: int = BLOCK_BYTES
    memory_bytes: int = MEMORY_BYTES

    def frames(self, paths: Sequence[str], load: Load) -> Iterator[pl.DataFrame]:
        """The rows of files that are read at a time, as sorted frames of the layout's table; updates the counters of `load`.

        Raises:
            SourceError: a file is empty, truncated, has the wrong columns or an endless line, or too much of it is refused.
        """
        missing = set(self.symbols or ())
        streams = [self._frames_of(path, load, missing) for path in paths]
        # Merging reads every file to its end before the first frame leaves.
        yield from streams[0] if len(streams) == 1 else merged(streams, self.layout.table.sort)
        self._notice(missing, paths, load)

    def sorted_frames(self, paths: Sequence[str], load: Load) -> Iterator[pl.DataFrame]:
        """The rows of many small files as one frame; see `frames`."""
        missing = set(self.symbols or ())
        frames = [frame for path in paths for frame in self._frames_of(path, load, missing)]
        self._notice(missing, paths, load)
        if frames:
            yield pl.concat(frames).sort(self.layout.table.sort)

    def _frames_of(self, path: str, load: Load, missing: set[str]) -> Generator[pl.DataFrame]:
        with RowBuffer(self.layout, self.memory_bytes) as spool:
            for frame in self._accepted(path, load):
                spool.add(frame)
                if missing:
                    missing.difference_update(frame["symbol"].unique().cast(pl.String))
            yield from spool.drain(lambda: self._settle(path, spool, load))

    def _notice(self, missing: set[str], paths: Sequence[str], load: Load) -> None:
        where = paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
        load.notices += [f"no {self.layout.name} for {symbol} in {where}" for symbol in sorted(missing)]

    def _accepted(self, path: str, load: Load) -> Iterator[pl.DataFrame]:
        line = 1
        with closing(read_blocks(self.fs, path, self.block_bytes, held=_IN_HAND)) as blocks:
            try:
                first = next(blocks, memoryview(b""))
                header, _, _ = bytes(first[:LINE_BYTES]).partition(b"\n")
                binding = bind(self.layout, _header_names(header, path), path)
                line += _HEADER_LINES
                screen = Screen(binding, self.bounds, path)
                rest = first[len(header) + 1 :]
                for judged in _in_parallel(partial(self._judge, screen), chain([rest] if rest else [], blocks)):
                    load.source_rows += judged.accepted.height + judged.refused.height
                    if judged.refused.height:
                        load.quarantined.append(judged.refused.with_columns(pl.col(LINE) + line))
                        self._refuse_flood(path, load)
                    yield judged.accepted.with_columns(pl.col(LINE) + line)
                    line += judged.lines
            except LongLineError as error:
                raise SourceError(
                    f"{path}, line {line:,}: {error}, so it is no flat file; fetch the file again"
                ) from error

    def _judge(self, screen: Screen, block: memoryview) -> _Judged:
        parsed = parse_block(screen.binding, block, 0, most_bad=QUARANTINE_LIMIT)
        rows, bad = parsed.rows, parsed.bad
        if self.symbols is not None:
            ticker = screen.binding.file_column("symbol")
            rows = rows.filter(pl.col(ticker).cast(pl.String).is_in(list(self.symbols)) | pl.col(ticker).is_null())
            bad = [fault for fault in bad if self._may_be_wanted(screen, fault)]
        accepted, refused = screen.split(rows, block, 0)
        if bad:
            refused = pl.concat([refused, refuse(screen.source, bad)]).sort(LINE)
        return _Judged(accepted, refused, parsed.lines)

    def _may_be_wanted(self, screen: Screen, fault: BadLine) -> bool:
        """Whether a bad line shows a wanted symbol, or none."""
        fields = fault.raw.split(",")
        position = screen.binding.header.index(screen.binding.file_column("symbol"))
        ticker = fields[position].strip(' "') if position < len(fields) else ""
        return not ticker or self.symbols is None or ticker in self.symbols

    def _refuse_flood(self, path: str, load: Load) -> None:
        refused = sum(frame.height for frame in load.quarantined)
        if refused > QUARANTINE_LIMIT:
            line, reason = load.quarantined[0].select(LINE, "reason").row(0)
            raise SourceError(
                f"{path}: more than {QUARANTINE_LIMIT:,} rows refused, so it must be the wrong file; the first, line "
                f"{line:,}: {reason}"
            )

    def _settle(self, path: str, spool: RowBuffer, load: Load) -> None:
        load.duplicates += spool.duplicates
        if spool.conflicts:
            load.quarantined.append(self._conflict_rows(path, spool.conflicts))
            self._refuse_flood(path, load)

    def _conflict_rows(self, path: str, conflicts: list[Conflict]) -> pl.DataFrame:
        """Conflicting rows with their text, from a second pass over the file: they are rare."""
        kept = {conflict.line: conflict.kept_line for conflict in conflicts}
        wanted = np.array(sorted(kept))
        key = "/".join(self.layout.redelivery or self.layout.table.key)
        bad: list[BadLine] = []
        line = 1
        with closing(read_blocks(self.fs, path, self.block_bytes)) as blocks:
            for block in blocks:
                count = int(np.count_nonzero(np.frombuffer(block, np.uint8) == ord("\n")))
                here = wanted[(wanted >= line) & (wanted < line + count)]
                texts = line_texts(block, line, here) if here.size else []
                for number, text in zip(here.tolist(), texts, strict=True):
                    reason = f"{key}: replaced by line {kept[number]}, which has the same key and other content"
                    bad.append(BadLine(number, reason, text))
                line += count
        return refuse(path, bad)


def _header_names(header: bytes, path: str) -> list[str]:
    text = header.decode("utf-8-sig", "replace").strip()
    if not text:
        raise SourceError(f"{path} is empty: not even a header")
    try:
        return [name.strip() for name in next(csv.reader([text]))]
    except csv.Error as error:
        raise SourceError(f"{path}: line 1 is no header: {error}") from error


def _in_parallel(work: Callable[[memoryview], _Judged], blocks: Iterable[memoryview]) -> Iterator[_Judged]:
    """The results of `work` on every block, in order; at most `_IN_HAND` blocks are requested at a time.

    An error of `blocks` is raised after the results of the blocks before it.
    """
    with ThreadPoolExecutor(_WORKERS, "parse") as pool:
        running: deque[Future[_Judged]] = deque()
        try:
            for block in blocks:
                running.append(pool.submit(work, block))
                if len(running) == _IN_HAND:
                    yield running.popleft().result()
        except LongLineError:
            while running:
                yield running.popleft().result()
            raise
        while running:
            yield running.popleft().result()
