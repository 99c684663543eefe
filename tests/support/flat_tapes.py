"""Days of the synthetic market as flat files in the vendor's layout, with every column that the vendor's files have."""

import datetime as dt
import gzip
from collections.abc import Iterable, Mapping
from pathlib import Path

import polars as pl

from tapewatch.emulator.tape.market_tape import SyntheticTape
from tapewatch.feeds.files.layouts import LAYOUTS
from tapewatch.market.instruments import Market, Partition
from tests.support.flat_days import HEADERS, path

#: The venue of each synthetic future, by the beginning of its name.
_VENUES = {"ES": "cme", "NQ": "cme", "CL": "nymex"}


def write_days(
    root: Path,
    market: Market,
    dates: Iterable[dt.date],
    *,
    tables: Iterable[str] = ("trades", "quotes", "bars"),
    symbols: Iterable[str] | None = None,
    seed: int = 7,
) -> None:
    """Write days of all listed symbols, or some. A market has the files that the vendor has of it."""
    tape = SyntheticTape(seed)
    listed = sorted(symbols or tape.symbols(market))
    for date in dates:
        partition = Partition(date, market)
        for table in tables:
            if (market, table) not in HEADERS:
                continue
            by_venue: dict[str, list[pl.DataFrame]] = {}
            for symbol in listed:
                rows = _in_file_columns(partition, table, getattr(tape, table)(symbol, date))
                by_venue.setdefault(_VENUES.get(symbol[:2], "") if market is Market.FUTURES else "", []).append(rows)
            for venue, frames in by_venue.items():
                target = Path(path(root, partition, table, venue=venue))
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(gzip.compress(pl.concat(frames).write_csv().encode(), 1))


def _in_file_columns(partition: Partition, table: str, frame: pl.DataFrame) -> pl.DataFrame:
    columns: Mapping[str, str] = LAYOUTS[partition.market, table].columns
    time = pl.col("time").to_physical()
    others = {
        "report_sequence": pl.int_range(pl.len()) + 1,
        "session_end_date": pl.lit(str(partition.date)),
        "ask_timestamp": time,
        "bid_timestamp": time,
        "exchange": pl.lit(4),
        "dollar_volume": pl.col("close") * pl.col("volume") if "close" in frame.columns else pl.lit(0.0),
    }
    taken = []
    for name in HEADERS[partition.market, table].split(","):
        if name == "report_sequence" or name not in columns:
            taken.append(others[name].alias(name))
        elif frame.schema[columns[name]].is_temporal():
            taken.append(pl.col(columns[name]).to_physical().alias(name))
        else:
            taken.append(pl.col(columns[name]).alias(name))
    return frame.select(taken)
