"""The spellings of tickers: the vendor's by channel, and those that people write."""

import re
from typing import Final

from tapewatch.market.instruments import PAIRED, TICKER_PREFIX, Market, market_of

# Longest first, so that USDT is not read as the currency "SDT" behind a base that ends in U.
_QUOTE_CURRENCIES = ("USDT", "USDC", "USD", "EUR", "GBP", "JPY", "BTC", "ETH", "CHF", "AUD", "CAD", "NZD")


def from_vendor(ticker: str, market: Market) -> str:
    """This platform's symbol for a ticker of any of the vendor's channels.

    Symbols are spelt as in flat files. REST joins a pair (`X:BTCUSD`), the WebSocket drops the prefix (`BTC-USD`, `EUR/USD`).

    Raises:
        ValueError: the ticker is empty, or a joined pair ends in no known quote currency.
    """
    ticker = ticker.strip()
    if not ticker:
        raise ValueError(f"an empty ticker is no {market} symbol")
    # Stocks may have mixed case: BACpL is a preferred share.
    if market is not Market.STOCKS or ticker.islower():
        ticker = ticker.upper()
    prefix = TICKER_PREFIX.get(market, "")
    bare = ticker.removeprefix(prefix)
    if market not in PAIRED:
        return prefix + bare
    if "-" in bare or "/" in bare:
        return prefix + bare.replace("/", "-")
    if market is Market.FOREX and re.fullmatch("[A-Z]{6}", bare):
        return f"{prefix}{bare[:3]}-{bare[3:]}"
    for quote in _QUOTE_CURRENCIES:
        if bare.endswith(quote) and len(bare) > len(quote):
            return f"{prefix}{bare.removesuffix(quote)}-{quote}"
    raise ValueError(f"{ticker!r} ends in no known quote currency: write it as a pair, {prefix}BASE-QUOTE")


_SPELLINGS: Final = {
    Market.STOCKS: (re.compile(r"[A-Z][A-Za-z0-9]*(?:[.\-/][A-Za-z0-9]+)*"), "AAPL, BRK.B"),
    Market.CRYPTO: (re.compile(r"X:[A-Z0-9]+-[A-Z0-9]+"), "X:BTC-USD, BTC-USD, X:BTCUSD"),
    Market.FOREX: (re.compile(r"C:[A-Z]{3}-[A-Z]{3}"), "C:EUR-USD, EUR/USD, C:EURUSD"),
    Market.INDICES: (re.compile(r"I:[A-Z0-9][A-Z0-9.:_]*"), "I:SPX, SPX"),
    Market.OPTIONS: (re.compile(r"O:[A-Z][A-Z0-9.]{0,5}\d{6}[CP]\d{8}"), "O:SPY251219C00650000"),
    Market.FUTURES: (re.compile(r"[A-Z0-9]{1,4}[FGHJKMNQUVXZ]\d{1,2}(?:[-:][A-Z0-9]+)*"), "ESZ5, GCM26"),
}
_LIKE_A_FUTURE: Final = re.compile(r"[A-Z0-9]{1,3}[FGHJKMNQUVXZ]\d{1,2}")


def is_like_a_future(symbol: str) -> bool:
    """Whether a bare symbol has the form of a futures contract, product, month and year: ESZ5."""
    return _LIKE_A_FUTURE.fullmatch(symbol) is not None


class SymbolError(ValueError):
    """A ticker is not a ticker of its market; the message shows the spelling."""


def normalise(ticker: str, market: Market) -> str:
    """This platform's symbol for a ticker that a person wrote, in any of the vendor's spellings.

    Raises:
        SymbolError: the ticker is empty, belongs to another market, or has no form of this one.
    """
    written = ticker.strip()
    other = next((m for m, prefix in TICKER_PREFIX.items() if written.upper().startswith(prefix)), None)
    if other not in (None, market):
        raise SymbolError(f"{written} is a ticker of {other}, not of {market}: use --market {other}")
    pattern, examples = _SPELLINGS[market]
    try:
        symbol = from_vendor(written, market)
    except ValueError as error:
        raise SymbolError(f"{error} (as in {examples})") from error
    if not pattern.fullmatch(symbol):
        raise SymbolError(f"{written!r} is no ticker of {market}: write it as {examples}")
    if market is Market.STOCKS and is_like_a_future(symbol):
        raise SymbolError(f"{written} is a futures contract, not a stock: use --market futures")
    return symbol


def spellings(ticker: str) -> list[str]:
    """This platform's symbols for a ticker whose market is not known, one for each market that has such tickers.

    Raises:
        SymbolError: it is a ticker of no market.
    """
    found, refusals = [], []
    for market in Market:
        try:
            found.append(normalise(ticker, market))
        except SymbolError as error:
            refusals.append(error)
    if not found:
        raise SymbolError(
            f"{ticker!r} is a ticker of no market: write it as AAPL, X:BTC-USD, C:EUR-USD, I:SPX or ESZ5"
        ) from refusals[0]
    return found


def to_rest(symbol: str) -> str:
    """The REST spelling of a symbol in bars and reference data, `X:BTCUSD`; trades and quotes use that of flat files."""
    return symbol.replace("-", "") if market_of(symbol) in PAIRED else symbol


def to_websocket(symbol: str) -> str:
    """The vendor's WebSocket spelling of a symbol: `X:BTC-USD` becomes `BTC-USD`, `C:EUR-USD` becomes `EUR/USD`."""
    market = market_of(symbol)
    if market is Market.CRYPTO:
        return symbol.removeprefix("X:")
    if market is Market.FOREX:
        return symbol.removeprefix("C:").replace("-", "/")
    return symbol
