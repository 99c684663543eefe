"""Small random tapes in the vendor's REST form, from a seed."""

import datetime as dt
from typing import Any

import numpy as np

from tapewatch.market.instruments import Market, Partition, session_of

DAY = dt.date(2024, 5, 1)
STOCKS = Partition(DAY, Market.STOCKS)
CRYPTO = Partition(DAY, Market.CRYPTO)
NOW = dt.datetime(2024, 6, 1, tzinfo=dt.UTC)
_STOCKS_SESSION = session_of(Market.STOCKS, DAY)
_CRYPTO_SESSION = session_of(Market.CRYPTO, DAY)
assert _STOCKS_SESSION is not None
assert _CRYPTO_SESSION is not None
OPEN = _STOCKS_SESSION.regular_start
CRYPTO_START = _CRYPTO_SESSION.day_start


def stock_trades(count: int, seed: int = 1, *, ties: bool = True) -> list[dict[str, Any]]:
    """Trades in time order; with `ties`, several share a nanosecond."""
    rng = np.random.default_rng(seed)
    times = OPEN + np.sort(rng.integers(0, max(2, count // 2) if ties else 10**12, count))
    return [
        {
            "conditions": [12, 37] if index % 3 == 0 else [],
            "correction": 0,
            "exchange": 4,
            "id": str(index),
            "participant_timestamp": int(time) - 5,
            "price": round(100 + float(rng.normal()), 2),
            "sequence_number": 10 * index + 3,
            "sip_timestamp": int(time),
            "size": 100,
            "tape": 3,
            "trf_id": 201,
            "trf_timestamp": int(time) - 1,
        }
        for index, time in enumerate(times)
    ]


def crypto_trades(count: int, seed: int = 1) -> list[dict[str, Any]]:
    """Crypto trades: no SIP time, no sequence numbers, fractional sizes."""
    rng = np.random.default_rng(seed)
    times = CRYPTO_START + np.sort(rng.integers(0, max(2, count), count))
    return [
        {
            "conditions": [1 + index % 2],
            "exchange": int(rng.integers(1, 4)),
            "id": f"t{int(rng.integers(0, 10**6))}-{index}",
            "participant_timestamp": int(time),
            "price": 60_000 + float(rng.normal()),
            "size": float(rng.random()),
        }
        for index, time in enumerate(times)
    ]


def stock_quotes(count: int, seed: int = 1) -> list[dict[str, Any]]:
    """Quotes in time order; the first has no bid (the vendor leaves missing fields out)."""
    rng = np.random.default_rng(seed)
    times = OPEN + np.sort(rng.integers(0, 10**12, count))
    rows: list[dict[str, Any]] = [
        {
            "ask_exchange": 12,
            "ask_price": 100.02,
            "ask_size": 3,
            "bid_exchange": 11,
            "bid_price": 100.0,
            "bid_size": 2,
            "conditions": [1],
            "indicators": [604],
            "participant_timestamp": int(time) - 7,
            "sequence_number": index + 1,
            "sip_timestamp": int(time),
            "tape": 3,
        }
        for index, time in enumerate(times)
    ]
    for name in ("bid_exchange", "bid_price", "bid_size"):
        rows[0].pop(name)
    return rows


def minute_bars(count: int, start_ns: int = OPEN) -> list[dict[str, Any]]:
    """Consecutive minute bars; the last has neither VWAP nor trade count."""
    rows: list[dict[str, Any]] = [
        {
            "v": 1000 + index,
            "vw": 100.1,
            "o": 100.0,
            "c": 100.2,
            "h": 100.5,
            "l": 99.5,
            "t": start_ns // 10**6 + 60_000 * index,
            "n": 7,
        }
        for index in range(count)
    ]
    for name in ("vw", "n"):
        rows[-1].pop(name)
    return rows
