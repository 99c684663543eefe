"""Paper accounts in the database: opened, committed step by step, halted and resumed, given orders, and read."""

import datetime as dt
import json
from collections.abc import Mapping
from typing import Any

import polars as pl
import sqlalchemy as sa

from tapewatch.market.schema import Table
from tapewatch.market.tables.paper import PAPER_ACCOUNTS, PAPER_LOCKS, PAPER_ORDERS, PAPER_POSITIONS, PAPER_RISK
from tapewatch.market.tables.tape import TIME
from tapewatch.market.tables.trading import ORDERS
from tapewatch.store.database import queries
from tapewatch.store.database.database import Database
from tapewatch.store.database.engine import transaction
from tapewatch.store.database.people.audit import record
from tapewatch.store.database.rows import as_kept, frame_of
from tapewatch.store.database.tables import twin
from tapewatch.store.database.upserts import upsert
from tapewatch.trading.engine import EngineSettings
from tapewatch.trading.paper.protections import Lock, RiskState
from tapewatch.trading.paper.state import placed

_FUTURE = dt.timedelta(seconds=1)
_NEW_ORDER = {
    "state": "waiting", "filled": 0.0, "is_triggered": False, "is_resting": False, "parts": 0, "draws": 0,
    "reserved_cents": 0, "paid_cents": 0, "owed": 0.0,
}  # fmt: skip


class PaperError(ValueError):
    """A paper account cannot be used so; the message says why and what to do."""


def rows(connection: sa.Connection, table: Table, since: dt.datetime | None = None, **where: object) -> pl.DataFrame:
    """Rows of a paper table, without market and date; `since` bounds its time."""
    dialect = connection.dialect.name
    found = connection.execute(queries.select(table, dialect, where=where, start=since)).all()
    return frame_of(table, found, dialect).select(list(table.schema))


def write(connection: sa.Connection, table: Table, frame: pl.DataFrame) -> None:
    """Add or replace rows of a paper table in the connection's transaction."""
    if frame.height:
        upsert(connection, table, as_kept(table, table.conform(frame), placed(table, frame)))


def open_account(database: Database, account: str, settings: EngineSettings, *, is_bars: bool) -> bool:
    """Open an account with the settings' capital, unless there is one; returns whether it is new.

    Raises:
        PaperError: the account was opened with other settings, or trades against bars where quotes are asked for.
    """
    with transaction(database.engine) as connection:
        known = rows(connection, PAPER_ACCOUNTS, account=account)
        if known.height:
            _refuse_other(known.row(0, named=True), settings, is_bars=is_bars)
            return False
        numbers = {c.name: 0 for c in PAPER_ACCOUNTS.columns if c.dtype == pl.Int64()}
        own = {
            "account": account,
            "created_time": dt.datetime.now(dt.UTC),
            "settings": settings.digest,
            "is_bars": is_bars,
        }
        money = {"cash_cents": settings.cash_cents, "peak_cents": settings.cash_cents, "day_cents": settings.cash_cents}
        write(connection, PAPER_ACCOUNTS, pl.DataFrame([{**numbers, **own, **money, "losses": "[]"}]))
        _set_risk(connection, account, RiskState.ACTIVE, "opened", "tapewatch")
        return True


def _refuse_other(known: Mapping[str, object], settings: EngineSettings, *, is_bars: bool) -> None:
    name = known["account"]
    if known["settings"] != settings.digest:
        raise PaperError(
            f"paper account {name} was opened with other settings: use the same ones, or another --account"
        )
    if known["is_bars"] != is_bars:
        kind = "bars" if known["is_bars"] else "quotes"
        raise PaperError(f"paper account {name} trades against {kind}: go on so, or use another --account")


def account_row(connection: sa.Connection, account: str, *, locks: bool = False) -> dict[str, Any]:
    """The row of an account; `locks` keeps other writers out until the transaction ends.

    Raises:
        PaperError: there is no such account.
    """
    if locks and connection.dialect.name == "postgresql":
        table = twin(PAPER_ACCOUNTS)
        connection.execute(sa.select(table.c.account).where(table.c.account == account).with_for_update())
    found = rows(connection, PAPER_ACCOUNTS, account=account)
    if found.is_empty():
        raise PaperError(f"there is no paper account {account!r}: `tapewatch paper start --account {account}` opens it")
    return found.row(0, named=True)


def risk_row(connection: sa.Connection, account: str) -> dict[str, Any]:
    """The risk state of an account."""
    return rows(connection, PAPER_RISK, account=account).row(0, named=True)


