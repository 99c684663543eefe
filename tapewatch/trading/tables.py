"""The tables of trading. They are defined beside all others, since the database is built from the definitions."""

from tapewatch.market.tables.trading import (
    CASH_FLOWS,
    CORPORATE_ACTIONS,
    EQUITY,
    FILLS,
    HALTS,
    ORDER_OUTCOMES,
    ORDERS,
    POSITIONS,
    REFUSALS,
)

__all__ = [
    "CASH_FLOWS",
    "CORPORATE_ACTIONS",
    "EQUITY",
    "FILLS",
    "HALTS",
    "ORDERS",
    "ORDER_OUTCOMES",
    "POSITIONS",
    "REFUSALS",
]
