"""Tapes that leave features undefined: no quotes, one trade, constant or negative prices, halts, NaN."""

import datetime as dt

import numpy as np
import polars as pl

from tapewatch.market.instruments import Market, Session, session_of
from tests.support.tapes import stock_session, tape_of

STOCKS = stock_session()
_FUTURES = session_of(Market.FUTURES, dt.date(2024, 3, 5))
assert _FUTURES is not None
FUTURES: Session = _FUTURES
_GENERATOR = np.random.default_rng(6)
STEPS = np.round(np.cumsum(_GENERATOR.normal(0, 0.05, 1200)), 2)


def every(seconds: int, prices) -> list[tuple[float, float, float]]:
    return [(seconds * at, float(price), 100.0) for at, price in enumerate(prices)]


def around(trades, half: float = 0.01) -> list[tuple[float, float, float]]:
    return [(max(at - 1, 0), price - half, price + half) for at, price, _ in trades]


#: Trades and quotes of each hard tape, and its session.
TAPES = {
    "empty": ([], [], STOCKS),
    "without quotes": (every(10, 50 + STEPS), [], STOCKS),
    "without trades": ([], around(every(10, 50 + STEPS)), STOCKS),
    "one trade a day": ([(5000, 50.0, 100.0)], [(1, 49.99, 50.01)], STOCKS),
    "constant price": (every(10, [50.0] * 1200), around(every(10, [50.0] * 1200)), STOCKS),
    "locked quotes": (every(10, 50 + STEPS), around(every(10, 50 + STEPS), 0.0), STOCKS),
    "prices below zero": (every(10, STEPS - 5), around(every(10, STEPS - 5)), FUTURES),
    "prices through zero": (every(10, STEPS), around(every(10, STEPS)), FUTURES),
    "halt": ([*every(10, 50 + STEPS[:300]), *((9000 + at, p, s) for at, p, s in every(10, 60 + STEPS[:300]))], [], STOCKS),
    "vast prices": (every(10, 1e300 * (1.5 + np.sin(np.arange(1200)))), [], STOCKS),
    "tiny prices": (every(10, 1e-300 * (1.5 + np.sin(np.arange(1200)))), [], STOCKS),
    "sizes of zero": ([(at, price, 0.0) for at, price, _ in every(10, 50 + STEPS)], [(0, 50, 51, 0, 0)], STOCKS),
}  # fmt: skip


def hard_tape(name: str) -> tuple[pl.DataFrame, pl.DataFrame, Session]:
    """Trades, quotes and session of one of `TAPES`."""
    trades, quotes, session = TAPES[name]
    return *tape_of(trades, quotes, session=session), session
