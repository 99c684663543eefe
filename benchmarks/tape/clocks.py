"""Returns of bars by clock on the recorded days: how normal, how correlated in time, how even their number.

Run: python -m benchmarks.tape.clocks. Needs the recorded days. Each clock is set to about as many bars a day as the session has
five-minute bars (78), except runs and imbalances, whose number follows the tape. Also the speed of dollar bars
against a plain loop in Python.
"""

import datetime as dt
import time
from typing import NamedTuple

import numpy as np
import polars as pl
from arch.unitroot import VarianceRatio
from scipy.stats import jarque_bera, kurtosis
from statsmodels.stats.diagnostic import acorr_ljungbox

from benchmarks.measuring import MARKET_DATA
from tapewatch.bars.information.build import InformationBars
from tapewatch.bars.information.clocks import Clock, Thresholds
from tapewatch.bars.time_bars import time_bars
from tapewatch.market.instruments import NS_PER_MINUTE, Market, Partition, Session
from tests.support.recorded import TICK_DAYS, recorded_trades

_BARS_A_DAY = 78
_LOOP_TRADES = 200_000
#: Lags of the Ljung-Box statistic, and bars of the variance ratio.
_LAGS, _WIDTH = 10, 4


def regular_trades(date: dt.date, symbol: str) -> tuple[Session, pl.DataFrame]:
    """The session, and a symbol's trades within its regular hours."""
    session = Partition(date, Market.STOCKS).session
    time_ns = pl.col("time").dt.epoch("ns")
    inside = time_ns.is_between(session.regular_start, session.regular_end, "left")
    return session, recorded_trades(MARKET_DATA, date).filter((pl.col("symbol") == symbol) & inside).sort(
        "time", "sequence_number"
    )


def returns_of(closes: list[pl.Series]) -> np.ndarray:
    """Standardised log returns within each day, in one array."""
    days = [np.diff(np.log(close.to_numpy())) for close in closes]
    return np.concatenate([day / day.std() for day in days if day.size > 1])


class Facts(NamedTuple):
    """Tests of the standardised returns of a clock's bars: each statistic in units of its spread under chance, or with its p-value."""

    bars_a_day: float
    excess_kurtosis: float
    jarque_bera: float
    jarque_bera_p: float
    correlation: float
    ljung_box: float
    ljung_box_p: float
    variance_ratio: float
    variance_ratio_z: float
    spread_of_number: float


def facts(closes: list[pl.Series]) -> Facts:
    """Normality by Jarque and Bera, serial correlation by Ljung and Box over 10 lags, and the ratio of the variance of 4 bars to 4 of one
    (Lo and MacKinlay, robust to changing variance)."""
    returns, counts = returns_of(closes), np.array([close.len() for close in closes])
    normality, ljung_box = jarque_bera(returns), acorr_ljungbox(returns, lags=[_LAGS]).iloc[0]
    ratio = VarianceRatio(np.cumsum(returns), lags=_WIDTH, trend="c", robust=True)
    return Facts(
        float(counts.mean()),
        float(kurtosis(returns)),
        float(normality.statistic),
        float(normality.pvalue),
        float(np.corrcoef(returns[:-1], returns[1:])[0, 1]),
        float(ljung_box["lb_stat"]),
        float(ljung_box["lb_pvalue"]),
        float(ratio.vr),
        float(ratio.stat),
        float(counts.std() / counts.mean()),
    )


def table(symbol: str) -> None:
    """The clocks of one symbol."""
    days = [regular_trades(date, symbol) for date in TICK_DAYS]
    trades = int(np.mean([frame.height for _, frame in days]) / _BARS_A_DAY)
    rows = {"time, 5 min": [time_bars(frame, session, 5 * NS_PER_MINUTE)["close"] for session, frame in days]}
    for clock in Clock:
        builder = InformationBars(clock, Thresholds(trades=trades))
        rows[str(clock)] = [builder.add(frame, session)["close"] for session, frame in days]
    print(f"\n{symbol}, {trades:,} trades a bar")
    print(
        "| clock | bars a day | excess kurtosis | Jarque-Bera (p) | correlation | Ljung-Box (p) | variance ratio (z) | spread |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    for name, closes in rows.items():
        found = facts(closes)
        tests = [
            f"{found.jarque_bera:.1f} ({found.jarque_bera_p:.3f})",
            f"{found.correlation:.2f}",
            f"{found.ljung_box:.1f} ({found.ljung_box_p:.3f})",
            f"{found.variance_ratio:.2f} ({found.variance_ratio_z:.1f})",
            f"{found.spread_of_number:.2f}",
        ]
        print(f"| {name} | {found.bars_a_day:.0f} | {found.excess_kurtosis:.1f} | {' | '.join(tests)} |")


def speed() -> None:
    """Dollar bars of a day, compiled and by a loop in Python."""
    session, trades = regular_trades(TICK_DAYS[1], "SPY")
    InformationBars(Clock.DOLLAR).add(trades.head(1000), session)
    start = time.perf_counter()
    bars = InformationBars(Clock.DOLLAR).add(trades, session)
    compiled = trades.height / (time.perf_counter() - start)
    sample = trades.head(_LOOP_TRADES)
    start = time.perf_counter()
    loop(sample["price"].to_list(), sample["size"].to_list(), float(bars["threshold"].median() or 1.0))  # type: ignore[arg-type]
    plain = sample.height / (time.perf_counter() - start)
    print(f"\nDollar bars: {compiled / 1e6:.1f} M trades/s, {compiled / plain:.0f} times a plain loop in Python")


def loop(prices: list[float], sizes: list[float], threshold: float) -> list[tuple[float, float, float, float, float]]:
    """Dollar bars as one writes them first."""
    bars, total, volume = [], 0.0, 0.0
    first = high = low = prices[0]
    for price, size in zip(prices, sizes, strict=True):
        if volume == 0.0:
            first = high = low = price
        high, low = max(high, price), min(low, price)
        total, volume = total + price * size, volume + size
        if total >= threshold:
            bars.append((first, high, low, price, volume))
            total = volume = 0.0
    return bars


def main() -> None:
    """Print the tables and the speed."""
    if not MARKET_DATA.is_dir():
        raise SystemExit(f"no recorded days at {MARKET_DATA}: set TAPEWATCH_MARKET_DATA")
    for symbol in ("SPY", "IBM"):
        table(symbol)
    speed()


if __name__ == "__main__":
    main()
