"""A recorded day of bars with orders, run by a paper broker: also in a process that a test can kill."""

from collections.abc import Callable

import numpy as np
import polars as pl

from tapewatch.market.instruments import NS_PER_MINUTE
from tapewatch.store.database.database import Database
from tapewatch.trading.costs import Borrow, Fees
from tapewatch.trading.engine import EngineSettings, Tape, run
from tapewatch.trading.paper.broker import PaperBroker
from tapewatch.trading.paper.ledger import open_account, rows, send
from tapewatch.trading.paper.protections import Protections
from tests.support.trading import OPEN_NS, bars, minutes, order, orders

ACCOUNT = "test"
SETTINGS = EngineSettings(
    cash=1e6, leverage=4, fees=Fees(per_unit=0.0035, minimum=0.35), borrow=Borrow(300), depth_share=0.2, seed=3
)
#: No limit ends the trading of a day early.
LIMITS = Protections(daily_loss=None, guard_losses=None, cooldown_s=300, feed_stale_s=None)
END = OPEN_NS + 390 * NS_PER_MINUTE
#: Tables of an account that a test compares, without the moment when the account was opened.
STATE = (
    "paper_orders",
    "paper_positions",
    "paper_fills",
    "paper_equity",
    "paper_refusals",
    "paper_cash_flows",
    "paper_locks",
    "paper_signals",
    "paper_traders",
    "paper_accounts",
)


def recorded_day(seed: int, count: int = 390) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Minute bars of three stocks, and orders of every kind, half of which rest."""
    rng = np.random.default_rng(seed)
    frames = []
    for symbol in ("AAPL", "MSFT", "TSLA"):
        path = np.maximum(1, 10_000 + np.cumsum(rng.integers(-20, 21, 4 * count))).reshape(count, 4) / 100
        volume = rng.integers(0, 20, count) * 100.0
        rows_of = zip(path[:, 0], path.max(1), path.min(1), path[:, 3], volume, strict=True)
        frames.append(bars(*rows_of, symbol=symbol))
    sent = []
    for number in range(count):
        symbol, side = str(rng.choice(["AAPL", "MSFT", "TSLA"])), int(rng.choice([-1, 1]))
        more: dict[str, object] = {"symbol": symbol, "time_in_force": str(rng.choice(["day", "gtc", "ioc"]))}
        kind, near = rng.integers(4), float(rng.integers(9_900, 10_100)) / 100
        if kind in (1, 3):
            more["limit_price"] = near
        if kind in (2, 3):
            more |= {"stop_price": near, "kind": "stop"}
        sent.append(
            order(f"o{number:03d}", float(rng.integers(1, count * 60)), side, float(rng.integers(1, 6) * 50), **more)
        )
    return minutes(frames=frames), orders(*sent).sort("time", "order_id")


def state_of(database: Database) -> dict[str, pl.DataFrame]:
    """Everything that an account holds in the database."""
    from tapewatch.market.tables.paper import PAPER  # noqa: PLC0415
    from tapewatch.store.database.engine import transaction  # noqa: PLC0415

    tables = {table.name: table for table in PAPER}
    with transaction(database.engine, reads_only=True) as connection:
        found = {name: rows(connection, table, account=ACCOUNT).sort(table.key) for name, table in tables.items()}
    clocks = [pl.selectors.by_name("created_time", "beat_time", "step", require_all=False)]
    return {name: frame.drop(*clocks) for name, frame in found.items() if name in STATE}


def work(url: str, seed: int, say: Callable[[str], None]) -> None:
    """Continue the account to the end of its day; says when it begins, every ten minutes, and when it is done."""
    bars_of_day, sent = recorded_day(seed)
    tape = Tape.of_bars(bars_of_day)
    with Database(url) as database:
        if open_account(database, ACCOUNT, SETTINGS, is_bars=True):
            send(database, ACCOUNT, sent)
        broker = PaperBroker(database, ACCOUNT, SETTINGS, LIMITS)
        # Loads the compiled engine, so that a kill after this word hits the broker at work.
        run(sent.head(1), bars_of_day.head(3), SETTINGS)
        say("ready")
        while broker.cursor < END:
            broker.process(tape, min(END, max(broker.cursor, OPEN_NS) + 10 * NS_PER_MINUTE))
            say("minutes")
        say("done")
