"""Order flow: signed volume, imbalances over several windows, persistence of sides, bulk classification."""

import math

import numpy as np
import numpy.typing as npt

from tapewatch.features.families.parts import is_complete, price_before
from tapewatch.features.sums import MinuteSums, ratio
from tapewatch.market.compiled import njit
from tapewatch.market.tables.features import IMBALANCE_MINUTES, OFI_MINUTES

#: Fewest pairs of signed trades for their correlation, and fewest price changes for their standard deviation.
ENOUGH_PAIRS, ENOUGH_CHANGES = 20, 10
_BULK_MINUTES = 15
# A variance below this share of the raw second moment is rounding.
_ROUNDING = 1e-12


def order_flow(sums: MinuteSums) -> dict[str, npt.NDArray[np.float64]]:
    """The columns `ORDER_FLOW` of each minute, without trade sizes; NaN where undefined.

    - `imbalance_*m`: (buy - sell) / (buy + sell) volume of the window; NaN without a signed trade, and until the window is full.
    - `ofi_depth_*m`: Cont, Kukanov and Stoikov (2014), eq. 5: order-flow imbalance of the window over the
      time-weighted mean size of one side of the best quote; NaN without sizes.
    - `sign_autocorrelation`: correlation of each signed trade's side with that of the one before, over 30 minutes; NaN below
      20 pairs and where all sides are equal.
    - `bulk_imbalance*`: see `bulk_imbalance`.
    """
    buy, sell = sums["buy_volume"], sums["sell_volume"]
    buys, sells = sums["buy_count"], sums["sell_count"]
    bulk = bulk_imbalance(sums)
    known_volume = np.where(np.isfinite(bulk), sums["volume"], np.nan)
    weighted, volume = sums.trailing(bulk * known_volume, known_volume, with_current=True, width=_BULK_MINUTES)
    return {
        "signed_volume": buy - sell,
        "signed_count": (buys - sells).astype(np.float64),
        "aggressor_ratio": ratio(buys, buys + sells),
        **{f"imbalance_{width}m": _imbalance(sums, width) for width in IMBALANCE_MINUTES},
        **{f"ofi_depth_{width}m": _ofi_over_depth(sums, width) for width in OFI_MINUTES},
        "sign_autocorrelation": sign_autocorrelation(sums),
        "bulk_imbalance": bulk,
        "bulk_imbalance_15m": ratio(weighted, volume, where=is_complete(sums, _BULK_MINUTES)),
    }


def _imbalance(sums: MinuteSums, width: int) -> npt.NDArray[np.float64]:
    buy, sell = sums.trailing(sums["buy_volume"], sums["sell_volume"], with_current=True, width=width)
    return ratio(buy - sell, buy + sell, where=is_complete(sums, width))


def _ofi_over_depth(sums: MinuteSums, width: int) -> npt.NDArray[np.float64]:
    columns = (sums["ofi"], sums["depth_sum_time"], sums["depth_ns"])
    pressure, depth_time, elapsed = sums.trailing(*columns, with_current=True, width=width)
    one_side = 0.5 * ratio(depth_time, elapsed)
    return ratio(pressure, one_side, where=is_complete(sums, width))


def sign_autocorrelation(sums: MinuteSums) -> npt.NDArray[np.float64]:
    """Correlation of successive signed trades' sides over the window; see `order_flow`."""
    columns = (sums["sign_pairs"], sums["sign_product"], sums["sign_sum"], sums["sign_before_sum"])
    pairs, product, later, earlier = sums.trailing(*columns, with_current=True)
    # Times pairs squared, so that whole numbers stay exact.
    covariance = pairs * product - later * earlier
    spread = (pairs**2 - later**2) * (pairs**2 - earlier**2)
    return ratio(covariance, np.sqrt(spread), where=pairs >= ENOUGH_PAIRS).clip(-1.0, 1.0)


def bulk_imbalance(sums: MinuteSums) -> npt.NDArray[np.float64]:
    """Bulk volume classification (Easley, López de Prado and O'Hara 2012): buying less selling in the minute's volume.

    2 Φ(change / deviation) - 1, with the change of the last price in the minute, and the standard deviation of such changes over 30
    minutes, the minute's own included. NaN without volume, below 10 changes, and where they are all equal.
    """
    change = sums["last_price"] - price_before(sums)
    is_known = np.isfinite(change)
    count, total, squares = sums.trailing(is_known, change, change**2, with_current=True)
    spread = squares - ratio(total**2, count)
    is_varied = (count >= ENOUGH_CHANGES) & (spread > _ROUNDING * squares)
    deviation = np.sqrt(ratio(spread, count - 1, where=is_varied))
    standardised = ratio(change, deviation, where=is_known & (sums["volume"] > 0))
    return _net_normal(standardised)


@njit(cache=True, nogil=True)
def _net_normal(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """2 Φ(value) - 1 of each value."""
    net = np.empty_like(values)
    for at in range(values.size):
        net[at] = math.erf(values[at] / math.sqrt(2.0))
    return net
