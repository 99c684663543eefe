"""`tapewatch watch`: score any single series as a stream."""

import functools
import itertools
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from orchestration.errors import RunError, console, reports_errors

if TYPE_CHECKING:
    from models.single.rows import Columns, ScoreWriter

app = typer.Typer()

#: Rows of a file that are scored at once. Those of a pipe are scored one by one, as they come.
_BLOCK = 1000
#: A file as large takes long enough for a bar.
_LONG_BYTES = 20_000_000
_SAVE_EVERY_S = 5.0
_INTERRUPTED = 130


@app.command()
@reports_errors
def watch(
    source: Annotated[
        str, typer.Argument(metavar="FILE.csv", help="a CSV with a header and a row per value; - reads standard input")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="SCORES.csv", help="where the scores go; - writes to stdout")],
    time_column: Annotated[str, typer.Option("--time", metavar="COLUMN", help="the column of times")] = "timestamp",
    value_column: Annotated[str, typer.Option("--value", metavar="COLUMN", help="the column of values")] = "value",
    state: Annotated[
        Path | None,
        typer.Option(
            "--state",
            metavar="STATE.npz",
            help="keep what was learnt here, and go on from it: after a kill, the same command continues",
        ),
    ] = None,
) -> None:
    """Score a series row by row, without training: how rare is each value, by all before it?

    Writes timestamp, value, score: a row out for every row in, as it comes. A score depends on no later row.

    [bold]The score[/] is 1 minus the share of blocks of 32 rows, so far, in which a row is as high: .9 comes about once in
    320 rows, .99 in 3,200. Alert at the rate that you can look at. The row that opens an event scores highest.

    [bold]Rows[/] may come at any interval, from microseconds to days, with gaps, and with times repeated or going back.
    A rhythm of the day and week is learnt from times 5 seconds to 2 hours apart, any other rhythm of up to 768 rows from the
    values. A missing value (an empty cell, NaN, NA, null) or an infinite one scores 0; so do the first 40 rows.
    Times are ISO 8601 (UTC unless they say otherwise), Unix times, or row numbers.

    [dim]tapewatch watch cpu.csv --out scores.csv
    tapewatch watch trades.csv --time event_time --value price --out scores.csv --state trades.npz
    tail -f sensor.csv | tapewatch watch - --out - | awk -F, '$3 > 0.99'[/]
    """
    from models.single.rows import Columns  # noqa: PLC0415

    columns = Columns(time_column, value_column)
    with ExitStack() as stack:
        lines, size = _source(stack, source)
        if str(out) != "-" and source != "-" and out.exists() and out.samefile(source):
            raise RunError(f"--out {out} is the file that is read: name another")
        if state is not None and str(out) == "-":
            raise RunError("--state needs --out with the name of a file: what went to stdout cannot be continued")
        try:
            _watch(stack, lines, source, size, out, columns, state)
        except KeyboardInterrupt:
            raise typer.Exit(_INTERRUPTED) from None
        except BrokenPipeError:
            # Whoever read the scores has read enough; nothing is left to flush to.
            sys.stdout = None  # type: ignore[assignment]


def _source(stack: ExitStack, source: str) -> tuple[TextIO, int]:
    """The text to read, and the bytes of a regular file; 0 where rows come as they are made."""
    if source == "-":
        return sys.stdin, 0
    path = Path(source)
    try:
        file = stack.enter_context(path.open(encoding="utf-8", newline=""))
    except OSError as error:
        raise RunError(f"{source}: {error.strerror}. Name a CSV file, or - for standard input") from None
    found = path.stat()
    return file, found.st_size if stat.S_ISREG(found.st_mode) else 0


def _watch(
    stack: ExitStack, lines: TextIO, source: str, size: int, out: Path, columns: "Columns", state: Path | None
) -> None:
    from models.single.rows import blocks, read  # noqa: PLC0415

    name = "standard input" if source == "-" else source
    writer = _writer(stack, out, columns, state)
    advance = _bar(stack, size)
    rows = read(_told(lines, advance), name, columns)
    if size:
        # The rows of a file that an earlier call has scored; a pipe begins where it stands.
        skipped = sum(1 for _ in itertools.islice(rows, writer.rows))
        if skipped < writer.rows:
            raise RunError(
                f"{source} has {skipped:,} rows, and {state} has seen {writer.rows:,}: delete the state to start anew"
            )
    saved = time.monotonic()
    try:
        for block in blocks(rows, _BLOCK if size else 1):
            writer.write(block)
            if time.monotonic() > saved + _SAVE_EVERY_S:
                writer.save()
                saved = time.monotonic()
    finally:
        writer.save()


def _writer(stack: ExitStack, out: Path, columns: "Columns", state: Path | None) -> "ScoreWriter":
    """A writer that starts anew, or behind the rows that the state has seen."""
    from models.single.rows import ScoreWriter  # noqa: PLC0415
    from models.single.watch import SeriesWatch  # noqa: PLC0415

    if str(out) == "-":
        return ScoreWriter(sys.stdout, SeriesWatch(), columns, done=None, state=None)
    if state is None or not state.exists():
        file = stack.enter_context(out.open("w", encoding="utf-8", newline=""))
        return ScoreWriter(file, SeriesWatch(), columns, done=None, state=state)
    watched, notes = SeriesWatch.load(state)
    written, rows = notes.get("bytes", 0), notes.get("rows", 0)
    if not out.exists() or out.stat().st_size < written:
        raise RunError(
            f"{state} belongs to the first {written:,} bytes of {out}, which are gone: delete it to start anew"
        )
    file = stack.enter_context(out.open("r+", encoding="utf-8", newline=""))
    file.seek(written)
    file.truncate()
    return ScoreWriter(file, watched, columns, done=rows, state=state)


def _bar(stack: ExitStack, size: int) -> Callable[[int], object]:
    """What to tell the number of characters read; it shows them for a long file on a terminal."""
    if size < _LONG_BYTES or not console.is_terminal:
        return int
    from rich.progress import Progress  # noqa: PLC0415

    progress = stack.enter_context(Progress(console=console, transient=True))
    return functools.partial(progress.advance, progress.add_task("scoring", total=size))


def _told(lines: TextIO, advance: Callable[[int], object]) -> Iterator[str]:
    """The lines, told to the bar in thousands."""
    read = 0
    for number, line in enumerate(lines):
        read += len(line)
        if number % _BLOCK == 0:
            advance(read)
            read = 0
        yield line
