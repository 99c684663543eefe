"""Orders over quotes in nautilus_trader: JSON on standard input, fills, balances and seconds (wall and CPU) as JSON on standard output.

Input: cash, fee (share of the notional), is_margin, symbol, quotes [time ns, bid, ask, size], orders [index of the quote after
which the order is sent, side, quantity].
"""

import json
import sys
import time
import warnings
from decimal import Decimal

from nautilus_trader.backtest.config import BacktestEngineConfig
from nautilus_trader.backtest.engine import BacktestEngine
from nautilus_trader.config import LoggingConfig
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
from nautilus_trader.model.instruments import Equity
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.trading.strategy import Strategy

VENUE = Venue("SIM")


class Sender(Strategy):
    """Sends market orders after given quotes and notes the balance after each fill."""

    def __init__(self, instrument: Equity, plan: dict[int, list[tuple[int, int]]]) -> None:
        super().__init__()
        self._instrument, self._plan, self._seen = instrument, plan, 0
        self.fills: list[dict[str, str | int]] = []

    def on_start(self) -> None:
        self.subscribe_quote_ticks(self._instrument.id)

    def on_quote_tick(self, _: QuoteTick) -> None:
        for side, quantity in self._plan.get(self._seen, ()):
            direction = OrderSide.BUY if side > 0 else OrderSide.SELL
            order = self.order_factory.market(self._instrument.id, direction, Quantity.from_int(quantity))
            self.submit_order(order)
        self._seen += 1

    def on_order_filled(self, event: object) -> None:
        balance = self.portfolio.account(VENUE).balance_total(USD)
        self.fills.append(
            {
                "time": event.ts_event,
                "price": str(event.last_px),
                "quantity": str(event.last_qty),
                "fee": str(event.commission.as_decimal()),
                "balance": str(balance.as_decimal()),
            }
        )


def main() -> None:
    """Run once; only the engine's run is timed."""
    warnings.simplefilter("ignore")
    given = json.load(sys.stdin)
    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
    kind = AccountType.MARGIN if given["is_margin"] else AccountType.CASH
    engine.add_venue(
        venue=VENUE,
        oms_type=OmsType.NETTING,
        account_type=kind,
        base_currency=USD,
        starting_balances=[Money(given["cash"], USD)],
        default_leverage=Decimal(100) if given["is_margin"] else Decimal(1),
    )
    fee, symbol = Decimal(str(given["fee"])), given["symbol"]
    instrument = Equity(
        InstrumentId(Symbol(symbol), VENUE), Symbol(symbol), USD, 2, Price.from_str("0.01"), Quantity.from_int(1), 0, 0,
        taker_fee=fee, maker_fee=fee, margin_init=Decimal("0.01"), margin_maint=Decimal("0.01"),
    )  # fmt: skip
    engine.add_instrument(instrument)
    engine.add_data(
        [
            QuoteTick(instrument.id, Price(bid, 2), Price(ask, 2), Quantity(size, 0), Quantity(size, 0), at, at)
            for at, bid, ask, size in given["quotes"]
        ]
    )
    plan: dict[int, list[tuple[int, int]]] = {}
    for index, side, quantity in given["orders"]:
        plan.setdefault(index, []).append((side, quantity))
    sender = Sender(instrument, plan)
    engine.add_strategy(sender)
    wall, cpu = time.perf_counter(), time.process_time()
    engine.run()
    taken = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
    json.dump({**taken, "fills": sender.fills}, sys.stdout)


if __name__ == "__main__":
    main()
