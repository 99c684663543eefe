"""One engine for backtest and paper money: fills, accounting and refusals in a compiled kernel. It decides on no order itself."""

from tapewatch.trading.engine.outcome import Outcome
from tapewatch.trading.engine.run import Moment, Strategy, orders_of_targets, run, run_strategy
from tapewatch.trading.engine.settings import EngineSettings
from tapewatch.trading.engine.simulation import Simulation
from tapewatch.trading.engine.tape import Tape

__all__ = [
    "EngineSettings",
    "Moment",
    "Outcome",
    "Simulation",
    "Strategy",
    "Tape",
    "orders_of_targets",
    "run",
    "run_strategy",
]
