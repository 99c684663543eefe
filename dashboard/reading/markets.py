"""Which markets and symbols there is anything of, and the zones of their times."""

import polars as pl

from tapewatch.market.instruments import Market, zone_of
from tapewatch.market.tables.live import LIVE_BARS
from tapewatch.market.tables.tape import BARS
from tapewatch.store.database.database import Database
from tapewatch.store.lake.lake import Lake

#: How far back symbols are looked for: those that have not traded since are not listed.
_DAYS, _LIVE_ROWS = 5, 5_000


def symbols(lake: Lake, database: Database) -> dict[Market, list[str]]:
    """The symbols with bars of late, by market; markets without any are absent."""
    live = database.read(LIVE_BARS, where={"clock": "1m"}, newest_first=True, limit=_LIVE_ROWS)
    found = {}
    for market in Market:
        names: set[str] = set()
        for day in lake.partitions(BARS, market)[-_DAYS:]:
            names.update(lake.symbols(BARS, day))
        names.update(live.filter(pl.col("market") == str(market))["symbol"].cast(pl.String).to_list())
        if names:
            found[market] = sorted(names)
    return found


def zone_name(market: Market, *, is_utc: bool) -> str:
    """The IANA name of the zone in which a market's times are shown."""
    return "UTC" if is_utc else zone_of(market).key
