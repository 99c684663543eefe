"""Everything that a page or a list shows of a paper account, as frames."""

from dataclasses import dataclass
from typing import Any

import polars as pl

from tapewatch.market.schema import Table
from tapewatch.market.tables.paper import (
    PAPER_ACCOUNTS,
    PAPER_EQUITY,
    PAPER_FILLS,
    PAPER_LOCKS,
    PAPER_ORDERS,
    PAPER_REFUSALS,
    PAPER_RISK,
    PAPER_SIGNALS,
    PAPER_TRADERS,
)
from tapewatch.market.tables.tape import TIME
from tapewatch.store.database.database import Database
from tapewatch.trading.bets.orders import bets_of
from tapewatch.trading.paper.ledger import PaperError
from tapewatch.trading.paper.portfolio import portfolio

_CENTS = 100.0


@dataclass(frozen=True)
class AccountView:
    """A paper account as it was committed last; money in the quote currency, newest rows first unless said otherwise.

    Attributes:
        facts: the account's row of `Portfolio.accounts`, and beat_time: when its trader wrote last, None without one.
        positions: PAPER_PORTFOLIO of the account.
        orders: `PAPER_ORDERS` with reason, why an order was refused.
        fills: `PAPER_FILLS`.
        equity: time and equity, oldest first.
        signals: `PAPER_SIGNALS`.
        bets: `bets_of` the account with profit, that of the closed part after fees, and return_bps, before fees.
        protections: protection, symbol (empty for the account), since, until (null: none) and reason, of what is in force.
    """

    facts: dict[str, Any]
    positions: pl.DataFrame
    orders: pl.DataFrame
    fills: pl.DataFrame
    equity: pl.DataFrame
    signals: pl.DataFrame
    bets: pl.DataFrame
    protections: pl.DataFrame


def account_names(database: Database) -> list[str]:
    """The paper accounts, in order of their names."""
    return sorted(database.read(PAPER_ACCOUNTS)["account"].to_list())


def account_view(database: Database, account: str, most: int = 500) -> AccountView:
    """Read an account.

    Args:
        most: rows of each frame at most, the newest.

    Raises:
        PaperError: there is no such account.
        DatabaseError: the database cannot be read.
    """
    held = portfolio(database)
    found = held.accounts.filter(pl.col("account") == account)
    if found.is_empty():
        known = ", ".join(account_names(database)) or "none"
        raise PaperError(
            f"there is no paper account {account!r} (accounts: {known}): `tapewatch paper start` opens one"
        )

    def newest(table: Table) -> pl.DataFrame:
        rows = database.read(table, where={"account": account}, limit=most, newest_first=True)
        return rows.select(list(table.schema))

    orders, fills, signals = newest(PAPER_ORDERS), newest(PAPER_FILLS), newest(PAPER_SIGNALS)
    beat = database.read(PAPER_TRADERS, where={"account": account})["beat_time"].to_list()
    equity = newest(PAPER_EQUITY).select("time", equity=pl.col("equity_cents") / _CENTS)
    return AccountView(
        facts=found.row(0, named=True) | {"beat_time": beat[0] if beat else None},
        positions=held.positions.filter(pl.col("account") == account),
        orders=_with_reasons(orders, newest(PAPER_REFUSALS)),
        fills=fills,
        equity=equity.reverse(),
        signals=signals,
        bets=_with_profit(bets_of(signals, orders, fills)),
        protections=_in_force(database, account),
    )


def _with_reasons(orders: pl.DataFrame, refusals: pl.DataFrame) -> pl.DataFrame:
    said = refusals.drop_nulls("order_id").select(
        "order_id", reason=pl.format("{}: {}", pl.col("reason").cast(pl.String), "detail")
    )
    return orders.join(said.unique("order_id", keep="first"), on="order_id", how="left", maintain_order="left")


def _with_profit(bets: pl.DataFrame) -> pl.DataFrame:
    move = (pl.col("exit_price") - pl.col("entry_price")) * pl.col("side")
    return bets.with_columns(
        profit=move * pl.col("closed") - pl.col("fee_cents") / _CENTS,
        return_bps=move / pl.col("entry_price") * 1e4,
    ).sort("known_time", descending=True)


def _in_force(database: Database, account: str) -> pl.DataFrame:
    """The risk state, unless it is ACTIVE, and locks of symbols that are not over."""
    where = {"account": account}
    cursor = int(database.read(PAPER_ACCOUNTS, where=where)["cursor_ns"][0])
    until = pl.when(pl.col("until_ns") > 0).then(pl.col("until_ns").cast(TIME))
    risk = database.read(PAPER_RISK, where=where).filter(pl.col("state") != "ACTIVE")
    locks = database.read(PAPER_LOCKS, where=where).filter(pl.col("until_ns") > cursor)
    return pl.concat(
        [
            risk.select(protection="state", symbol=pl.lit(""), since="at_time", until=until, reason="reason"),
            locks.select(
                protection=pl.lit("lock"),
                symbol=pl.col("symbol").cast(pl.String),
                since="at_time",
                until=until,
                reason="reason",
            ),
        ]
    )
