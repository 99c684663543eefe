"""Stores the findings of `daily_anomalies` as alerts in the database."""

import datetime as dt
import math
from typing import Any

import polars as pl

from tapewatch.feeds.files.daily import market_date
from tapewatch.market.instruments import Market, Partition, zone_of
from tapewatch.market.tables.live import ALERTS
from tapewatch.store.database.database import Database

RULE = "daily_price"
_DAY = dt.timedelta(days=1)


def with_dates(found: pl.DataFrame, market: Market) -> pl.DataFrame:
    """Findings of `daily_anomalies` with `date`, their day in the market's time zone, as first column."""
    return found.select(market_date(market).alias("date"), pl.all())


def record(database: Database, market: Market, found: pl.DataFrame, now: dt.datetime) -> int:
    """Store findings as alerts of the rule `daily_price`. Storing a finding again keeps its first `detected_time`.

    An alert lasts from midnight to midnight of its day, in the market's time zone.

    Args:
        found: as `daily_anomalies` returns it.
        now: the time of detection, with a time zone.

    Returns: the number of new alerts.

    Raises:
        DatabaseError: the database refuses.
    """
    known = database.read(ALERTS, market=market, where={"rule": RULE})
    detected = dict(known.select("alert_id", "detected_time").iter_rows())
    new = 0
    for (date,), day in with_dates(found, market).group_by("date", maintain_order=True):
        partition = Partition(date, market)
        rows = [_alert(partition, finding) for finding in day.iter_rows(named=True)]
        new += sum(row["alert_id"] not in detected for row in rows)
        rows = [{**row, "detected_time": detected.get(row["alert_id"], now)} for row in rows]
        database.upsert(ALERTS, partition, pl.DataFrame(rows, schema=ALERTS.schema))
    return new


def sentence(finding: dict[str, Any]) -> str:
    percent = 100 * math.expm1(finding["deviation"])
    price = (
        f"{finding['symbol']}: {finding['field']} {finding['value']:g}, {percent:+,.1f} % from {finding['expected']:g}"
    )
    if finding["kind"] == "price_shock":
        return f"{price}, the previous close; it is no split"
    return f"{price}, the nearest price that agrees with the neighbouring days and the close"


def _alert(partition: Partition, finding: dict[str, Any]) -> dict[str, Any]:
    market, symbol = partition.market, finding["symbol"]
    midnight, next_midnight = (
        dt.datetime.combine(date, dt.time(), zone_of(market)).astimezone(dt.UTC)
        for date in (partition.date, partition.date + _DAY)
    )
    return {
        "alert_id": f"{market}:{RULE}:{symbol}:{partition.date}",
        "symbol": symbol,
        "rule": RULE,
        "severity": "warning",
        "start_time": midnight,
        "end_time": next_midnight,
        "value": finding["value"],
        "baseline": finding["expected"],
        "multiple": finding["value"] / finding["expected"],
        "peak": finding["value"],
        "observations": 1,
        "message": sentence(finding),
    }
