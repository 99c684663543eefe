"""Whether the platform is well: collectors, gaps, coverage, lag, disk."""

import datetime as dt
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import httpx
import msgspec
import polars as pl

from tapewatch.market.instruments import Market
from tapewatch.market.tables.live import GAPS, LIVE_BARS
from tapewatch.market.tables.tape import COVERAGE
from tapewatch.store.database.database import Database
from tapewatch.store.lake.lake import Lake
from tapewatch.streaming.collector.metrics import LOOPBACK, CollectorStatus

_ANSWER_S = 1.0
# Made here, since a page's threads may not be the first to use the class: msgspec prepares it without a lock.
_status = msgspec.json.Decoder(CollectorStatus)


@dataclass(frozen=True, slots=True)
class Disk:
    """The disk of the home, in bytes."""

    total: int
    used: int
    free: int


def collectors(first_port: int, markets: Iterable[Market] = tuple(Market)) -> dict[Market, CollectorStatus]:
    """The collectors that answer on this machine, by market."""
    found = {}
    for market in markets:
        address = f"http://{LOOPBACK}:{first_port + list(Market).index(market)}/status"
        try:
            answer = httpx.get(address, timeout=_ANSWER_S, trust_env=False, verify=False)  # noqa: S501 - plain HTTP
            status = _status.decode(answer.content)
        except (httpx.HTTPError, msgspec.DecodeError):
            continue
        if status.market == market:
            found[market] = status
    return found


def gaps(database: Database, since: dt.datetime) -> pl.DataFrame:
    """Gaps that began since a time, and all that are open: the rows of `GAPS` with market, newest first."""
    recent = database.read(GAPS, start=since)
    unfilled = database.read(GAPS, where={"status": ["growing", "open"]})
    return pl.concat([recent, unfilled]).unique("gap_id").sort("start_time", descending=True)


def coverage(lake: Lake, market: Market, days: int = 10) -> pl.DataFrame:
    """Of the market's last days: date, symbols, complete (share of symbols), missing_minutes, open_gaps; oldest first."""
    rows = []
    for day in lake.partitions(COVERAGE, market)[-days:]:
        table = lake.read(COVERAGE, day, columns=["is_complete", "missing_minutes", "open_gaps"])
        rows.append(
            {
                "date": day.date,
                "symbols": table.height,
                "complete": table["is_complete"].mean(),
                "missing_minutes": int(table["missing_minutes"].sum()),
                "open_gaps": int(table["open_gaps"].max() or 0),
            }
        )
    schema = {
        "date": pl.Date,
        "symbols": pl.Int64,
        "complete": pl.Float64,
        "missing_minutes": pl.Int64,
        "open_gaps": pl.Int64,
    }
    return pl.DataFrame(rows, schema=schema)


def newest_bars(database: Database) -> pl.DataFrame:
    """The newest live minute of each market: market, time."""
    rows = []
    for market in Market:
        newest = database.read(LIVE_BARS, market=market, where={"clock": "1m"}, newest_first=True, limit=1)
        rows += newest.select("market", "time").rows()
    return pl.DataFrame(rows, schema={"market": pl.String, "time": pl.Datetime("us", "UTC")}, orient="row")


def disk(home: Path) -> Disk:
    return Disk(*shutil.disk_usage(home))
