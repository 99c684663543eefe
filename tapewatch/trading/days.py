"""Signals and outcomes of market days of the lake, each day with the record of the days before it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import polars as pl

from tapewatch.lookahead.computation import Computation
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.schema import Table
from tapewatch.market.tables.derived import INCIDENTS
from tapewatch.market.tables.signals import OUTCOMES, SIGNALS
from tapewatch.market.tables.tape import ANOMALIES, BARS, MICROSTRUCTURE, QUOTES, TIME, TRADES
from tapewatch.store.lake.lake import Lake
from tapewatch.store.lake.tape import tape_end
from tapewatch.trading.account import Account, trade_day
from tapewatch.trading.lookahead import stored_signals
from tapewatch.trading.record import AccountRecord, account_record
from tapewatch.trading.recorded import tick_columns
from tapewatch.trading.signals.build import SignalRules, proposals, signals
from tapewatch.trading.signals.meta_model import MetaModel
from tapewatch.trading.signals.outcomes import outcomes
from tapewatch.trading.strategies.alerts import alerts_of

#: Days whose outcomes make the record.
RECORD_DAYS = 20
#: Of days that one run computes and the next one judges.
_KEPT_ACCOUNTS = 64


@dataclass
class TradingDays:
    """Computes days in turn; the outcomes of a day are computed once.

    Attributes:
        lake: holds features, alerts and bars, and the signals of earlier days.
        rules: of the strategies.
        record_days: days before a day whose outcomes its confidences rest on.
    """

    lake: Lake
    rules: SignalRules = field(default_factory=SignalRules)
    record_days: int = RECORD_DAYS
    _outcomes: dict[Partition, pl.DataFrame] = field(default_factory=dict, init=False, repr=False)
    _models: dict[Partition, MetaModel | None] = field(default_factory=dict, init=False, repr=False)

    def signals(self, day: Partition) -> pl.DataFrame:
        """SIGNALS of a day. Without features it is empty; detectors that have not run on the day add no alert."""
        alerts = alerts_of(self._read(ANOMALIES, day), self._read(INCIDENTS, day))
        proposed, minutes = proposals(
            alerts, self._read(MICROSTRUCTURE, day), others=self._leaders(day), rules=self.rules
        )
        return signals(proposed, minutes, self.record(day), model=self.model(day), rules=self.rules)

    def computation(self, day: Partition) -> Computation:
        """How `signals` computes a day, for the look-ahead check."""
        return stored_signals(self.record(day), self._leaders(day), self.rules)

    def record(self, day: Partition) -> pl.DataFrame:
        """OUTCOMES of the earlier days of the market that have signals, as far as they were known when the day began."""
        before = [each for each in self.lake.partitions(SIGNALS, day.market) if each.date < day.date][
            -self.record_days :
        ]
        begin = pl.lit(day.session.day_start).cast(TIME)
        return pl.concat([OUTCOMES.empty(), *(self.outcomes(each) for each in before)]).filter(
            pl.col("known_time") <= begin
        )

    def model(self, day: Partition) -> MetaModel | None:
        """The meta-model of the day's record; None where the shrunken rate of its bets gives the confidences."""
        if day not in self._models:
            self._models[day] = MetaModel.fit(self.record(day))
        return self._models[day]

    def outcomes(self, day: Partition) -> pl.DataFrame:
        """OUTCOMES of the signals of a day that the lake holds."""
        if day not in self._outcomes:
            found = self.lake.read(SIGNALS, day)
            bars, through_ns = self._read(BARS, day), tape_end(self.lake, day)
            self._outcomes[day] = outcomes(found, bars, day.session, through_ns=through_ns)
        return self._outcomes[day]

    def account(self, day: Partition, *, is_sized: bool = True) -> Account:
        """The signals of a day that the lake holds as one account of the engine; `is_sized` False trades each at size 1.

        Orders meet the day's quotes and trades, or its bars where the lake has no quotes of it. An account is made once in a
        process, until one of these is written again.
        """
        tables = (SIGNALS, BARS, QUOTES, TRADES)
        written = tuple(self.lake.written_ns(each, day) if self.lake.exists(each, day) else 0 for each in tables)
        return _account(_Bets(str(self.lake.root), day, self.rules, written, is_sized, self.lake))

    def records(self, days: Iterable[Partition]) -> Iterator[AccountRecord]:
        """The accounts of each market's days: every bet at size 1, and by the signals' sizes."""
        listed = list(days)
        for market in sorted({day.market for day in listed}):
            for is_sized, name in ((False, "every bet at size 1"), (True, "sized")):
                accounts = {day: self.account(day, is_sized=is_sized) for day in listed if day.market is market}
                yield account_record(f"{market}, {name}", accounts)

    def proposed(self, days: Iterable[Partition]) -> pl.DataFrame:
        """SIGNALS of days."""
        return pl.concat([SIGNALS.empty(), *(self._read(SIGNALS, day) for day in days)])

    def raised_by(self, day: Partition) -> set[str]:
        """The versions that raised the alerts of a day, as `name/version`."""
        tables = (ANOMALIES, INCIDENTS)
        return {str(model) for table in tables for model in self._read(table, day)["model"].unique()}

    def _leaders(self, day: Partition) -> pl.DataFrame | None:
        """MICROSTRUCTURE of the same date of the other markets that the lake has: their symbols may lead."""
        dates = (Partition(day.date, market) for market in Market if market is not day.market)
        found = [self.lake.read(MICROSTRUCTURE, other) for other in dates if self.lake.exists(MICROSTRUCTURE, other)]
        return pl.concat(found) if found else None

    def _read(self, table: Table, day: Partition) -> pl.DataFrame:
        return _held(self.lake, table, day)


@dataclass(frozen=True)
class _Bets:
    """What an account follows from, and the lake that holds it."""

    root: str
    day: Partition
    rules: SignalRules
    written_ns: tuple[int, ...]
    is_sized: bool
    lake: Lake = field(compare=False)


@lru_cache(maxsize=_KEPT_ACCOUNTS)
def _account(bets: _Bets) -> Account:
    lake, day = bets.lake, bets.day
    found = _held(lake, SIGNALS, day)
    is_traded = pl.col("size") != 0 if bets.is_sized else pl.col("is_tradable")
    traded = found.filter(is_traded)["symbol"].cast(pl.String).unique().to_list()
    if not traded:
        return Account()
    quotes, trades = (_ticks(lake, table, day, traded) for table in (QUOTES, TRADES))
    return trade_day(
        found,
        _held(lake, BARS, day),
        day.session,
        bets.rules.risk,
        ticks=(quotes, trades) if quotes.height else None,
        is_sized=bets.is_sized,
    )


def _ticks(lake: Lake, table: Table, day: Partition, symbols: Sequence[str]) -> pl.DataFrame:
    columns = tick_columns(table)
    if not lake.exists(table, day):
        return table.empty().select(columns)
    return lake.read(table, day, columns=columns, symbols=symbols)


def _held(lake: Lake, table: Table, day: Partition) -> pl.DataFrame:
    return lake.read(table, day) if lake.exists(table, day) else table.empty()
