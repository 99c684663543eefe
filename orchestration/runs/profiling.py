"""The profile of several days of the lake as one page."""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track

from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.tape import BARS, QUOTES, TRADES
from tapewatch.reports.pages import write_page
from tapewatch.reports.profile_page import render_profile
from tapewatch.reports.tape_profile import profile_day, profile_days
from tapewatch.settings import Settings
from tapewatch.store.lake.lake import Lake, LakeError

_NEWEST = 5


def write_profile(
    settings: Settings,
    console: Console,
    *,
    market: Market | None,
    first: dt.date | None,
    last: dt.date | None,
    out: Path | None,
) -> Path:
    """Measure the chosen days and write the page; returns its path. Raises LakeError if the lake holds none of these days."""
    lake = Lake(settings.lake_root)
    chosen = _chosen(lake, market, first, last)
    days = track(chosen, description="Measuring", console=console, transient=True)
    measured = profile_days(profile_day(lake, partition) for partition in days)
    oldest, newest = chosen[0].date, chosen[-1].date
    span = f"{newest}" if oldest == newest else f"{oldest} to {newest}"
    name = f"profile-{chosen[0].market}-{oldest}-{newest}.html"
    title = f"The tape of {chosen[0].market}, {span}"
    return write_page(render_profile(measured, title=title), out or settings.home / "reports" / name)


def _chosen(lake: Lake, market: Market | None, first: dt.date | None, last: dt.date | None) -> Sequence[Partition]:
    held = sorted({p for table in (TRADES, QUOTES, BARS) for p in lake.partitions(table, market)})
    within = [p for p in held if (first is None or p.date >= first) and (last is None or p.date <= last)]
    if not within:
        what = f"{market or 'any market'} from {first or 'the beginning'} to {last or 'now'}"
        raise LakeError(
            f"the lake at {lake.root} holds no tape of {what}: run `tapewatch backfill`, or `tapewatch ingest` after `tapewatch stream`"
        )
    of_market = [p for p in within if p.market == within[-1].market]
    return of_market if first or last else of_market[-_NEWEST:]
