"""The instruments of the synthetic market with their price level, volatility, activity, spread and venues.

These are the symbols of `DEFAULT` and the stocks `SYN001` to `SYN999`, whose attributes are hashed from their names. Other
symbols are unknown. The price of an option or a future does not follow its underlying.
"""

import datetime as dt
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from tapewatch.emulator.synthetic.randomness import stream, uniform
from tapewatch.market.instruments import Market

#: The first days of the vendor's history.
HISTORY_START = {
    Market.STOCKS: dt.date(2003, 9, 10),
    Market.CRYPTO: dt.date(2013, 11, 1),
    Market.FOREX: dt.date(2009, 9, 24),
    Market.INDICES: dt.date(2023, 2, 14),
    Market.OPTIONS: dt.date(2014, 6, 2),
    Market.FUTURES: dt.date(2017, 3, 29),
}

_FAMILY = re.compile(r"SYN(?!000)\d{3}")
_NYSE_SHARE = 0.6
_SECTORS = ("technology", "consumer", "health", "energy", "finance")
_QUOTES_PER_TRADE = {
    Market.STOCKS: 3.0,
    Market.CRYPTO: 1.5,
    Market.FOREX: 5.0,
    Market.OPTIONS: 6.0,
    Market.FUTURES: 2.0,
}


@dataclass(frozen=True, slots=True)
class Instrument:
    """One listed instrument.

    `price` is the level to which the price reverts; `ticks` the number of price steps in one unit of the quote currency;
    `volatility` the standard deviation of daily log returns; `market_beta` and `sector_beta` the exposures; `trades` the
    usual number a day; `half_spread_bps` the calm half spread; `size` the median trade and `depth` the median size at the
    best price, in base units; `tape` and `exchange` the listing. With `crosses_zero`, each day's prices are lowered until
    they cross zero.
    """

    symbol: str
    name: str
    market: Market
    sector: str
    price: float
    ticks: int
    volatility: float
    market_beta: float
    sector_beta: float
    trades: int
    half_spread_bps: float
    size: float
    depth: float
    tape: int = 0
    exchange: str = ""
    kind: str = "CS"
    crosses_zero: bool = False

    @property
    def quotes_per_trade(self) -> float:
        return _QUOTES_PER_TRADE[self.market]


def _stock(
    symbol: str, name: str, sector: str, price: float, volatility: float, trades: int, **more: Any
) -> Instrument:
    usual: dict[str, Any] = {
        "market_beta": 1.0,
        "sector_beta": 0.8,
        "half_spread_bps": 0.45,
        "tape": 3,
        "exchange": "XNAS",
    }
    return Instrument(
        symbol, name, Market.STOCKS, sector, price, 100, volatility,
        trades=trades, size=110.0, depth=300.0, **(usual | more),
    )  # fmt: skip


def _pair(base: str, name: str, price: float, ticks: int, volatility: float, trades: int, **more: Any) -> Instrument:
    sector = "major" if base in {"BTC", "ETH"} else "alternative"
    usual: dict[str, Any] = {"market_beta": 1.1, "sector_beta": 0.6, "half_spread_bps": 2.5, "kind": ""}
    return Instrument(
        f"X:{base}-USD", f"{name} - United States Dollar", Market.CRYPTO, sector, price, ticks, volatility,
        trades=trades, size=900.0 / price, depth=9000.0 / price, **(usual | more),
    )  # fmt: skip


def _currency(pair: str, name: str, price: float, ticks: int, volatility: float) -> Instrument:
    return Instrument(
        f"C:{pair}", name, Market.FOREX, pair, price, ticks, volatility, 0.8, 0.4, 5_000, 0.35,
        size=1.0, depth=1.0, kind="",
    )  # fmt: skip


def _index(symbol: str, name: str, price: float, volatility: float) -> Instrument:
    return Instrument(
        f"I:{symbol}", name, Market.INDICES, "broad", price, 100, volatility, 1.0, 0.2, 1, 0.5,
        size=1.0, depth=1.0, kind="",
    )  # fmt: skip


def _option(symbol: str, name: str, price: float, trades: int) -> Instrument:
    return Instrument(
        f"O:{symbol}", name, Market.OPTIONS, symbol[:4], price, 100, 0.05, 1.2, 0.8, trades, 12.0,
        size=3.0, depth=20.0, exchange="BATO", kind="",
    )  # fmt: skip


