"""The clocks, and the settings of their thresholds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class Clock(StrEnum):
    """What a bar counts until it closes."""

    TICK = "tick"
    VOLUME = "volume"
    DOLLAR = "dollar"
    TICK_IMBALANCE = "tick_imbalance"
    VOLUME_IMBALANCE = "volume_imbalance"
    DOLLAR_IMBALANCE = "dollar_imbalance"
    TICK_RUN = "tick_run"
    VOLUME_RUN = "volume_run"
    DOLLAR_RUN = "dollar_run"

    @property
    def unit(self) -> int:
        """0 for trades, 1 for volume, 2 for dollars (price times size)."""
        return ("tick", "volume", "dollar").index(self.value.split("_")[0])

    @property
    def form(self) -> int:
        """0 for sums, 1 for imbalances, 2 for runs."""
        return 1 if self.value.endswith("imbalance") else 2 if self.value.endswith("run") else 0


#: The clocks of live bars where nothing else is set.
LIVE_CLOCKS: Final = (Clock.TICK, Clock.DOLLAR)


@dataclass(frozen=True)
class Thresholds:
    """How much closes a bar.

    `trades` is the number of trades that a bar is meant to hold: the first bar closes after as many. Then the threshold
    follows the tape by exponential means over bars of span `memory`: for sums `trades` times the mean unit of a trade; for
    imbalances the mean number of trades times the mean signed unit; for runs the mean number of trades times the greater of
    the buyers' and the sellers' share. The mean number of trades stays within a factor `reach` of `trades`, and the mean
    signed unit at or above `least_imbalance` of the mean unit: else such bars shrink to single trades. An imbalance or run bar
    closes at the latest after `reach` times `trades` trades.

    `fixed` holds thresholds that do not adapt, by symbol.
    """

    trades: int = 500
    memory: int = 20
    reach: float = 5.0
    least_imbalance: float = 0.1
    fixed: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.trades < 1 or self.memory < 1 or self.reach < 1 or not 0 < self.least_imbalance <= 1:
            raise ValueError(
                f"thresholds need trades >= 1, memory >= 1, reach >= 1 and 0 < least_imbalance <= 1, have {self}"
            )
        for symbol, amount in self.fixed.items():
            if not amount > 0:
                raise ValueError(f"the fixed threshold of {symbol} is {amount}: it must be above 0")
