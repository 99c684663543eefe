"""A busy tape that the families' tests share, and what they compute from it."""

from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest

from tapewatch.bars.time_bars import minute_bars
from tapewatch.features.families.indicators import indicators
from tapewatch.features.families.rows import microstructure_more
from tapewatch.features.microstructure import microstructure
from tapewatch.market.tables.features import INDICATORS, MICROSTRUCTURE_MORE
from tests.support.tapes import stock_session, tape_of

MINUTES = 130


@dataclass(frozen=True)
class Busy:
    """A symbol that trades every minute from the open on: rows of (seconds, price, size) and (seconds, bid, ask, sizes)."""

    trades: list[tuple[float, float, float]]
    quotes: list[tuple[float, float, float, float, float]]
    bars: pl.DataFrame
    detector: pl.DataFrame
    more: pl.DataFrame
    indicators: pl.DataFrame

    def column(self, name: str) -> np.ndarray:
        """The first `MINUTES` values, NaN for null."""
        frame = next(each for each in (self.more, self.detector, self.indicators) if name in each.columns)
        return frame[name][:MINUTES].cast(pl.Float64).to_numpy()


@pytest.fixture(scope="session")
def busy() -> Busy:
    generator = np.random.default_rng(11)
    session = stock_session()
    seconds = np.sort(generator.choice(MINUTES * 60 * 10, MINUTES * 12, replace=False)) / 10
    # Every minute trades.
    seconds = np.sort(np.concatenate([seconds, np.arange(MINUTES) * 60 + 0.05]))
    middle = 50 + np.cumsum(generator.normal(0, 0.01, seconds.size))
    bid = np.round(middle - generator.choice([0.01, 0.02, 0.03], seconds.size), 2)
    ask = np.round(bid + generator.choice([0.01, 0.02, 0.04], seconds.size), 2)
    # Some quotes change sizes only.
    held = np.maximum.accumulate(np.where(generator.random(seconds.size) < 0.6, np.arange(seconds.size), 0))
    sizes = generator.integers(1, 30, (3, seconds.size)) * 100.0
    side = generator.random(seconds.size)
    quotes = list(zip(seconds.tolist(), bid[held].tolist(), ask[held].tolist(), *sizes[:2].tolist(), strict=True))
    price = np.where(side < 0.5, bid[held], ask[held])
    trades = list(zip((seconds + 0.03).tolist(), price.tolist(), sizes[2].tolist(), strict=True))
    tape = tape_of(trades, quotes)
    bars = minute_bars(tape[0], session).with_columns(known_time=pl.col("time") + pl.duration(minutes=1))
    found = microstructure_more(*tape, session), indicators(bars, session)
    MICROSTRUCTURE_MORE.check(found[0])
    INDICATORS.check(found[1])
    return Busy(trades, quotes, bars, microstructure(*tape, session), *found)
