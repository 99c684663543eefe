"""The bets of a day as orders of one account, traded by the engine over the day's bars."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from tapewatch.market.instruments import NS_PER_MINUTE, Session
from tapewatch.market.tables import TIME
from tapewatch.market.trading_tables import EQUITY, FILLS, ORDERS, REFUSALS
from tapewatch.trading.costs import Fees
from tapewatch.trading.engine import EngineSettings, run
from tapewatch.trading.signals.risk import RiskRules

#: Bets still open are closed so long before the regular session ends.
_CLOSING_NS = 2 * NS_PER_MINUTE
_CASH = 100_000.0


@dataclass(frozen=True)
class Account:
    """A day of the account.

    Attributes:
        orders: number of orders.
        fills, equity, refusals: FILLS, EQUITY and REFUSALS of the day.
        profit: last equity less the cash at the start, quote currency.
        cash: at the start of the day.
    """

    orders: int = 0
    fills: pl.DataFrame = field(default_factory=FILLS.empty)
    equity: pl.DataFrame = field(default_factory=EQUITY.empty)
    refusals: pl.DataFrame = field(default_factory=REFUSALS.empty)
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


def orders_of_bets(
    bets: pl.DataFrame, session: Session, *, notional: float, whole_units: bool, is_sized: bool = True
) -> pl.DataFrame:
    """Two market orders a bet: one when its signal is known, one when it is closed.

    A bet is closed when a barrier was touched, which is known at the end of that bar; at its horizon; or shortly before the
    session ends. So every order rests on what was known at its time.

    Args:
        bets: OUTCOMES of the session.
        notional: of a bet of size 1.
        whole_units: fractions of a unit cannot be traded; a bet of less than one is left out.
        is_sized: by the signals' sizes; False trades each bet at size 1.

    Returns: ORDERS, tagged by strategy.
    """
    share = pl.col("size").abs() if is_sized else pl.lit(1.0)
    quantity = share * notional / pl.col("entry_price")
    last = pl.lit(session.regular_end - _CLOSING_NS).cast(TIME)
    rows = bets.with_columns(
        quantity=quantity.floor() if whole_units else quantity,
        closes=pl.min_horizontal("known_time", last),
        name=pl.concat_str(
            pl.col("symbol", "strategy", "partner").cast(pl.String), pl.col("event_time").to_physical(), separator=":"
        ),
        tag=pl.col("strategy").cast(pl.String),
    ).filter((pl.col("quantity") > 0) & (pl.col("closes") > pl.col("event_time")))
    shared = {"kind": pl.lit("market"), "time_in_force": pl.lit("day")}
    opened = rows.select(
        "symbol", "side", "quantity", "tag", order_id=pl.col("name") + ":open", time="event_time", **shared
    )
    closed = rows.select(
        "symbol", -pl.col("side"), "quantity", "tag", order_id=pl.col("name") + ":close", time="closes", **shared
    )
    return ORDERS.conform(pl.concat([opened, closed]).cast({"symbol": pl.String})).sort("time", "order_id")


def trade_day(
    bets: pl.DataFrame, bars: pl.DataFrame, session: Session, rules: RiskRules | None = None, *, is_sized: bool = True
) -> Account:
    """Trade the bets of a day with the engine.

    Orders meet the first bar that starts when they are sent. A taker pays the rules' fee, and on each side half of the bets' mean
    spread and impact, as the risk assessment expected them.

    Args:
        bets: OUTCOMES of the session.
        bars: BARS of it.
        session: the day.
        rules: notional and costs; `RiskRules()` by default.
        is_sized: see `orders_of_bets`.
    """
    rules = rules or RiskRules()
    if bets.is_empty():
        return Account()
    settings = engine_settings(bets, session, rules)
    whole = settings.lot_of(str(bets["symbol"][0])) == 1.0
    orders = orders_of_bets(bets, session, notional=rules.largest_notional, whole_units=whole, is_sized=is_sized)
    if orders.is_empty():
        return Account()
    traded = orders["symbol"].unique().to_list()
    tape = bars.filter(pl.col("symbol").cast(pl.String).is_in(traded)).sort(pl.col("symbol").cast(pl.String), "time")
    outcome = run(orders, tape, settings)
    return Account(orders.height, outcome.fills, outcome.equity, outcome.refusals, outcome.profit)


def engine_settings(bets: pl.DataFrame, session: Session, rules: RiskRules) -> EngineSettings:
    """The engine's settings that correspond to the rules."""
    spread = bets.select((pl.col("cost_bps") - 2 * rules.fee_bps).clip(0.0).mean()).item()
    return EngineSettings(
        cash=_CASH,
        fees=Fees(taker_bps=rules.fee_bps),
        half_spread_bps=float(spread or 0.0) / 2,
        market=session.market,
        leverage=2.0,
    )
