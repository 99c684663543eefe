"""What a person wants to see of a paper account."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

from tapewatch.market.tables.paper import PAPER_ORDERS, PAPER_POSITIONS, PAPER_TRADERS
from tapewatch.store.database.database import Database
from tapewatch.store.database.engine import transaction
from tapewatch.trading.paper.ledger import account_row, risk_row, rows

_CENTS = 100


@dataclass(frozen=True, slots=True)
class PaperStatus:
    """An account's row, its risk state, how many orders go on, rows of `PAPER_POSITIONS` that hold something, and its trader's row."""

    account: dict[str, Any]
    risk: dict[str, Any]
    open_orders: int
    positions: list[dict[str, Any]]
    trader: dict[str, Any] | None = None

    def row(self) -> dict[str, Any]:
        """The account in the quote currency."""
        money = {name: self.account[f"{name}_cents"] / _CENTS for name in ("cash", "value", "fees")}
        cursor = self.account["cursor_ns"]
        time = dt.datetime.fromtimestamp(cursor // 1_000_000_000, dt.UTC) if cursor else None
        return {
            "account": self.account["account"],
            "state": self.risk["state"],
            "reason": self.risk["reason"],
            "time": None if time is None else f"{time:%Y-%m-%dT%H:%M:%SZ}",
            **money,
            "equity": (self.account["cash_cents"] + self.account["value_cents"]) / _CENTS,
            "open_orders": self.open_orders,
            "trader_time": None if self.trader is None else f"{self.trader['beat_time']:%Y-%m-%dT%H:%M:%SZ}",
            "positions": {str(row["symbol"]): row["quantity"] for row in self.positions},
        }


def status_of(database: Database, account: str) -> PaperStatus:
    """The account as it was committed last.

    Raises:
        PaperError: there is no such account.
    """
    with transaction(database.engine, reads_only=True) as connection:
        positions = rows(connection, PAPER_POSITIONS, account=account)
        return PaperStatus(
            account_row(connection, account),
            risk_row(connection, account),
            rows(connection, PAPER_ORDERS, account=account, state=["waiting", "open"]).height,
            positions.filter(positions["quantity"] != 0).to_dicts(),
            next(iter(rows(connection, PAPER_TRADERS, account=account).to_dicts()), None),
        )
