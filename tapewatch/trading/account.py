"""The bets of a day as orders of one account, traded by the engine over the day's quotes, or its bars where there are none."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from tapewatch.market.instruments import Session
from tapewatch.market.tables.trading import EQUITY, FILLS, REFUSALS
from tapewatch.trading.bets.day import trade_signals
from tapewatch.trading.bets.rules import BetRules
from tapewatch.trading.costs import Fees
from tapewatch.trading.engine import EngineSettings, Tape
from tapewatch.trading.signals.risk import RiskRules

_CASH = 100_000.0


@dataclass(frozen=True)
class Account:
    """A day of the account.

    Attributes:
        orders: number of orders.
        fills, equity, refusals: FILLS, EQUITY and REFUSALS of the day.
        bets: `bets_of` the account.
        profit: last equity less the cash at the start, quote currency.
        cash: at the start of the day.
    """

    orders: int = 0
    fills: pl.DataFrame = field(default_factory=FILLS.empty)
    equity: pl.DataFrame = field(default_factory=EQUITY.empty)
    refusals: pl.DataFrame = field(default_factory=REFUSALS.empty)
    bets: pl.DataFrame = field(default_factory=pl.DataFrame)
    profit: float = 0.0
    cash: float = _CASH

    def facts(self, name: str) -> dict[str, float]:
        """Profit, number of fills and of refused orders, named after the account."""
        counts = {"profit": self.profit, "fills": self.fills.height, "refused": self.refusals.height}
        return {f"{fact}_{name}": value for fact, value in counts.items()}

    @property
    def gross_weights(self) -> npt.NDArray[np.float64]:
        """Absolute value of the positions over the equity, row by row of EQUITY."""
        return np.asarray(self.equity["gross_cents"].to_numpy() / self.equity["equity_cents"].to_numpy())


def trade_day(
    signals: pl.DataFrame,
    bars: pl.DataFrame,
    session: Session,
    rules: RiskRules | None = None,
    *,
    ticks: tuple[pl.DataFrame, pl.DataFrame] | None = None,
    is_sized: bool = True,
) -> Account:
    """Trade the signals of a day with the engine, as `trade_signals` does.

    Args:
        signals: SIGNALS of the session.
        bars: BARS of it.
        session: the day.
        rules: notional, participation and fee; `RiskRules()` by default.
        ticks: QUOTES and TRADES of the session: orders meet them. Without quotes they meet the bars; then a taker pays on each side
            half of the signals' mean spread and impact, and takes at most `participation` of a bar's volume.
        is_sized: by the signals' sizes; False trades each bet at size 1.
    """
    rules = rules or RiskRules()
    traded = signals.filter("is_tradable")["symbol"].cast(pl.String).unique().to_list()
    if not traded:
        return Account()
    of_these = pl.col("symbol").cast(pl.String).is_in(traded)
    known = bars.filter(of_these).sort(pl.col("symbol").cast(pl.String), "time")
    has_quotes = ticks is not None and ticks[0].filter(of_these).height > 0
    tape = Tape.of_quotes(*(frame.filter(of_these) for frame in ticks)) if ticks and has_quotes else Tape.of_bars(known)
    settings = engine_settings(signals, session, rules, is_bars=tape.is_bars)
    outcome, bets = trade_signals(signals, tape, known, session, settings, BetRules(rules, is_sized=is_sized))
    if outcome.orders.is_empty():
        return Account()
    return Account(outcome.orders.height, outcome.fills, outcome.equity, outcome.refusals, bets, outcome.profit)


def engine_settings(signals: pl.DataFrame, session: Session, rules: RiskRules, *, is_bars: bool) -> EngineSettings:
    """The engine's settings that correspond to the rules."""
    tradable = signals.filter("is_tradable")
    spread = tradable.select((pl.col("cost_bps") - 2 * rules.fee_bps).clip(0.0).mean()).item()
    return EngineSettings(
        cash=_CASH,
        fees=Fees(taker_bps=rules.fee_bps, maker_bps=rules.fee_bps),
        half_spread_bps=float(spread or 0.0) / 2 if is_bars else 0.0,
        depth_share=rules.participation if is_bars else 1.0,
        market=session.market,
        leverage=2.0,
    )