def set_risk(database: Database, account: str, state: RiskState, reason: str, actor: str) -> None:
    """Halt an account, let it only reduce, or let it trade again; the running broker follows with its next step.

    Trading again forgets the highest equity, the day's loss, the losing trades and the locks, which would stop it at once.

    Raises:
        PaperError: there is no such account.
    """
    with transaction(database.engine) as connection:
        row = account_row(connection, account, locks=True)
        _set_risk(connection, account, state, reason, actor)
        if state is RiskState.ACTIVE:
            equity = row["cash_cents"] + row["value_cents"]
            row |= {"peak_cents": equity, "day_cents": equity, "losses": "[]"}
            write(connection, PAPER_ACCOUNTS, pl.DataFrame([row]))
            locks = twin(PAPER_LOCKS)
            connection.execute(sa.delete(locks).where(locks.c.account == account))
        record(connection, actor, f"paper {state.lower()}", account, {"reason": reason})


def _set_risk(connection: sa.Connection, account: str, state: RiskState, reason: str, actor: str) -> None:
    row = {
        "account": account,
        "at_time": dt.datetime.now(dt.UTC),
        "state": str(state),
        "reason": reason,
        "actor": actor,
    }
    write(connection, PAPER_RISK, pl.DataFrame([row | {"until_ns": 0}]))


def send(database: Database, account: str, orders: pl.DataFrame) -> int:
    """Put `ORDERS` where the account's broker takes them with its next step; all or none.

    Returns: how many.

    Raises:
        PaperError: there is no such account, an order's identity was used before, or an order is from the future.
        SchemaError: the frame is no `ORDERS`.
    """
    orders = ORDERS.conform(orders)
    latest = dt.datetime.now(dt.UTC) + _FUTURE
    late = orders.filter(pl.col("time") > latest)
    if late.height:
        name, time = late.select("order_id", "time").row(0)
        raise PaperError(f"order {name} is from the future ({time:%Y-%m-%d %H:%M:%S} UTC): send it then")
    with transaction(database.engine) as connection:
        account_row(connection, account, locks=True)
        put(connection, account, orders)
    return orders.height


def put(connection: sa.Connection, account: str, orders: pl.DataFrame) -> None:
    """Add `ORDERS` that the account's broker takes with its next step, in the connection's transaction.

    Raises:
        PaperError: an order's identity was used before.
    """
    names = orders["order_id"].to_list()
    # An order that was divided is there as its parts.
    parts = {name: name for name in names} | {f"{name}/1": name for name in names}
    found = rows(connection, PAPER_ORDERS, account=account, order_id=list(parts))["order_id"].to_list() if names else []
    known = [parts[name] for name in found]
    if repeated := [*known, *orders.filter(orders["order_id"].is_duplicated())["order_id"]]:
        raise PaperError(f"order {repeated[0]} was sent before: give each order an identity of its own")
    new = orders.with_columns(pl.lit(account).alias("account"), **{n: pl.lit(v) for n, v in _NEW_ORDER.items()})
    write(connection, PAPER_ORDERS, new)


def inbox(connection: sa.Connection, account: str, until: int) -> pl.DataFrame:
    """`ORDERS` that were decided up to `until` (ns) and that the broker did not take yet."""
    new = rows(connection, PAPER_ORDERS, account=account, state="waiting", number=None)
    limit = pl.lit(until, dtype=pl.Int64).cast(TIME)
    return new.filter(pl.col("time") <= limit).sort("time", "order_id").select(list(ORDERS.schema))


def standing(connection: sa.Connection, account: str) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    """Positions in the order in which they were first seen, orders that go on, and the next order's number."""
    table = twin(PAPER_ORDERS)
    next_number = connection.scalar(sa.select(sa.func.max(table.c.number)).where(table.c.account == account))
    orders = rows(connection, PAPER_ORDERS, account=account, state=["waiting", "open"]).drop_nulls("number")
    positions = rows(connection, PAPER_POSITIONS, account=account).sort("slot")
    return positions, orders, 0 if next_number is None else next_number + 1


def locks_of(connection: sa.Connection, account: str) -> dict[str, Lock]:
    """The locks of symbols, also those that have ended."""
    found = rows(connection, PAPER_LOCKS, account=account).with_columns(pl.col("symbol").cast(pl.String))
    locked = found.select("symbol", "reason", "until_ns").iter_rows()
    return {symbol: Lock(symbol, reason, until) for symbol, reason, until in locked}


def losses_of(account: Mapping[str, Any]) -> list[int]:
    """Times (ns) of recent losing trades."""
    return [int(time) for time in json.loads(account["losses"])]
