"""Tapes for tests, from given rows or random."""

import datetime as dt
from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl

from tapewatch.market.instruments import NS_PER_SECOND, Market, Session, session_of
from tapewatch.market.tables.tape import QUOTES, TRADES

DAY = dt.date(2024, 3, 5)


def stock_session(date: dt.date = DAY) -> Session:
    """The New York session of a day that has one."""
    session = session_of(Market.STOCKS, date)
    assert session is not None
    return session


def tape_of(
    trades: Iterable[tuple[float, float, float] | tuple[float, float, float, str]] = (),
    quotes: Iterable[tuple[float, float, float] | tuple[float, float, float, float, float]] = (),
    *,
    session: Session | None = None,
    symbol: str = "AAA",
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """A symbol's tape from rows whose first value is seconds since the regular open.

    Args:
        trades: (seconds, price, size) or (seconds, price, size, conditions).
        quotes: (seconds, bid, ask) with sizes 100, or (seconds, bid, ask, bid size, ask size).
        session: the day; the usual one by default.
        symbol: whose tape.
    """
    open_ = (session or stock_session()).regular_start
    trade_rows = [
        {
            "symbol": symbol,
            "time": open_ + round(row[0] * NS_PER_SECOND),
            "sequence_number": number,
            "price": float(row[1]),
            "size": float(row[2]),
            "exchange": 4,
            "conditions": row[3] if len(row) > 3 else "",
        }
        for number, row in enumerate(trades, 1)
    ]
    quote_rows = [
        {
            "symbol": symbol,
            "time": open_ + round(row[0] * NS_PER_SECOND),
            "sequence_number": number,
            "bid_price": float(row[1]),
            "ask_price": float(row[2]),
            "bid_size": float(row[3]) if len(row) > 3 else 100.0,
            "ask_size": float(row[4]) if len(row) > 3 else 100.0,
        }
        for number, row in enumerate(quotes, 1)
    ]
    return (
        TRADES.conform(pl.DataFrame(trade_rows)) if trade_rows else TRADES.empty(),
        QUOTES.conform(pl.DataFrame(quote_rows)) if quote_rows else QUOTES.empty(),
    )


def random_tape(
    seed: int,
    symbols: Sequence[str] = ("AAA", "BBB"),
    *,
    trades: int = 400,
    quotes: int = 800,
    session: Session | None = None,
    minutes: int = 90,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """A difficult small market around the regular open: equal times, locked, crossed and one-sided quotes, late,
    average-price and zero-size trades, and symbols without further events."""
    session = session or stock_session()
    generator = np.random.default_rng(seed)
    parts = [_random_symbol(generator, symbol, trades, quotes, session, minutes) for symbol in sorted(symbols)]
    return TRADES.conform(pl.concat([t for t, _ in parts])), QUOTES.conform(pl.concat([q for _, q in parts]))


def _random_symbol(
    generator: np.random.Generator, symbol: str, trades: int, quotes: int, session: Session, minutes: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    start = max(session.day_start, session.regular_start - 15 * 60 * NS_PER_SECOND)

    def times(count: int) -> np.ndarray:
        # Half-second steps, so that times coincide with each other and with minute bounds.
        return start + np.sort(generator.integers(0, minutes * 120, count)) * (NS_PER_SECOND // 2)

    def prices(count: int) -> np.ndarray:
        return np.round(50 + np.cumsum(generator.normal(0, 0.02, count)), 2)

    bid = prices(quotes)
    ask = np.round(bid + generator.choice([-0.01, 0, 0.01, 0.02, 0.05], quotes, p=[0.05, 0.1, 0.5, 0.25, 0.1]), 2)
    no_bid, no_ask = generator.random((2, quotes)) < 0.03
    codes = generator.choice(
        ["", "14", "12", "2", "32", "15", "38", "2,14", "37", "14,37", "12,37", "37,2"],
        trades,
        p=[0.6, *[0.4 / 11] * 11],
    )
    middle = np.interp(np.arange(trades), np.linspace(0, trades, quotes), bid)
    return (
        pl.DataFrame(
            {
                "symbol": [symbol] * trades,
                "time": times(trades),
                "sequence_number": np.arange(1, trades + 1),
                "price": np.round(middle + generator.integers(-2, 4, trades) * 0.005, 3),
                "size": generator.integers(0, 20, trades) * 50.0,
                "exchange": np.full(trades, 4),
                "conditions": codes,
                "correction": generator.choice([0, 1, 8], trades, p=[0.96, 0.02, 0.02]),
            }
        ),
        pl.DataFrame(
            {
                "symbol": [symbol] * quotes,
                "time": times(quotes),
                "sequence_number": np.arange(1, quotes + 1),
                "bid_price": np.where(no_bid, 0.0, bid),
                "ask_price": np.where(no_ask, 0.0, ask),
                "bid_size": generator.integers(0, 9, quotes) * 100.0,
                "ask_size": generator.integers(0, 9, quotes) * 100.0,
            }
        ),
    )
