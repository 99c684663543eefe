"""Memory does not grow with the file: peaks of whole processes, measured by the kernel."""

import gzip
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.flat_days import HEADERS, STOCKS, noon, path

_SYMBOLS = [f"S{i:03}" for i in range(40)]
_ROW = "{},11,100.52,300,12,100.5,200,1,,{at},{n},{at},3,0\n"
_LOAD = """
import sys
from tapewatch.feeds.files.source import FlatFileSource
from tapewatch.market.tables.tape import QUOTES
from tapewatch.store.lake.lake import Lake
from tests.support.flat_days import STOCKS
from tests.support.peak_memory import peak_mb
load = FlatFileSource(sys.argv[1], memory_bytes=32 * 1024 * 1024).quotes(STOCKS)
written = Lake(sys.argv[2]).write(QUOTES, STOCKS, load)
print(written.rows, load.quarantine.height, peak_mb())
"""


def _make_day(root: Path, rows_a_symbol: int, *, is_by_time: bool) -> int:
    """Write a day of quotes, by symbol as the vendor does, or by time; returns its text's size in MB."""
    target = Path(path(root, STOCKS, "quotes"))
    target.parent.mkdir(parents=True)
    start, size = noon(STOCKS), 0
    block = range(1000)
    with gzip.open(target, "wt", 1) as stream:
        stream.write(HEADERS[STOCKS.market, "quotes"] + "\n")
        blocks = [(s, b) for s in _SYMBOLS for b in range(rows_a_symbol // 1000)]
        for symbol, number in sorted(blocks, key=lambda b: b[1]) if is_by_time else blocks:
            first = number * 1000
            size += stream.write(
                "".join(_ROW.format(symbol, at=start + (first + i) * 10**6, n=first + i + 1) for i in block)
            )
    return size // 10**6


def _peak_mb(root: Path, rows: int) -> int:
    done = subprocess.run(
        [sys.executable, "-c", _LOAD, root, root / "lake"],
        cwd=Path(__file__).parents[3], check=True, capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    loaded, refused, peak = map(int, done.stdout.split())
    assert (loaded, refused) == (rows * len(_SYMBOLS), 0)
    return peak


@pytest.mark.slow
@pytest.mark.parametrize(
    ("is_by_time", "margin_mb"),
    # The sort on disk may use 256 MB, which the small file does not fill.
    [(False, 150), (True, 300)],
    ids=["by symbol", "by time"],
)
def test_a_file_four_times_the_size_takes_no_more_memory(tmp_path: Path, *, is_by_time: bool, margin_mb: int) -> None:
    sizes = {rows: _make_day(tmp_path / str(rows), rows, is_by_time=is_by_time) for rows in (25_000, 100_000)}
    assert sizes[100_000] > 300
    small, large = (_peak_mb(tmp_path / str(rows), rows) for rows in sizes)
    assert large < small + margin_mb, f"{small} MB for {sizes[25_000]} MB of text, {large} MB for {sizes[100_000]}"
    assert large < 1000


_REFUSE = """
import sys
from tapewatch.feeds.files.source import FlatFileSource
from tapewatch.feeds.source import SourceError
from tests.support.flat_days import STOCKS
from tests.support.peak_memory import peak_mb
try:
    list(FlatFileSource(sys.argv[1]).trades(STOCKS))
except SourceError as error:
    print(peak_mb(), error)
"""


@pytest.mark.slow
@pytest.mark.parametrize("part", [b"0", b"\0", b",", b"\n", b"0\n"], ids=["zeros", "NULs", "commas", "blank", "short"])
def test_gigabytes_of_nothing_in_a_small_file_take_little_memory(tmp_path: Path, part: bytes) -> None:
    target = Path(path(tmp_path, STOCKS, "trades"))
    target.parent.mkdir(parents=True)
    header = f"{HEADERS[STOCKS.market, 'trades']}\n".encode()
    target.write_bytes(gzip.compress(header) + gzip.compress(part * (2**20 // len(part))) * 4_000)
    done = subprocess.run(
        [sys.executable, "-c", _REFUSE, tmp_path],
        cwd=Path(__file__).parents[3], check=True, capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    peak, _, message = done.stdout.partition(" ")
    assert "line 2" in message
    assert int(peak) < 1000
