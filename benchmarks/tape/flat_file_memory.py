"""Peak memory of loading a 2 GB flat file into the lake, compared with a file a tenth as large and with Polars reading it.

Run: `python -m benchmarks.tape.flat_file_memory [--gigabytes 2]`. The generated file is sorted by symbol, as the vendor's are, or by
time, which requires the sort on disk.
"""

import argparse
import datetime as dt
import gzip
import subprocess
import sys
import tempfile
from pathlib import Path

from tapewatch.feeds.files.layouts import LAYOUTS
from tapewatch.market.instruments import Market, Partition

_DATE = dt.date(2024, 3, 5)
_SYMBOLS = 200
_CHUNK = 1000
_LOAD = """
import datetime as dt, sys, time
from tapewatch.feeds.files.source import FlatFileSource
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.tape import QUOTES
from tapewatch.store.lake.lake import Lake
start, day = time.perf_counter(), Partition(dt.date(2024, 3, 5), Market.STOCKS)
rows = Lake(sys.argv[1] + "/lake").write(QUOTES, day, FlatFileSource(sys.argv[1]).quotes(day)).rows
"""
_POLARS = """
import sys, time
from pathlib import Path
import polars as pl
start = time.perf_counter()
rows = pl.read_csv(next(Path(sys.argv[1]).rglob("*.csv.gz"))).height
"""
_REPORT = """
from tests.support.peak_memory import peak_mb
print(rows, round(time.perf_counter() - start, 1), peak_mb())
"""


def make_day(root: Path, megabytes: float, *, is_by_time: bool) -> float:
    """Write a day of quotes of about this size as text; returns the exact size in MB."""
    session = Partition(_DATE, Market.STOCKS).session
    layout = LAYOUTS[Market.STOCKS, "quotes"]
    header = ",".join(layout.columns)
    values = dict.fromkeys(layout.columns, "1") | {
        "ask_price": "100.52", "bid_price": "100.5", "ask_size": "300", "bid_size": "200", "indicators": "",
        "participant_timestamp": "{at}", "sip_timestamp": "{at}", "sequence_number": "{n}", "ticker": "{symbol}",
    }  # fmt: skip
    line = ",".join(values[name] for name in layout.columns) + "\n"
    chunks = max(1, round(megabytes * 1e6 / (len(line) + 30) / _CHUNK / _SYMBOLS))
    order = [(symbol, chunk) for symbol in range(_SYMBOLS) for chunk in range(chunks)]
    target = root / layout.folders[0] / f"{_DATE:%Y/%m}" / f"{_DATE}.csv.gz"
    target.parent.mkdir(parents=True)
    size = 0
    with gzip.open(target, "wt", 1) as stream:
        stream.write(header + "\n")
        for symbol, chunk in sorted(order, key=lambda pair: pair[1]) if is_by_time else order:
            numbers = range(chunk * _CHUNK, (chunk + 1) * _CHUNK)
            size += stream.write(
                "".join(
                    line.format(symbol=f"S{symbol:03}", at=session.regular_start + n * 10**6, n=n + 1) for n in numbers
                )
            )
    return size / 1e6


def measure(script: str, root: Path) -> tuple[int, float, int]:
    """Rows, seconds and peak MB of a script in its own process."""
    done = subprocess.run([sys.executable, "-c", script + _REPORT, root], check=True, capture_output=True, text=True)
    rows, seconds, peak = done.stdout.split()
    return int(rows), float(seconds), int(peak)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=2)
    megabytes = 1000 * parser.parse_args().gigabytes
    print(f"{'file':28} {'text MB':>8} {'rows':>11} {'seconds':>8} {'peak MB':>8}")
    for is_by_time, share in ((False, 0.1), (False, 1), (True, 0.1), (True, 1)):
        with tempfile.TemporaryDirectory() as folder:
            size = make_day(Path(folder), megabytes * share, is_by_time=is_by_time)
            scripts = {"tapewatch": _LOAD} | ({} if is_by_time else {"polars": _POLARS})
            for name, script in scripts.items():
                rows, seconds, peak = measure(script, Path(folder))
                label = f"{name}, {'by time' if is_by_time else 'by symbol'}"
                print(f"{label:28} {size:8,.0f} {rows:11,} {seconds:8.1f} {peak:8,}", flush=True)


if __name__ == "__main__":
    main()
