"""Reads one flat file into frames: header, blocks, rows, checks, order and counters."""

import csv
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import polars as pl

from tapewatch.feeds.files.blocks import BLOCK_BYTES, read_blocks
from tapewatch.feeds.files.columns import LINE
from tapewatch.feeds.files.layouts import Layout, bind
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

    def frames(self, path: str, load: Load) -> Generator[pl.DataFrame]:
        """The file's rows as sorted frames of the layout's table; updates the counters of `load`.

        Raises:
            SourceError: the file is empty, truncated, has the wrong columns, or too much of it is refused.
        """
        with RowBuffer(self.layout, self.memory_bytes) as spool:
            missing = set(self.symbols or ())
            for frame in self._accepted(path, load):
                spool.add(frame)
                missing -= set(frame["symbol"].unique().cast(pl.String)) if missing else missing
            load.notices += [f"no {self.layout.name} for {symbol} in {path}" for symbol in sorted(missing)]
            yield from spool.drain(lambda: self._settle(path, spool, load))

    def _accepted(self, path: str, load: Load) -> Iterator[pl.DataFrame]:
        with closing(read_blocks(self.fs, path, self.block_bytes, held=_IN_HAND)) as blocks:
            first = next(blocks, memoryview(b""))
            header, _, _ = bytes(first).partition(b"\n")
            if not header.strip():
                raise SourceError(f"{path} is empty: not even a header")
            names = next(csv.reader([header.decode("utf-8-sig", "replace").strip()]))
            binding = bind(self.layout, [name.strip() for name in names], path)
            screen = Screen(binding, self.bounds, path)
            line = 1 + _HEADER_LINES
            rest = first[len(header) + 1 :]
            for judged in _in_parallel(partial(self._judge, screen), chain([rest] if rest else [], blocks)):
                load.source_rows += judged.accepted.height + judged.refused.height
                if judged.refused.height:
                    load.quarantined.append(judged.refused.with_columns(pl.col(LINE) + line))
                    self._refuse_flood(path, load)
                yield judged.accepted.with_columns(pl.col(LINE) + line)
                line += judged.lines

    def _judge(self, screen: Screen, block: memoryview) -> _Judged:
        parsed = parse_block(screen.binding, block, 0)
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
                f"{path}: {refused:,} rows refused, so it must be the wrong file; the first, line {line}: {reason}"
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
                count = bytes(block).count(b"\n")
                here = wanted[(wanted >= line) & (wanted < line + count)]
                texts = line_texts(block, line, here) if here.size else []
                for number, text in zip(here.tolist(), texts, strict=True):
                    reason = f"{key}: replaced by line {kept[number]}, which has the same key and other content"
                    bad.append(BadLine(number, reason, text))
                line += count
        return refuse(path, bad)


def _in_parallel(work: Callable[[memoryview], _Judged], blocks: Iterable[memoryview]) -> Iterator[_Judged]:
    """The results of `work` on every block, in order; at most `_IN_HAND` blocks are requested at a time."""
    with ThreadPoolExecutor(_WORKERS, "parse") as pool:
        running: deque[Future[_Judged]] = deque()
        for block in blocks:
            running.append(pool.submit(work, block))
            if len(running) == _IN_HAND:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