def _future(symbol: str, name: str, price: float, ticks: int, volatility: float, trades: int) -> Instrument:
    return Instrument(
        symbol, name, Market.FUTURES, symbol[:2], price, ticks, volatility, 1.0, 0.4, trades, 0.3,
        size=2.0, depth=25.0, exchange="XCME", kind="",
    )  # fmt: skip


DEFAULT: dict[str, Instrument] = {
    instrument.symbol: instrument
    for instrument in (
        _stock("AAPL", "Apple Inc.", "technology", 190.0, 0.015, 25_000),
        _stock("GOOGL", "Alphabet Inc. Class A", "technology", 150.0, 0.016, 12_000),
        _stock("MSFT", "Microsoft Corp", "technology", 380.0, 0.014, 16_000, market_beta=0.9),
        _stock("TSLA", "Tesla, Inc.", "consumer", 240.0, 0.030, 20_000, market_beta=1.6, half_spread_bps=0.7),
        _stock(
            "VOO", "Vanguard S&P 500 ETF", "fund", 430.0, 0.010, 7_000,
            sector_beta=0.0, tape=2, exchange="ARCX", kind="ETF",
        ),
        _pair("BTC", "Bitcoin", 42_000.0, 100, 0.030, 18_000, market_beta=1.0, half_spread_bps=1.0),
        _pair("ETH", "Ethereum", 2_300.0, 100, 0.034, 15_000, half_spread_bps=1.2),
        _pair("ADA", "Cardano", 0.52, 10_000, 0.042, 12_000),
        _pair("SOL", "Solana", 95.0, 100, 0.046, 13_000, half_spread_bps=1.8),
        _pair("DOT", "Polkadot", 7.1, 1_000, 0.042, 12_000),
        _pair("DOGE", "Dogecoin", 0.085, 100_000, 0.044, 12_000),
        _currency("EUR-USD", "Euro - United States Dollar", 1.08, 100_000, 0.005),
        _currency("GBP-USD", "Pound Sterling - United States Dollar", 1.27, 100_000, 0.006),
        _currency("USD-JPY", "United States Dollar - Japanese Yen", 148.0, 1_000, 0.006),
        _index("NDX", "Nasdaq 100", 18_000.0, 0.012),
        _index("SPX", "S&P 500", 5_100.0, 0.010),
        _option("AAPL291221C00190000", "AAPL 190 call, December 2029", 48.0, 2_500),
        _option("AAPL291221P00190000", "AAPL 190 put, December 2029", 31.0, 1_800),
        _option("TSLA291221C00240000", "TSLA 240 call, December 2029", 95.0, 2_200),
        _future("ESZ9", "E-mini S&P 500, December 2029", 5_200.0, 4, 0.010, 16_000),
        _future("NQZ9", "E-mini Nasdaq 100, December 2029", 18_200.0, 4, 0.012, 12_000),
        _future("CLZ9", "Crude oil, December 2029", 66.0, 100, 0.020, 9_000),
        replace(
            _future("CLZ9-CLF0", "Crude oil, December 2029 against January 2030", 20.0, 100, 0.050, 4_000),
            half_spread_bps=3.0,
            crosses_zero=True,
        ),
    )
}  # fmt: skip


@lru_cache(maxsize=2048)
def instrument(symbol: str) -> Instrument | None:
    """The instrument of a symbol in this platform's spelling; None for an unknown symbol."""
    if symbol in DEFAULT:
        return DEFAULT[symbol]
    return _of_family(symbol) if _FAMILY.fullmatch(symbol) else None


def listed(market: Market) -> list[str]:
    """The market's symbols of `DEFAULT`, ascending. The `SYN` stocks are not listed: a day of a thousand more symbols
    would take too long to generate."""
    return sorted(symbol for symbol, one in DEFAULT.items() if one.market is market)


def _of_family(symbol: str) -> Instrument:
    draw = stream("family", symbol)
    level, activity, is_nyse = uniform(draw), uniform(draw), uniform(draw) < _NYSE_SHARE
    return _stock(
        symbol,
        f"Synthetic Company {symbol.removeprefix('SYN')}",
        _SECTORS[int(uniform(draw) * len(_SECTORS))],
        12.0 + 290.0 * level * level,
        0.010 + 0.020 * uniform(draw),
        3_000 + int(9_000 * activity * activity),
        market_beta=0.5 + uniform(draw),
        half_spread_bps=0.8 + 2.0 * uniform(draw),
        tape=1 if is_nyse else 3,
        exchange="XNYS" if is_nyse else "XNAS",
    )
