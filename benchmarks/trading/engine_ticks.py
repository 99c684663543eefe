"""The engine over quotes against nautilus_trader, with the same orders, fills and cash.

100,000 quotes of one stock and a market order after every hundredth. Only the runs are timed: nautilus_trader's data are in its
engine, ours in frames, so that making the tape from them counts on our side. It runs in an environment of its own. Times are the
best of several rounds in turn; the last row is a longer tape on our side alone.

    python -m benchmarks.trading.engine_ticks [quotes]
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.isolated import environment
from benchmarks.measuring import best_times
from tapewatch.market.tables.tape import SYMBOL, TIME
from tapewatch.trading.costs import Fees
from tapewatch.trading.engine import EngineSettings, Outcome, run
from tapewatch.trading.tables import ORDERS

QUOTES, MANY = 100_000, 1_000_000
SPACING = 100
ROUNDS = 3
_CASH = 1_000_000
_OPEN_NS = 1_717_421_400_000_000_000
_STEP_NS = 20_000_000
_PEER = Path(__file__).parents[1] / "peers" / "nautilus.py"
SETTINGS = EngineSettings(cash=_CASH, leverage=100, fees=Fees(taker_bps=1))


def made(count: int) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, object]]:
    """Quotes, orders, and the same for the peer."""
    rng = np.random.default_rng(3)
    bid = 20_000 + np.cumsum(rng.integers(-1, 2, count))
    ask = bid + rng.integers(1, 4, count)
    at = _OPEN_NS + np.arange(count) * _STEP_NS
    index = np.arange(1, count - 1, SPACING)
    side = np.where(np.arange(index.size) % 2 == 0, 1, -1)
    quantity = np.full(index.size, 100)
    quotes = pl.DataFrame(
        {
            "symbol": ["AAPL"] * count,
            "time": at,
            "bid_price": bid / 100,
            "ask_price": ask / 100,
            "bid_size": 1e5,
            "ask_size": 1e5,
        }
    ).with_columns(pl.col("symbol").cast(SYMBOL), pl.col("time").cast(TIME))
    orders = ORDERS.conform(
        pl.DataFrame(
            {
                "order_id": [f"o{number}" for number in range(index.size)], "symbol": ["AAPL"] * index.size,
                "time": at[index], "side": side, "quantity": quantity.astype(float), "kind": "market",
                "time_in_force": "ioc", "tag": "",
            }
        )
    )  # fmt: skip
    rows = list(zip(at.tolist(), (bid / 100).tolist(), (ask / 100).tolist(), [100_000] * count, strict=True))
    plan = list(zip(index.tolist(), side.tolist(), quantity.tolist(), strict=True))
    return (
        quotes,
        orders,
        {"cash": _CASH, "fee": 1e-4, "is_margin": True, "symbol": "AAPL", "quotes": rows, "orders": plan},
    )


def peer(python: str, given: str) -> dict[str, Any]:
    """The peer's seconds and fills."""
    done = subprocess.run([python, str(_PEER)], input=given, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def check(outcome: Outcome, theirs: list[dict[str, str]]) -> None:
    """Raise if the two sides filled differently or paid other fees."""
    ours = list(zip(outcome.fills["price"], outcome.fills["fee_cents"], strict=True))
    if ours != [(float(fill["price"]), round(float(fill["fee"]) * 100)) for fill in theirs]:
        raise AssertionError("the two sides fill differently")


def main() -> None:
    """Print seconds of wall and CPU time, quotes a second and the ratios."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else QUOTES
    quotes, orders, given = made(count)
    python, text = environment(), json.dumps(given)
    outcome = run(orders, quotes, SETTINGS)
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(best_times({"": lambda: run(orders, quotes, SETTINGS)}, 1)[""])
        found = peer(python, text)
        theirs.append((found["seconds"], found["cpu_seconds"]))
        check(outcome, found["fills"])
    many, more, _ = made(MANY)
    alone = best_times({"": lambda: run(more, many, SETTINGS)}, ROUNDS)[""]
    best = [(min(wall for wall, _ in times), min(cpu for _, cpu in times)) for times in (ours, theirs)]
    print(
        f"{'':16} {'quotes':>10} {'orders':>8} {'wall s':>8} {'CPU s':>8} {'quotes/s':>12} {'ratio, wall':>12} {'CPU':>7}"
    )
    for side, (wall, cpu) in zip(("tapewatch", "nautilus_trader"), best, strict=True):
        ratios = f"{wall / best[0][0]:12.0f} {cpu / best[0][1]:7.0f}"
        print(f"{side:16} {count:10,} {orders.height:8,} {wall:8.3f} {cpu:8.3f} {count / wall:12,.0f} {ratios}")
    wall, cpu = alone
    print(f"{'tapewatch':16} {MANY:10,} {more.height:8,} {wall:8.3f} {cpu:8.3f} {MANY / wall:12,.0f}")


if __name__ == "__main__":
    main()
