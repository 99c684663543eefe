"""Our bars of other clocks against mlfinpy's, with fixed thresholds: python -m tests.oracles.compare_bars PYTHON_WITH_MLFINPY

Its imbalance bars follow other expectations than ours, so of them only the time is compared.
"""

import sys
import time

import numpy as np
import polars as pl

from tapewatch.bars.information.build import InformationBars
from tapewatch.bars.information.clocks import Clock, Thresholds
from tests.oracles.compare_labels import answered
from tests.support.tapes import stock_session, tape_of

_TRADES = 400_000
_THRESHOLDS = {"tick": 250.0, "volume": 50_000.0, "dollar": 5e6}


def built(clock: Clock, trades: pl.DataFrame, fixed: float | None) -> tuple[pl.DataFrame, float]:
    """The bars, and the seconds of the fastest of five rounds; the first compiles."""
    seconds = []
    for _ in range(6):
        thresholds = Thresholds(fixed={"AAA": fixed} if fixed else {})
        begun = time.perf_counter()
        bars = InformationBars(clock, thresholds).add(trades, stock_session())
        seconds.append(time.perf_counter() - begun)
    return bars, min(seconds[1:])


def main() -> None:
    rng = np.random.default_rng(1)
    prices = np.round(100 + np.cumsum(rng.integers(-1, 2, _TRADES)) / 100, 2)
    sizes = rng.integers(1, 400, _TRADES)
    trades, _ = tape_of([(0.05 * k, price, size) for k, (price, size) in enumerate(zip(prices, sizes, strict=True))])
    given = {
        "times": trades["time"].dt.epoch("ns").to_list(),
        "prices": trades["price"].to_list(),
        "sizes": trades["size"].to_list(),
        "thresholds": _THRESHOLDS,
    }
    theirs = answered(sys.argv[1], "bars_reference.py", given)
    said = []
    for clock, threshold in _THRESHOLDS.items():
        bars, seconds = built(Clock(clock), trades, threshold)
        ours = bars.select("open", "high", "low", "close", "volume", pl.col("transactions").cast(pl.Float64))
        np.testing.assert_allclose(ours.to_numpy(), np.array(theirs[clock]["bars"]), rtol=1e-12)
        said.append(f"{bars.height} {clock} bars ({theirs[clock]['seconds'] / seconds:,.0f} times as fast)")
    _, seconds = built(Clock.DOLLAR_IMBALANCE, trades, None)
    ratio = theirs["dollar_imbalance"]["seconds"] / seconds
    print(f"mlfinpy: {', '.join(said)} are equal; dollar imbalance bars {ratio:,.0f} times as fast")  # noqa: T201


if __name__ == "__main__":
    main()
