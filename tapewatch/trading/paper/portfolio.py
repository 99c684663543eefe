"""What paper accounts hold, from the database: positions with their profit, and the accounts' money and risk state."""

from dataclasses import dataclass

import polars as pl

from tapewatch.market.tables.paper import PAPER_ACCOUNTS, PAPER_EQUITY, PAPER_ORDERS, PAPER_POSITIONS, PAPER_RISK
from tapewatch.market.tables.signals import PAPER_PORTFOLIO
from tapewatch.market.tables.tape import TIME
from tapewatch.store.database.database import Database

_CENTS = 100.0


@dataclass(frozen=True)
class Portfolio:
    """The paper accounts as they were committed last.

    Attributes:
        positions: PAPER_PORTFOLIO, one row a position that is not closed.
        accounts: account, state, reason, equity, cash, gross, fees, profit_today, drawdown (share below the highest equity),
            open_orders and through_time; money in the quote currency. One row an account.
        equity: account, time and equity, in order of time.
    """

    positions: pl.DataFrame
    accounts: pl.DataFrame
    equity: pl.DataFrame


def portfolio(database: Database) -> Portfolio:
    """Read every paper account. Without one all frames are empty."""
    accounts, risk = (database.read(table) for table in (PAPER_ACCOUNTS, PAPER_RISK))
    equity_cents = pl.col("cash_cents") + pl.col("value_cents")
    money = accounts.select("account", equity=equity_cents / _CENTS)
    open_orders = (
        database.read(PAPER_ORDERS, where={"state": ["waiting", "open"]}).group_by("account").agg(open_orders=pl.len())
    )
    facts = (
        accounts.join(risk.select("account", "state", "reason"), on="account", how="left")
        .join(open_orders, on="account", how="left")
        .select(
            "account",
            "state",
            "reason",
            equity=equity_cents / _CENTS,
            cash=pl.col("cash_cents") / _CENTS,
            gross=pl.col("gross_cents") / _CENTS,
            fees=pl.col("fees_cents") / _CENTS,
            profit_today=(equity_cents - pl.col("day_cents")) / _CENTS,
            drawdown=(1.0 - equity_cents / pl.col("peak_cents")).clip(0.0),
            open_orders=pl.col("open_orders").fill_null(0).cast(pl.Int64),
            through_time=pl.when(pl.col("cursor_ns") > 0).then(pl.col("cursor_ns").cast(TIME)),
        )
        .sort("account")
    )
    held = database.read(PAPER_POSITIONS).filter(pl.col("quantity") != 0).join(money, on="account")
    positions = held.select(
        "account",
        "symbol",
        "at_time",
        "quantity",
        "mark_price",
        value=pl.col("value_cents") / _CENTS,
        unrealised=(pl.col("value_cents") - pl.col("cost_cents")) / _CENTS,
        realised=pl.col("realised_cents") / _CENTS,
        share_of_equity=pl.when(pl.col("equity") > 0).then(pl.col("value_cents") / _CENTS / pl.col("equity")),
    )
    equity = database.read(PAPER_EQUITY).select("account", "time", equity=pl.col("equity_cents") / _CENTS)
    return Portfolio(PAPER_PORTFOLIO.conform(positions).sort("account", "symbol"), facts, equity.sort("time"))
