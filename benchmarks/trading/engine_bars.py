"""The engine over a year of minute bars of 100 symbols, and against a plain Python loop with the same fills.

The plain side is `engine_plain.py`: the same rules with decimals, over half of the symbols for the year's first 45 days. Both
sides' fills are compared before the clock starts.

    python -m benchmarks.trading.engine_bars [symbols] [days]
"""

import sys
import time
from decimal import Decimal

import numpy as np
import polars as pl

from benchmarks.measuring import median_seconds
from benchmarks.trading.engine_plain import PlainAccount, plain_bars, plain_orders
from tapewatch.market.instruments import NS_PER_MINUTE, Market, trading_days
from tapewatch.market.tables.tape import SYMBOL, TIME
from tapewatch.trading.costs import Fees
from tapewatch.trading.engine import EngineSettings, run
from tapewatch.trading.tables import ORDERS

SYMBOLS, DAYS = 100, 252
#: Until the clocks change, since the plain side keeps no sessions.
PLAIN_SYMBOLS, PLAIN_DAYS = 50, 45
ORDERS_A_DAY = 10
SETTINGS = EngineSettings(cash=1e9, leverage=1e3, fees=Fees(taker_bps=1, maker_bps=1), depth_share=0.2)


def made(symbols: int, days: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Regular minutes of random walks, and market, limit and stop orders within them."""
    import datetime as dt  # noqa: PLC0415

    rng = np.random.default_rng(11)
    dates = trading_days(Market.STOCKS, dt.date(2024, 1, 2), dt.date(2025, 2, 1))[:days]
    # Half days too have 390 rows; those after their close trade nothing.
    opens = [int(dt.datetime.combine(date, dt.time(14, 30), dt.UTC).timestamp()) * 10**9 for date in dates]
    start = (np.array(opens)[:, None] + np.arange(390) * NS_PER_MINUTE).ravel()
    close = 100 + np.cumsum(rng.integers(-2, 3, (symbols, start.size)), axis=1) / 100
    close = np.maximum(close, 1).round(2)
    open_ = np.roll(close, 1, axis=1)
    open_[:, 0] = 100
    high = (np.maximum(open_, close) + rng.integers(0, 3, close.shape) / 100).round(2)
    low = (np.minimum(open_, close) - rng.integers(0, 3, close.shape) / 100).round(2)
    names = np.repeat([f"S{number:03d}" for number in range(symbols)], start.size)
    bars = pl.DataFrame({"symbol": names, "time": np.tile(start, symbols)}).with_columns(
        pl.col("symbol").cast(SYMBOL), pl.col("time").cast(TIME)
    )
    values = {"open": open_, "high": high, "low": low, "close": close}
    bars = bars.with_columns(pl.Series(name, array.ravel()) for name, array in values.items())
    bars = bars.with_columns(
        known_time=pl.col("time") + pl.duration(minutes=1), volume=pl.Series(rng.integers(1, 50, names.size) * 100.0)
    )
    count = symbols * days * ORDERS_A_DAY
    chosen, minute = rng.integers(0, symbols, count), np.sort(rng.integers(1, start.size, count))
    kind = rng.choice(np.array(["market", "limit", "stop"]), count)
    near = (close[chosen, minute] + rng.integers(-10, 11, count) / 100).round(2)
    orders = pl.DataFrame(
        {
            "order_id": [f"o{number}" for number in range(count)],
            "symbol": [f"S{number:03d}" for number in chosen],
            "time": start[minute],
            "side": rng.choice([-1, 1], count),
            "quantity": rng.integers(1, 10, count) * 100.0,
            "kind": kind,
            "limit_price": np.where(kind == "limit", near, np.nan),
            "stop_price": np.where(kind == "stop", near, np.nan),
            "time_in_force": "gtc",
            "tag": "",
        }
    )
    return bars, ORDERS.conform(orders.with_columns(pl.col("limit_price", "stop_price").fill_nan(None)))


def plain(bars: list[tuple[object, ...]], orders: pl.DataFrame) -> PlainAccount:
    """The plain loop over rows in order of time."""
    account = PlainAccount(Decimal(10**9), Decimal(1))
    active = orders["time"].dt.epoch("ns").to_list()
    plain_bars(plain_orders(orders.iter_rows(named=True), active), bars, account, 0.2)  # type: ignore[arg-type]
    return account


def main() -> None:
    """Print seconds, bars a second and the ratio."""
    symbols = int(sys.argv[1]) if len(sys.argv) > 1 else SYMBOLS
    days = int(sys.argv[2]) if len(sys.argv) > 2 else DAYS
    few, few_orders = made(PLAIN_SYMBOLS, PLAIN_DAYS)
    in_time = few.sort("known_time", maintain_order=True)
    rows = in_time.select(
        pl.col("known_time", "time").dt.epoch("ns"),
        pl.col("symbol").cast(pl.String),
        "open",
        "high",
        "low",
        "close",
        "volume",
    ).rows()
    ours = (
        run(few_orders, few, SETTINGS)
        .fills.select("order_id", pl.col("time").dt.epoch("ns"), "quantity", "price")
        .rows()
    )
    theirs = plain(rows, few_orders).fills
    if ours != theirs:
        raise AssertionError("the two sides fill differently")
    whole, orders = made(symbols, days)
    began = time.perf_counter()
    outcome = run(orders, whole, SETTINGS)
    year_s = time.perf_counter() - began
    seconds = median_seconds(
        {"tapewatch": lambda: run(few_orders, few, SETTINGS), "plain loop": lambda: plain(rows, few_orders)}, 3
    )
    print(f"{'':24} {'bars':>10} {'orders':>8} {'fills':>8} {'s':>7} {'bars/s':>12}")
    print(
        f"{'a year, tapewatch':24} {whole.height:10,} {orders.height:8,} {outcome.fills.height:8,} {year_s:7.2f} {whole.height / year_s:12,.0f}"
    )
    for side, taken in seconds.items():
        print(
            f"{side:24} {few.height:10,} {few_orders.height:8,} {len(theirs):8,} {taken:7.3f} {few.height / taken:12,.0f}"
        )
    print(f"ratio on the same bars: {seconds['plain loop'] / seconds['tapewatch']:.0f}")


if __name__ == "__main__":
    main()
