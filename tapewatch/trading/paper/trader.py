"""The trader of a paper account: follows alerts minute by minute, decides on signals, and sends orders to the account's broker.

Each minute is one transaction of the broker and one of the trader, in this order. A trader that was killed between them, or
anywhere else, goes on as if it had not been: what a decision reads was committed before, and its orders carry the minute's time.
"""

import datetime as dt
import logging
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl
import sqlalchemy as sa

from tapewatch.market.instruments import NS_PER_MINUTE, Market, Partition, Session, session_at
from tapewatch.market.tables.paper import PAPER_FILLS, PAPER_ORDERS, PAPER_SIGNALS, PAPER_TRADERS
from tapewatch.market.tables.signals import OUTCOMES, SIGNALS
from tapewatch.market.tables.tape import TIME
from tapewatch.market.tables.trading import ORDERS
from tapewatch.store.database.database import Database
from tapewatch.store.database.engine import transaction
from tapewatch.trading.bets.orders import bets_of, closings, names, openings
from tapewatch.trading.bets.rules import BetRules
from tapewatch.trading.engine import Tape
from tapewatch.trading.paper.broker import PaperBroker
from tapewatch.trading.paper.feed import Events, LiveAlerts, LiveBars, LiveFeatures
from tapewatch.trading.paper.ledger import PaperError, put, risk_row, rows, write
from tapewatch.trading.paper.protections import RiskState, is_active
from tapewatch.trading.signals.build import SignalRules, proposals, signals
from tapewatch.trading.signals.meta_model import MetaModel

_log = logging.getLogger(__name__)
#: A new trader begins so long before the present, so that the broker has prices.
_FIRST_NS = 10 * NS_PER_MINUTE
#: A stretch without a bar that is not followed minute by minute: a weekend, or the time since a replay.
_LONG_NS = 24 * 60 * NS_PER_MINUTE
#: A bet that could not be closed in its session is closed later, within so long.
_REMEMBERED = dt.timedelta(days=7)
#: Outcomes of earlier days of a market, of which confidences are made.
Record = Callable[[Partition], pl.DataFrame]


@dataclass(frozen=True)
class TraderRules:
    """How a trader finds signals and bets on them."""

    signals: SignalRules = field(default_factory=SignalRules)
    bets: BetRules = field(default_factory=BetRules)

    @property
    def digest(self) -> str:
        """Names the rules, so that an account is not continued with others."""
        return f"{zlib.crc32(repr(self).encode()):08x}"


