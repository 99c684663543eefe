"""Days of the synthetic market as features and truth, for tests of labels and models."""

import datetime as dt
from dataclasses import dataclass
from functools import lru_cache

import polars as pl

from tapewatch.emulator.synthetic.market import Synthetic
from tapewatch.features.microstructure import microstructure
from tapewatch.labels.truth import truth_minutes
from tapewatch.market.instruments import Market, Session, session_of, trading_days

SYMBOLS = {
    Market.STOCKS: ("AAPL", "GOOGL", "MSFT", "TSLA", "VOO"),
    Market.CRYPTO: ("X:ADA-USD", "X:BTC-USD", "X:DOGE-USD", "X:DOT-USD", "X:ETH-USD", "X:SOL-USD"),
}
FIRST, LAST = dt.date(2024, 3, 4), dt.date(2024, 3, 8)
SEED = 7


@dataclass(frozen=True)
class SyntheticDay:
    """A market's day: tape, session, features of every minute, labelled minutes."""

    trades: pl.DataFrame
    quotes: pl.DataFrame
    session: Session
    features: pl.DataFrame
    truth: pl.DataFrame

    @property
    def regular(self) -> pl.DataFrame:
        """Features of the regular minutes."""
        return self.features.filter("is_regular")


def days(market: Market) -> list[dt.date]:
    """The trading days."""
    return trading_days(market, FIRST, LAST)


@lru_cache(maxsize=16)
def synthetic_day(market: Market, date: dt.date) -> SyntheticDay:
    """One day of the listed symbols."""
    session = session_of(market, date)
    assert session is not None
    tapes = [Synthetic(SEED).day(symbol, date) for symbol in SYMBOLS[market]]
    trades, quotes = (pl.concat([getattr(tape, name) for tape in tapes]) for name in ("trades", "quotes"))
    truth = truth_minutes(pl.concat([tape.truth for tape in tapes]), session)
    return SyntheticDay(trades, quotes, session, microstructure(trades, quotes, session), truth)
