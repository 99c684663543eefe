"""The live tape of a paper account, from the operational database: bars, alerts and minute features as they became known.

The database is the robust source: what the collectors wrote survives both processes, is there for any number of accounts, and
stays when a batch of the spool has been merged into the lake. Its price is a delay of some seconds after each minute.
"""

import datetime as dt
from collections.abc import Callable, Sequence

import polars as pl

from tapewatch.market.instruments import NS_PER_MINUTE, Market, Session, day_of
from tapewatch.market.schema import Table
from tapewatch.market.tables.live import ALERTS, LIVE_BARS, LIVE_MICROSTRUCTURE
from tapewatch.market.tables.tape import MICROSTRUCTURE, TIME
from tapewatch.market.tables.trading import CORPORATE_ACTIONS, HALTS
from tapewatch.store.database.database import Database
from tapewatch.store.lake.lake import Lake
from tapewatch.trading.engine import Tape
from tapewatch.trading.events import halts_of_days, stored_events

_MINUTE = "1m"
_US = 1_000
_RETURNS = 60
#: Rows that may still change: those of the last minutes are read again.
_AGAIN_NS = 5 * NS_PER_MINUTE
#: Rules about the data or about silence: no bet follows them.
NOT_TRADED = frozenset({"data_quality", "feed_outage", "stale_symbol", "daily_price"})

#: `CORPORATE_ACTIONS` and `HALTS` of a stretch of time (ns UTC).
Events = Callable[[int, int], tuple[pl.DataFrame, pl.DataFrame]]


def lake_events(lake: Lake, markets: Sequence[Market]) -> Events:
    """The corporate actions and halts that the lake has of some markets."""

    def found(since: int, until: int) -> tuple[pl.DataFrame, pl.DataFrame]:
        days = {market: (day_of(market, since), day_of(market, until)) for market in markets}
        actions = (stored_events(lake, CORPORATE_ACTIONS, market, *of) for market, of in days.items())
        halts = (halts_of_days(lake, market, *of) for market, of in days.items())
        return pl.concat([CORPORATE_ACTIONS.empty(), *actions]), pl.concat([HALTS.empty(), *halts])

    return found


def _time(ns: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(ns // 1_000 / 1e6, dt.UTC)


class LiveBars:
    """Minute bars of some markets, as they become known.

    Args:
        database: what the collectors write to.
        markets: the markets to read.
        symbols: some of their symbols; None for all.
        events: corporate actions and halts; by default there are none.
    """

    def __init__(
        self,
        database: Database,
        markets: Sequence[Market],
        symbols: Sequence[str] | None = None,
        events: Events | None = None,
    ) -> None:
        self._database, self._markets, self._symbols = database, list(markets), symbols
        self._events = events

    def tape(self, since: int, until: int) -> Tape:
        """Bars that became known after `since` and up to `until` (ns UTC), with the corporate actions and halts between.

        Raises:
            DatabaseError: the database cannot be read.
        """
        bars = self._read(since - NS_PER_MINUTE, until)
        # A bar that was revised later is known later: what was read of it before counts.
        actions, halts = self._events(since, until) if self._events is not None else (None, None)
        return Tape.of_bars(bars, actions=actions, halts=halts).part(since, until)

    def bars(self, symbols: Sequence[str], since: int, until: int) -> pl.DataFrame:
        """`LIVE_BARS` of some symbols that start from `since` on and were known at `until` (ns UTC), by symbol and time."""
        known = self._read(since, until, symbols).filter(pl.col("known_time") <= pl.lit(until).cast(TIME))
        return known.sort(pl.col("symbol").cast(pl.String), "time")

    def newest(self) -> int | None:
        """When the newest bar became known (ns UTC); None without any."""
        return _newest(self._database, LIVE_BARS, self._markets, clock=_MINUTE)

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


class LiveAlerts:
    """Alerts that the collectors raised about symbols."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def known(self, market: Market, session: Session, until: int) -> pl.DataFrame:
        """The session's alerts that were raised up to `until` (ns UTC) on the tape's clock.

        Returns: symbol (text), start_time (the minute's start), known_time, detector (the rule), as `alerts_of` does.

        Raises:
            DatabaseError: the database cannot be read.
        """
        # An alert may begin when it is raised, at the very end of a minute; the bound is excluded.
        found = self._database.read(ALERTS, market=market, start=_time(session.day_start), end=_time(until + _US))
        return (
            found.filter(
                pl.col("known_time") <= pl.lit(until).cast(TIME),
                pl.col("symbol") != "",
                ~pl.col("rule").is_in(list(NOT_TRADED)),
            )
            .select("symbol", pl.col("start_time").dt.truncate("1m"), "known_time", detector="rule")
            .sort("symbol", "known_time", "detector")
        )


class LiveFeatures:
    """Microstructure rows of the current sessions of some markets, kept in memory and extended by what is new."""

    def __init__(self, database: Database, markets: Sequence[Market]) -> None:
        self._database, self._markets = database, list(markets)
        self._held: dict[Market, tuple[Session, pl.DataFrame]] = {}

    def newest(self) -> int | None:
        """When the newest row became known (ns UTC); None without any."""
        return _newest(self._database, LIVE_MICROSTRUCTURE, self._markets)

    def rows(self, market: Market, session: Session, until: int) -> pl.DataFrame:
        """`MICROSTRUCTURE` of the session that was known at `until` (ns UTC), by symbol and time.

        Raises:
            DatabaseError: the database cannot be read.
        """
        of, held = self._held.get(market, (session, MICROSTRUCTURE.empty()))
        if of.date != session.date:
            held = MICROSTRUCTURE.empty()
        since = session.day_start
        if held.height:
            since = max(since, int(held["known_time"].dt.epoch("ns").max()) - _AGAIN_NS)  # type: ignore[arg-type]
        new = self._database.read(LIVE_MICROSTRUCTURE, market=market, start=_time(since), end=_time(until))
        known = pl.concat([held, MICROSTRUCTURE.conform(new)]).filter(pl.col("known_time") <= pl.lit(until).cast(TIME))
        kept = known.unique(["symbol", "event_time"], keep="last", maintain_order=True)
        kept = kept.sort(pl.col("symbol").cast(pl.String), "event_time")
        self._held[market] = (session, kept)
        return kept


def _newest(database: Database, table: Table, markets: Sequence[Market], **where: object) -> int | None:
    chosen = {**where, "market": [str(market) for market in markets]}
    last = database.read(table, where=chosen, limit=1, newest_first=True)
    return int(last["known_time"].dt.epoch("ns")[0]) if last.height else None
