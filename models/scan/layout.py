"""What the scan holds for each symbol, and the names and kinds of its statistics."""

from typing import Final, NamedTuple

import numpy as np

from tapewatch.market.arrays import Array

BINS_A_MINUTE: Final = 12
#: Bins kept of each series: a power of two above the longest look-back of 612 bins.
RING: Final = 1024
MASK: Final = RING - 1

#: A bin's inputs, by column.
TRADE_SLOTS, SIZE_SLOTS, SIZE_QUOTES, ROOT_SIZE, TICK_SLOTS, SIDE, SIDES, SPREAD, PRICE, AGE = range(10)
INPUTS: Final = 10
#: Series with a usual level: the first five inputs, the price's absolute change, and the spread.
MOVES: Final = 5
SPREADS: Final = 6
LEVELS: Final = 7

#: Ratios of a symbol that its peers' are taken off.
TRADE_RATIO, SIZE_RATIO, MOVE_RATIO, SPREAD_RATIO = range(4)
RATIOS: Final = 4

#: Rings of a symbol: the running sums of `LEVELS` series and of sides, the price, and the running sum of squared changes.
SUM_SIDE, SUM_SIDES, LOG_PRICE, SQUARES, SQUARE_COUNT, CAPPED_MOVES, CAPPED_SPREADS = range(LEVELS, LEVELS + 7)
RINGS: Final = LEVELS + 7
#: Rings of a residual: itself, running sums of its squared changes at two scales and their count, and its scaled drift.
RESIDUAL, JUMP_SQUARES, DRIFT_SQUARES, RESIDUAL_COUNT, DRIFT = range(5)
RESIDUAL_RINGS: Final = 5

#: Most peers whose prices explain a symbol's.
PEERS: Final = 6
#: Residuals: from all peers, with each peer left out, and the price alone, for when no other is known.
ALONE: Final = PEERS + 1
VARIANTS: Final = PEERS + 2

#: Statistic to the kind of anomaly that it is evidence for, in the order of the output.
STATISTICS: Final[dict[str, str]] = {
    "trade_slots": "volume_spike",
    "trades_without_quotes": "volume_spike",
    "size_without_quotes": "volume_spike",
    "jump": "price_jump",
    "fall_and_recovery": "flash_crash",
    "fall_and_recovery_now": "flash_crash",
    "moves": "volatility_burst",
    "moves_without_trades": "volatility_burst",
    "spread": "spread_blowout",
    "spread_of_the_hour": "spread_blowout",
    "spread_without_moves": "spread_blowout",
    "size_quote_slots": "quote_stuffing",
    "size_quotes": "quote_stuffing",
    "tick_slots": "quote_stuffing",
    "sides": "one_sided_flow",
    "net_trades": "one_sided_flow",
    "drift_from_peers": "correlation_break",
    "rise_and_fall": "pump_and_dump",
    "rise_and_fall_now": "pump_and_dump",
    "silence": "feed_outage",
    "long_silence": "feed_outage",
}
KINDS: Final = tuple(dict.fromkeys(STATISTICS.values()))


class Usual(NamedTuple):
    """What is usual for each symbol; minutes count from the regular open.

    `level` (symbols x LEVELS x minutes): sums of a minute; NaN where the symbol has no such series, -1 where it is unknown.
    `move` (symbols x minutes): root mean square of the price's one-minute change, bps.
    `peer` (symbols x PEERS): positions of the peers, -1 where there are fewer.
    `weight` (symbols x VARIANTS x PEERS): weights of the peers' prices in each residual.
    `variants` (symbols): residuals from peers that the symbol has, `ALONE` not counted.
    `residual_move` (symbols x VARIANTS): root mean square of a residual's two-minute change, over that of `move`.
    """

    level: Array
    move: Array
    peer: Array
    weight: Array
    variants: Array
    residual_move: Array


class Rings(NamedTuple):
    """The trailing series of each symbol (symbols x RINGS x RING), of its residuals, and its current ratios."""

    series: Array
    residuals: Array
    ratios: Array


def fresh_rings(symbols: int) -> Rings:
    """The state before a day's first bin; also that of a symbol without a tick so far, at any bin."""
    series, residuals = np.zeros((symbols, RINGS, RING)), np.zeros((symbols, VARIANTS, RESIDUAL_RINGS, RING))
    series[:, LOG_PRICE] = residuals[:, :, RESIDUAL] = np.nan
    return Rings(series, residuals, np.full((symbols, RATIOS), np.nan))
