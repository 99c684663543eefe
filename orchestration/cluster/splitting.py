"""How the days of a step are dealt out to workers."""

import datetime as dt
from collections.abc import Mapping

from assets.shared.partitions import DAYS_TAG, INDEPENDENT, RANGE_END, RANGE_START, WHOLE_END, WHOLE_START
from tapewatch.market.instruments import Partition, trading_days

#: Pieces for each worker: a worker that is done early takes over from the others.
_PIECES_A_WORKER = 2


def pieces(run_tags: Mapping[str, str], step_tags: Mapping[str, str], workers: int) -> list[dict[str, str]]:
    """The tags of each piece of a step: ranges of days that together are the run's; one piece, unchanged, if it is not divided.

    A step is divided if its asset computes each day by itself (`about_days`) and the run is over a range of one market's days.
    Each piece has a trading day, and names the whole range, which an asset may need to know.
    """
    first, last = (_partition(run_tags.get(name)) for name in (RANGE_START, RANGE_END))
    if step_tags.get(DAYS_TAG) != INDEPENDENT or first is None or last is None or first.market != last.market:
        return [dict(run_tags)]
    days = trading_days(first.market, first.date, last.date)
    count = min(len(days), workers * _PIECES_A_WORKER)
    if count < 2:
        return [dict(run_tags)]
    begins = [first.date, *(days[len(days) * piece // count] for piece in range(1, count))]
    ends = [*(begin - dt.timedelta(days=1) for begin in begins[1:]), last.date]
    whole = {WHOLE_START: run_tags[RANGE_START], WHOLE_END: run_tags[RANGE_END]}
    return [
        {
            **run_tags,
            **whole,
            RANGE_START: str(Partition(begin, first.market)),
            RANGE_END: str(Partition(end, first.market)),
        }
        for begin, end in zip(begins, ends, strict=True)
    ]


def _partition(key: str | None) -> Partition | None:
    return Partition.parse(key) if key else None
