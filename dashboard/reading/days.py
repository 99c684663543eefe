"""Which of a table's partitions may hold a stretch of time, found without listing the lake."""

import datetime as dt

from tapewatch.market.instruments import Market, Partition
from tapewatch.market.schema import Table
from tapewatch.store.lake.lake import Lake
from tapewatch.store.lake.many_days import written

#: A market's day may begin on the evening before its date, and end after it in UTC.
_AROUND = dt.timedelta(days=1)


def days_between(
    lake: Lake, table: Table, market: Market, start: dt.datetime, end: dt.datetime, most: int
) -> list[Partition]:
    """The written partitions that may hold times in [start, end), oldest first; of a longer stretch its last `most` days."""
    last = (end + _AROUND).date()
    first = max((start - _AROUND).date(), last - dt.timedelta(days=most + 2))
    count = (last - first).days + 1
    return written(lake, table, (Partition(first + dt.timedelta(days=offset), market) for offset in range(count)))
