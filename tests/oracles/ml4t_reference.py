"""Orders over minute bars in ml4t-backtest: JSON on standard input, fills and the equity after each bar as JSON on standard output.

Input: cash, fee (for each share), bars [seconds, symbol, open, high, low, close, volume], orders [index of the bar's time after
which the order is sent, symbol, signed quantity]. It imports nothing of this repository.
"""

import datetime as dt
import json
import sys

import polars as pl
from ml4t.backtest import BacktestConfig, Strategy, run_backtest
from ml4t.backtest.config import CommissionType, FillOrdering

_COLUMNS = ["timestamp", "asset", "open", "high", "low", "close", "volume"]


class Sender(Strategy):
    """Sends market orders, which trade at the next open."""

    def __init__(self, plan: dict[int, list[tuple[str, int]]]) -> None:
        self._plan, self._seen = plan, 0

    def on_data(self, timestamp: dt.datetime, data: object, context: object, broker: object) -> None:
        for symbol, quantity in self._plan.get(self._seen, ()):
            broker.submit_order(symbol, quantity)
        self._seen += 1


def main() -> None:
    given = json.load(sys.stdin)
    rows = [(dt.datetime.fromtimestamp(row[0], dt.UTC).replace(tzinfo=None), *row[1:]) for row in given["bars"]]
    plan: dict[int, list[tuple[str, int]]] = {}
    for index, symbol, quantity in given["orders"]:
        plan.setdefault(index, []).append((symbol, quantity))
    config = BacktestConfig(
        initial_cash=given["cash"],
        commission_type=CommissionType.PER_SHARE,
        commission_per_share=given["fee"],
        allow_short_selling=True,
        allow_leverage=True,
        skip_cash_validation=True,
        fill_ordering=FillOrdering.FIFO,
    )
    done = run_backtest(pl.DataFrame(rows, schema=_COLUMNS, orient="row"), Sender(plan), config=config)
    fills = [
        [fill.asset, fill.quantity * (1 if fill.side.value == "buy" else -1), fill.price, fill.commission]
        for fill in done.fills
    ]
    json.dump({"fills": fills, "equity": [value for _, value in done.equity_curve]}, sys.stdout)


if __name__ == "__main__":
    main()
