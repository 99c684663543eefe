"""Making a synthetic symbol's day, against encoding that day as JSON.

Run: python -m benchmarks.synthetic_day [--trades N] [--rounds N]. The peer is msgspec on rows that are Python dictionaries
already; the emulator's own encoder, which reads columns, stands beside it. Each round runs all in turn; the table shows
medians.
"""

import argparse
import datetime as dt
import statistics
import time
from collections.abc import Callable

import msgspec
import polars as pl

from tapewatch.emulator.rest import encode
from tapewatch.emulator.synthetic.market import Synthetic
from tapewatch.market.instruments import Market

_DAY = dt.date(2024, 3, 5)


def as_rows(frame: pl.DataFrame) -> list[dict[str, object]]:
    """The frame's rows as a server without columns would hold them."""
    return frame.with_columns(pl.col(pl.Datetime).cast(pl.Int64), pl.col(pl.Categorical).cast(pl.String)).to_dicts()


def median_seconds(rounds: int, works: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median wall time of each work, run in turn."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trades", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    market = Synthetic(7, has_anomalies=False)
    day = market.day("AAPL", _DAY, trades=given.trades)
    rows = as_rows(day.trades) + as_rows(day.quotes)
    taken = median_seconds(
        given.rounds,
        {
            "make the day": lambda: market.day("AAPL", _DAY, trades=given.trades),
            "msgspec, rows to JSON": lambda: msgspec.json.encode(rows),
            "emulator, columns to JSON": lambda: (
                encode.trades(day.trades, Market.STOCKS),
                encode.quotes(day.quotes, Market.STOCKS),
            ),
        },
    )
    made = taken["make the day"]
    print(f"{day.trades.height:,} trades and {day.quotes.height:,} quotes of one symbol, median of {given.rounds}")
    print(f"{'':28}{'ms':>8}{'rows/s':>14}{'against making':>16}")
    for name, seconds in taken.items():
        print(f"{name:28}{seconds * 1e3:8.1f}{len(rows) / seconds:14,.0f}{seconds / made:15.1f}x")


if __name__ == "__main__":
    main()
