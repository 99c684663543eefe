"""The engine over a year of minute bars of 100 symbols, and against a plain Python loop with the same fills.

The plain side is `engine_plain.py`: the same rules over half of the symbols for the year's first 45 days, with money in floats, and
in decimals as exact as the engine's. All sides begin with the same frames, and their fills are compared before the clock starts.
Times are the best of several rounds in turn.

    python -m benchmarks.trading.engine_bars [symbols] [days]
"""

import sys
from collections.abc import Callable
from decimal import Decimal

import numpy as np
import polars as pl

from benchmarks.measuring import best_times
from benchmarks.trading.engine_plain import FloatAccount, PlainAccount, plain_bars, plain_orders
from tapewatch.market.instruments import NS_PER_MINUTE, Market, trading_days
from tapewatch.market.tables.tape import SYMBOL, TIME
from tapewatch.trading.costs import Fees
from tapewatch.trading.engine import EngineSettings, run
from tapewatch.trading.tables import ORDERS

SYMBOLS, DAYS = 100, 252
#: Until the clocks change, since the plain side keeps no sessions.
PLAIN_SYMBOLS, PLAIN_DAYS = 50, 45
ORDERS_A_DAY = 10
ROUNDS = 5
SETTINGS = EngineSettings(cash=1e9, leverage=1e3, fees=Fees(taker_bps=1, maker_bps=1), depth_share=0.2)

Fill = tuple[str, int, float, float]
"""Order, time, quantity, price."""


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


def plain(bars: pl.DataFrame, orders: pl.DataFrame, account: FloatAccount | PlainAccount) -> list[Fill]:
    """The plain loop's fills, from the same frames."""
    in_time = bars.sort("known_time", maintain_order=True).with_columns(pl.col("symbol").cast(pl.String))
    rows = in_time.select(
        pl.col("known_time", "time").dt.epoch("ns"), "symbol", "open", "high", "low", "close", "volume"
    ).rows()
    active = orders["time"].dt.epoch("ns").to_list()
    plain_bars(plain_orders(orders.iter_rows(named=True), active), rows, account, 0.2)  # type: ignore[arg-type]
    return account.fills


def engine(bars: pl.DataFrame, orders: pl.DataFrame) -> list[Fill]:
    """The engine's fills."""
    fills = run(orders, bars, SETTINGS).fills
    return fills.select("order_id", pl.col("time").dt.epoch("ns"), "quantity", "price").rows()


def main() -> None:
    """Print seconds of wall and CPU time, and the ratios."""
    symbols = int(sys.argv[1]) if len(sys.argv) > 1 else SYMBOLS
    days = int(sys.argv[2]) if len(sys.argv) > 2 else DAYS
    bars, orders = made(PLAIN_SYMBOLS, PLAIN_DAYS)
    sides: dict[str, Callable[[], object]] = {
        "tapewatch": lambda: run(orders, bars, SETTINGS),
        "plain loop, floats": lambda: plain(bars, orders, FloatAccount(1e9, 1)),
        "plain loop, decimals": lambda: plain(bars, orders, PlainAccount(Decimal(10**9), Decimal(1))),
    }
    fills = engine(bars, orders)
    for account in (FloatAccount(1e9, 1), PlainAccount(Decimal(10**9), Decimal(1))):
        if plain(bars, orders, account) != fills:
            raise AssertionError("the two sides fill differently")
    taken = best_times(sides, ROUNDS)
    whole, many = made(symbols, days)
    year = best_times({"year": lambda: run(many, whole, SETTINGS)}, 2)["year"]
    print(
        f"{'':22} {'bars':>10} {'orders':>8} {'wall s':>7} {'CPU s':>7} {'bars/s':>11} {'ratio, wall':>12} {'CPU':>6}"
    )
    ours = taken["tapewatch"]
    for side, (wall, cpu) in taken.items():
        ratios = f"{wall / ours[0]:12.1f} {cpu / ours[1]:6.1f}"
        print(
            f"{side:22} {bars.height:10,} {orders.height:8,} {wall:7.3f} {cpu:7.3f} {bars.height / wall:11,.0f} {ratios}"
        )
    wall, cpu = year
    print(
        f"{f'{symbols} symbols, {days} days':22} {whole.height:10,} {many.height:8,} {wall:7.2f} {cpu:7.2f} {whole.height / wall:11,.0f}"
    )


if __name__ == "__main__":
    main()
