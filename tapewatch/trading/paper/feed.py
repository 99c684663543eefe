"""Live bars as a paper account's tape, from the operational database.

The database is the robust source: what the collectors wrote survives both processes, is there for any number of accounts, and
stays when a batch of the spool has been merged into the lake. Its price is a delay of some seconds after each minute.
"""

import datetime as dt
from collections.abc import Sequence

import polars as pl

from tapewatch.market.instruments import NS_PER_MINUTE, Market
from tapewatch.market.live_tables import LIVE_BARS
from tapewatch.store.database.database import Database
from tapewatch.trading.engine import Tape

_MINUTE = "1m"
_RETURNS = 60


def _time(ns: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(ns // 1_000 / 1e6, dt.UTC)


class LiveBars:
    """Minute bars of some markets, as they become known.

    Args:
        database: what the collectors write to.
        markets: the markets to read.
        symbols: some of their symbols; None for all.
    """

    def __init__(self, database: Database, markets: Sequence[Market], symbols: Sequence[str] | None = None) -> None:
        self._database, self._markets, self._symbols = database, list(markets), symbols

    def tape(self, since: int, until: int) -> Tape:
        """Bars that became known after `since` and up to `until` (ns UTC).

        Raises:
            DatabaseError: the database cannot be read.
        """
        bars = self._read(since - NS_PER_MINUTE, until)
        # A bar that was revised later is known later: what was read of it before counts.
        return Tape.of_bars(bars).part(since, until)

    def returns(self, symbols: list[str], until: int) -> pl.DataFrame:
        """Logarithmic returns of the last hour's minutes, a column a symbol; null where a minute has no bar."""
        bars = self._read(until - (_RETURNS + 1) * NS_PER_MINUTE, until, symbols)
        if bars.is_empty():
            return pl.DataFrame()
        closes = bars.with_columns(pl.col("symbol").cast(pl.String)).pivot("symbol", index="time", values="close")
        names = [name for name in closes.columns if name != "time"]
        return closes.sort("time").select(pl.col(name).log().diff() for name in names)

    def _read(self, since: int, until: int, symbols: Sequence[str] | None = None) -> pl.DataFrame:
        where: dict[str, object] = {"clock": _MINUTE, "market": [str(market) for market in self._markets]}
        if wanted := symbols or self._symbols:
            where["symbol"] = list(wanted)
        return self._database.read(LIVE_BARS, start=_time(since), end=_time(until), where=where)
