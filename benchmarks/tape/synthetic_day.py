"""Generating a synthetic symbol's day, compared with encoding the same day as JSON.

Run: python -m benchmarks.tape.synthetic_day [--trades N] [--rounds N]. The peer is msgspec on rows that already are Python
dictionaries. The emulator's own encoder of columns is measured too. The table shows medians.
"""

import argparse
import datetime as dt

import msgspec
import polars as pl

from benchmarks.measuring import median_seconds
from tapewatch.emulator.rest import encode
from tapewatch.emulator.synthetic.market import Synthetic
from tapewatch.market.instruments import Market

_DAY = dt.date(2024, 3, 5)


def as_rows(frame: pl.DataFrame) -> list[dict[str, object]]:
    """The frame's rows as dictionaries."""
    return frame.with_columns(pl.col(pl.Datetime).cast(pl.Int64), pl.col(pl.Categorical).cast(pl.String)).to_dicts()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trades", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    market = Synthetic(7, has_anomalies=False)
    day = market.day("AAPL", _DAY, trades=given.trades)
    rows = as_rows(day.trades) + as_rows(day.quotes)
    taken = median_seconds(
        {
            "generate the day": lambda: market.day("AAPL", _DAY, trades=given.trades),
            "msgspec, rows to JSON": lambda: msgspec.json.encode(rows),
            "emulator, columns to JSON": lambda: (
                encode.trades(day.trades, Market.STOCKS),
                encode.quotes(day.quotes, Market.STOCKS),
            ),
        },
        given.rounds,
    )
    generated = taken["generate the day"]
    print(f"{day.trades.height:,} trades and {day.quotes.height:,} quotes of one symbol, median of {given.rounds}")
    print(f"{'':28}{'ms':>8}{'rows/s':>14}{'vs generating':>16}")
    for name, seconds in taken.items():
        print(f"{name:28}{seconds * 1e3:8.1f}{len(rows) / seconds:14,.0f}{seconds / generated:15.1f}x")


if __name__ == "__main__":
    main()
