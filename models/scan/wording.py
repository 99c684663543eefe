"""What a statistic's value says, in words."""

import math
from collections.abc import Callable
from typing import Final

_TIMES: Final = "{:.1f} times"


def _times(value: float) -> str:
    return _TIMES.format(math.exp(value))


#: Statistic to the sentence that its value makes.
WORDING: Final[dict[str, Callable[[float], str]]] = {
    "trade_slots": lambda v: f"{_times(v)} the usual trades in 2 minutes, beyond its peers",
    "trades_without_quotes": lambda v: f"{_times(v)} the usual trades in 2 minutes, beyond its peers and its quotes",
    "size_without_quotes": lambda v: (
        f"{_times(v)} the usual size (by roots) in 2 minutes, beyond its peers and its quotes"
    ),
    "jump": lambda v: f"moved {v:.1f} usual minutes' moves in 10 seconds and stayed; its peers did not",
    "fall_and_recovery": lambda v: f"fell and recovered by {v:.1f} usual moves in 2½ minutes",
    "fall_and_recovery_now": lambda v: f"fell and recovered by {v:.1f} moves of the last half hour in 2 minutes",
    "moves": lambda v: f"5-second moves {_times(v)} the usual for 3 minutes, beyond its peers",
    "moves_without_trades": lambda v: (
        f"5-second moves {_times(v)} the usual for 3 minutes, beyond its peers and its trades"
    ),
    "spread": lambda v: f"spread {_times(v)} the usual for 2 minutes, beyond its peers",
    "spread_of_the_hour": lambda v: f"spread {_times(v)} the usual for a minute, now and at this time of day",
    "spread_without_moves": lambda v: f"spread {_times(v)} the usual for 2 minutes, beyond its price's moves",
    "size_quote_slots": lambda v: f"{_times(v)} the usual rate of quotes without a new price",
    "size_quotes": lambda v: f"{_times(v)} the usual number of quotes without a new price",
    "tick_slots": lambda v: f"{_times(v)} the usual rate of quotes and trades, mostly quotes",
    "sides": lambda v: f"7 minutes on one side, {v:.1f} standard deviations from even",
    "net_trades": lambda v: f"7 minutes on one side, {v:.1f} standard deviations from even, trades as usual",
    "drift_from_peers": lambda v: f"drifted from its peers for 20 minutes, {v:.1f} standard deviations",
    "rise_and_fall": lambda v: f"rose and fell back by {v:.1f} usual moves in 10 minutes",
    "rise_and_fall_now": lambda v: f"rose and fell back by {v:.1f} moves of the last half hour in 8 minutes",
    "silence": lambda v: f"silent for {v * v:.0f} usual pauses",
    "long_silence": lambda v: f"a silence of {v:.0f} s, weighted by how often something comes",
}
