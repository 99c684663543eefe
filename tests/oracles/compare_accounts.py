"""Our account against those of nautilus_trader and ml4t-backtest: the same fills, and the same money to the cent after each.

python -m tests.oracles.compare_accounts PYTHON_OF_THEIR_ENVIRONMENT
"""

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tapewatch.market.instruments import NS_PER_MINUTE
from tapewatch.trading.costs import Fees
from tapewatch.trading.engine import EngineSettings, run
from tests.support.trading import OPEN_NS, bars, minutes, order, orders, quotes

_HERE = Path(__file__).parent
_NAUTILUS = _HERE.parents[1] / "benchmarks" / "peers" / "nautilus.py"
_ML4T = _HERE / "ml4t_reference.py"
_CASH = 1_000_000
_FEE_BPS = 3.7


def reference(python: str, script: Path, given: dict[str, Any]) -> dict[str, Any]:
    """What a script answers.

    Raises:
        CalledProcessError: it failed.
    """
    done = subprocess.run([python, str(script)], input=json.dumps(given), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{script.name} failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def cents(amount: str) -> int:
    return int(Decimal(amount) * 100)


def compare_nautilus(python: str, seed: int, *, is_margin: bool) -> int:
    """Random market orders over quotes: cash after each fill, or start capital, profit and fees of a margin account.

    In a margin account orders reduce a position by all of it or turn it around, so that both sides realise whole cents.
    """
    rng = np.random.default_rng(seed)
    bid = np.maximum(100, 2_000 + np.cumsum(rng.integers(-5, 6, 400)))
    ask = bid + rng.integers(1, 4, bid.size)
    tape = [
        (number, b / 100, a / 100, 100_000.0, 100_000.0) for number, (b, a) in enumerate(zip(bid, ask, strict=True))
    ]
    held, plan = 0, []
    for index in range(1, 390, 3):
        if is_margin and held:
            quantity = -held - int(np.sign(held)) * int(rng.integers(0, 2)) * int(rng.integers(1, 500))
        else:
            quantity = int(rng.integers(-500, 501)) if is_margin else max(int(rng.integers(-400, 600)), -held)
        if quantity:
            plan.append((index, 1 if quantity > 0 else -1, abs(quantity)))
            held += quantity
    given = {
        "cash": _CASH, "fee": _FEE_BPS / 1e4, "is_margin": is_margin, "symbol": "AAPL",
        "quotes": [(OPEN_NS + second * 10**9, b, a, size) for second, b, a, size, _ in tape], "orders": plan,
    }  # fmt: skip
    theirs = reference(python, _NAUTILUS, given)["fills"]
    sent = orders(*(order(f"o{n:03d}", index, side, quantity) for n, (index, side, quantity) in enumerate(plan)))
    outcome = run(sent, quotes(*tape), EngineSettings(cash=_CASH, leverage=100, fees=Fees(taker_bps=_FEE_BPS)))
    ours = outcome.fills.rows(named=True)
    assert len(ours) == len(theirs) == len(plan)
    positions = outcome.positions.sort("sequence_number").rows(named=True)
    cash, fees = _CASH * 100, 0
    for fill, position, their in zip(ours, positions, theirs, strict=True):
        assert (fill["price"], fill["quantity"]) == (float(their["price"]), float(their["quantity"])), their
        assert fill["fee_cents"] == cents(their["fee"]), their
        cash -= fill["side"] * fill["notional_cents"] + fill["fee_cents"]
        fees += fill["fee_cents"]
        balance = _CASH * 100 + position["realised_cents"] - fees if is_margin else cash
        assert balance == cents(their["balance"]), their
    assert outcome.equity["cash_cents"][-1] == cash
    return len(theirs)


def compare_ml4t(python: str, seed: int) -> int:
    """Random market orders over minute bars of two symbols, long and short: the equity after each bar."""
    rng = np.random.default_rng(seed)
    count, frames, rows = 300, [], []
    for symbol in ("AAPL", "MSFT"):
        path = np.maximum(100, 5_000 + np.cumsum(rng.integers(-9, 10, 4 * count))).reshape(count, 4) / 100
        listed = [(float(p[0]), float(p.max()), float(p.min()), float(p[3]), 1e7) for p in path]
        frames.append(bars(*listed, symbol=symbol))
        rows += [(OPEN_NS // 10**9 + 60 * minute, symbol, *row) for minute, row in enumerate(listed)]
    plan = [
        (index, str(rng.choice(["AAPL", "MSFT"])), int(rng.choice([-1, 1]) * rng.integers(1, 300)))
        for index in range(0, count - 2)
    ]
    given = {"cash": _CASH, "fee": 0.01, "bars": sorted(rows), "orders": plan}
    theirs = reference(python, _ML4T, given)
    sent = orders(
        *(
            order(f"o{n:03d}", 60 * (index + 1), int(np.sign(quantity)), abs(quantity), symbol=symbol)
            for n, (index, symbol, quantity) in enumerate(plan)
        )
    )
    outcome = run(sent, minutes(frames=frames), EngineSettings(cash=_CASH, leverage=100, fees=Fees(per_unit=0.01)))
    signed = outcome.fills.select(
        pl.col("symbol").cast(pl.String), pl.col("side") * pl.col("quantity"), "price", "fee_cents"
    )
    ours_filled = [list(row) for row in signed.iter_rows()]
    theirs_filled = [[*fill[:3], round(fill[3] * 100)] for fill in theirs["fills"]]
    assert ours_filled == theirs_filled, next(
        pair for pair in zip(ours_filled, theirs_filled, strict=False) if pair[0] != pair[1]
    )
    ours = dict(zip(outcome.equity["time"].dt.epoch("ns"), outcome.equity["equity_cents"], strict=True))
    for minute, equity in enumerate(theirs["equity"]):
        assert ours[OPEN_NS + (minute + 1) * NS_PER_MINUTE] == round(equity * 100), minute
    return len(theirs["equity"])


def main() -> None:
    python = sys.argv[1]
    cash = sum(compare_nautilus(python, seed, is_margin=False) for seed in (1, 2))
    margin = sum(compare_nautilus(python, seed, is_margin=True) for seed in (3, 4))
    curve = sum(compare_ml4t(python, seed) for seed in (5, 6))
    print(f"nautilus_trader: {cash} balances of a cash account and {margin} of a margin account, equal to the cent")  # noqa: T201
    print(f"ml4t-backtest: the equity after {curve} bars, equal to the cent")  # noqa: T201


if __name__ == "__main__":
    main()