class Trader:
    """Decides for one account. Not thread-safe; of two traders of one account the second to commit fails.

    Args:
        database: what the collectors write to, with the account.
        broker: of the account.
        markets: to follow.
        rules: how to bet, the same each time.
        record: OUTCOMES known before a day; called once a day and market. By default there are none.
        events: corporate actions and halts of the tape; by default there are none.
        begins: a new trader follows the tape from here (ns UTC); by default from ten minutes before `follow` is first called.

    Raises:
        PaperError: the account was followed with other rules.
        DatabaseError: the database cannot be used.
    """

    def __init__(
        self,
        database: Database,
        broker: PaperBroker,
        markets: Sequence[Market],
        rules: TraderRules | None = None,
        record: Record | None = None,
        *,
        events: Events | None = None,
        begins: int | None = None,
    ) -> None:
        self._database, self._broker, self._markets = database, broker, tuple(markets)
        self.rules = rules or TraderRules()
        self._record = record or (lambda _: OUTCOMES.empty())
        self._history: dict[Market, tuple[Partition, pl.DataFrame, MetaModel | None]] = {}
        self._bars, self._alerts = LiveBars(database, markets, events=events), LiveAlerts(database)
        self._features = LiveFeatures(database, markets)
        self._committed = self._opened()
        self._cursor = self._committed or (begins or 0) // NS_PER_MINUTE * NS_PER_MINUTE

    @property
    def account(self) -> str:
        """Name of the account."""
        return self._broker.account

    @property
    def cursor(self) -> int:
        """Every minute up to here (ns UTC) was decided on; 0 before the first."""
        return self._cursor

    @property
    def newest(self) -> tuple[int | None, int | None]:
        """When the newest bar and the newest minute features became known (ns UTC)."""
        return self._bars.newest(), self._features.newest()

    def follow(self, until: int) -> int:
        """Trade and decide on the whole minutes up to `until` (ns UTC); returns how many.

        Raises:
            PaperError: another trader or broker uses the account.
            DatabaseError: the database refuses; the account stands as at the last commit, and may be followed again.
        """
        self._cursor = self._cursor or (until - _FIRST_NS) // NS_PER_MINUTE * NS_PER_MINUTE
        begins, last = self._cursor, until // NS_PER_MINUTE * NS_PER_MINUTE
        if last <= begins:
            return 0
        tape = self._bars.tape(self._broker.cursor or begins, last)
        decided = 0
        while self._cursor < last:
            now = self._next(tape, last)
            self._broker.process(tape, now)
            # What the tape lacks is said once.
            tape = replace(tape, faults=())
            self._decide(now)
            decided += 1
        return decided

    def _next(self, tape: Tape, last: int) -> int:
        """The next minute to decide on; a long stretch without a bar is passed over."""
        times = tape.events.time
        at = int(np.searchsorted(times, self._cursor, side="right"))
        following = int(times[at]) if at < times.size else last
        if following - self._cursor > _LONG_NS:
            self._cursor = (following - _FIRST_NS) // NS_PER_MINUTE * NS_PER_MINUTE
        return self._cursor + NS_PER_MINUTE

    def _decide(self, now: int) -> None:
        """Decide at the end of a minute, and commit signals, orders and the cursor together."""
        sessions = {market: session_at(market, now - 1) for market in self._markets}
        found = {market: self._signals(session, now) for market, session in sessions.items() if session is not None}
        with transaction(self._database.engine) as connection:
            row = rows(connection, PAPER_TRADERS, account=self.account).row(0, named=True)
            if row["cursor_ns"] != self._committed:
                raise PaperError(f"another trader follows paper account {self.account}: stop one of them")
            orders = [
                self._orders(connection, session, found[market], now)
                for market, session in sessions.items()
                if session is not None
            ]
            new = pl.concat([SIGNALS.empty(), *found.values()])
            account = pl.lit(self.account).alias("account")
            write(connection, PAPER_SIGNALS, new.with_columns(account))
            put(connection, self.account, pl.concat([ORDERS.empty(), *orders]))
            row |= {"cursor_ns": now, "beat_time": dt.datetime.now(dt.UTC), "decisions": row["decisions"] + new.height}
            write(connection, PAPER_TRADERS, pl.DataFrame([row]))
        self._cursor = self._committed = now

    def _signals(self, session: Session, now: int) -> pl.DataFrame:
        """SIGNALS that are known at `now` and were not before."""
        if not session.regular_start < now <= session.regular_end:
            return SIGNALS.empty()
        market = session.market
        features = self._features.rows(market, session, now)
        others = [
            self._features.rows(other, of, now)
            for other in self._markets
            if other is not market and (of := session_at(other, now - 1)) is not None
        ]
        proposed, minutes = proposals(
            self._alerts.known(market, session, now),
            features,
            others=pl.concat(others) if others else None,
            rules=self.rules.signals,
        )
        _, history, model = self._known_outcomes(session)
        found = signals(proposed, minutes, history, model=model, rules=self.rules.signals)
        return found.filter(pl.col("known_time") == pl.lit(now).cast(TIME))

    def _orders(self, connection: sa.Connection, session: Session, found: pl.DataFrame, now: int) -> pl.DataFrame:
        """ORDERS for new signals, and for bets of this market that are to be closed, as far as the risk state allows."""
        account, settings = self.account, self._broker.settings
        risk = risk_row(connection, account)
        state = RiskState(risk["state"])
        if is_active(state, risk["until_ns"], now):
            state = RiskState.ACTIVE
        if state is RiskState.HALTED:
            return ORDERS.empty()
        since = dt.datetime.fromtimestamp(now // 1_000_000_000, dt.UTC) - _REMEMBERED
        decided = names(rows(connection, PAPER_SIGNALS, since, account=account).drop("account"))
        of_market = [
            str(name) for name in decided["symbol"].unique() if settings.market_of(str(name)) is session.market
        ]
        decided = decided.filter(pl.col("symbol").cast(pl.String).is_in(of_market))
        sent, fills = (rows(connection, table, since, account=account) for table in (PAPER_ORDERS, PAPER_FILLS))
        bets = bets_of(decided, sent, fills)
        closed = closings(bets, self._path(bets, session, now), session, self.rules.bets, now)
        if state is not RiskState.ACTIVE:
            return closed
        return pl.concat([openings(found, session, self.rules.bets, settings.lot_of), closed])

    def _path(self, bets: pl.DataFrame, session: Session, now: int) -> pl.DataFrame:
        """The bars since the oldest bet that is not closed was filled."""
        held = bets.filter(pl.col("filled") > pl.col("closing").fill_null(0.0))
        since = min(held["fill_time"].dt.epoch("ns"), default=now)
        symbols = held["symbol"].cast(pl.String).unique().to_list()
        return self._bars.bars(symbols, max(since, session.day_start), now)

    def _known_outcomes(self, session: Session) -> tuple[Partition, pl.DataFrame, MetaModel | None]:
        """The session's day, the record of earlier bets, and their meta-model; made once a day."""
        day = Partition(session.date, session.market)
        known = self._history.get(day.market)
        if known is None or known[0] != day:
            record = self._record(day)
            known = (day, record, MetaModel.fit(record))
            self._history[day.market] = known
            source = "their shrunken rate" if known[2] is None else "a meta-model"
            _log.info(
                "%s: %d earlier bets are the record of this day, %s gives confidences", day, record.height, source
            )
        return known

    def _opened(self) -> int:
        """The cursor of the account's trader, which is made if there is none."""
        account, now = self.account, dt.datetime.now(dt.UTC)
        with transaction(self._database.engine) as connection:
            known = rows(connection, PAPER_TRADERS, account=account)
            if known.is_empty():
                row = {"account": account, "created_time": now, "beat_time": now, "settings": self.rules.digest}
                write(connection, PAPER_TRADERS, pl.DataFrame([row | {"cursor_ns": 0, "decisions": 0}]))
                return 0
        if known["settings"][0] != self.rules.digest:
            raise PaperError(
                f"paper account {account} was followed with other rules: use the same ones, or another --account"
            )
        return int(known["cursor_ns"][0])
