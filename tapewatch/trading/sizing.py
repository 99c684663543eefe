"""Bet sizes (López de Prado 2018, chapter 10): from probabilities, averaged over active bets, discretised, with limit prices.

A size is a signed share of the largest position, from -1 to 1.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from tapewatch.market.compiled import njit

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]
#: Of the largest position, for which a dynamic limit is averaged.
_PARTS = 1_000


def bet_size(probability: npt.ArrayLike, side: npt.ArrayLike, *, break_even: npt.ArrayLike = 0.5) -> Floats:
    """The size of bets that win with `probability`: 2 Φ(z) − 1, z = (p − b) / √(p (1 − p)) (section 10.3).

    With a break-even probability b of one half this is the book's size for two classes. Costs raise b: a bet of equal barriers that
    wins or loses t and costs c breaks even at 1/2 + c / 2t. A bet below it has the size 0, since the side is not turned round.

    Args:
        probability: that each bet wins, from 0 to 1; 1 gives the full size.
        side: 1 or -1.
        break_even: the probability at which a bet neither wins nor loses; from 1 on the size is 0.

    Returns: sizes; NaN where an input is NaN.

    Raises:
        ValueError: a probability lies outside 0 to 1.
    """
    chance = np.asarray(probability, dtype=np.float64)
    if ((chance < 0) | (chance > 1)).any():
        raise ValueError(f"a probability must lie between 0 and 1, not {chance[(chance < 0) | (chance > 1)][0]}")
    edge = chance - np.asarray(break_even, dtype=np.float64)
    deviation = np.sqrt(chance * (1.0 - chance))
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(edge > 0, edge / deviation, np.where(np.isnan(edge), np.nan, 0.0))
    return np.asarray(np.asarray(side, dtype=np.float64) * (2.0 * ndtr(z) - 1.0))


def average_active(starts: Times, ends: Times, sizes: Floats) -> tuple[Times, Floats]:
    """The mean size of the bets that are active, at each time at which one starts or ends (snippet 10.2).

    A bet is active from its start to before its end. Where none is, the size is 0.

    Returns: the times, ascending, and the mean sizes.
    """
    moments = np.unique(np.concatenate([starts, ends]))
    change, count = np.zeros(moments.size), np.zeros(moments.size)
    for times, sign in ((starts, 1.0), (ends, -1.0)):
        at = np.searchsorted(moments, times)
        np.add.at(change, at, sign * sizes)
        np.add.at(count, at, sign)
    active = np.cumsum(count)
    return moments, np.divide(np.cumsum(change), active, out=np.zeros(moments.size), where=active > 0)


@njit(cache=True)
def averaged_at_start(starts: Times, ends: Times, sizes: Floats) -> Floats:
    """For each bet the mean size of the bets active when it starts, itself and those that start with it included.

    Args:
        starts: ascending.
        ends: in the order of `starts`.
        sizes: likewise.
    """
    out = np.empty(sizes.size)
    low = 0
    for k in range(sizes.size):
        while ends[low] <= starts[k] and low < k:
            low += 1
        total, count = 0.0, 0
        i = low
        while i < sizes.size and starts[i] <= starts[k]:
            if ends[i] > starts[k] or i == k:
                total += sizes[i]
                count += 1
            i += 1
        out[k] = total / count
    return out


def discretised(sizes: npt.ArrayLike, step: float) -> Floats:
    """Sizes rounded to multiples of `step` and kept within ±1, so that small changes trade nothing (snippet 10.3).

    Raises:
        ValueError: the step is not above 0 and at most 1.
    """
    if not 0 < step <= 1:
        raise ValueError(f"sizes cannot be rounded to steps of {step}: choose one above 0 and at most 1")
    return np.asarray(np.clip(np.round(np.asarray(sizes, dtype=np.float64) / step) * step, -1.0, 1.0))


@dataclass(frozen=True, slots=True)
class DynamicSize:
    """A size that follows the forecast's divergence from the price, by the sigmoid x / √(w + x²) (snippet 10.4).

    Attributes:
        width: w, in squared units of price.
        largest: the largest position, in whole units.

    Raises:
        ValueError: one of them is not above zero.
    """

    width: float
    largest: int

    def __post_init__(self) -> None:
        if self.width <= 0 or self.largest <= 0:
            raise ValueError(f"width and largest position must be above zero, not {self.width} and {self.largest}")

    @classmethod
    def calibrated(cls, divergence: float, size: float, largest: int) -> "DynamicSize":
        """The sigmoid that gives `size` (0 to 1, both excluded) at a divergence of forecast and price."""
        if not 0 < size < 1 or divergence == 0:
            raise ValueError(
                f"a divergence of {divergence} and a size of {size} define no sigmoid: choose 0 < size < 1"
            )
        return cls(divergence**2 * (size**-2 - 1.0), largest)

    def size(self, divergence: npt.ArrayLike) -> Floats:
        x = np.asarray(divergence, dtype=np.float64)
        return np.asarray(x / np.sqrt(self.width + x * x))

    def position(self, forecast: float, price: float) -> int:
        """The target position in whole units, rounded towards zero."""
        return int(float(self.size(forecast - price)) * self.largest)

    def inverse_price(self, forecast: float, size: float) -> float:
        """The price at which the size would be `size`."""
        return float(forecast - size * np.sqrt(self.width / (1.0 - size * size)))

    def limit_price(self, target: int, position: int, forecast: float) -> float:
        """The price at which an order from `position` to `target` breaks even: the mean of the inverse prices on its way.

        Raises:
            ValueError: the order trades nothing, or the target is the largest position, which no finite price asks for.
        """
        if target == position or abs(target) >= self.largest:
            raise ValueError(f"an order from {position} to {target} of {self.largest} units has no limit price")
        step = 1 if target > position else -1
        on_the_way = np.arange(position + step, target + step, step) / self.largest
        return float(np.mean([self.inverse_price(forecast, size) for size in on_the_way]))


def dynamic_limits(price: Floats, forecast: Floats, size: Floats) -> Floats:
    """The limit price of each order that goes from nothing to a size: the mean of the prices at which its parts would be asked for.

    The sigmoid of each is the one that gives the size at the present price (section 10.6); the limit lies between the price and the
    forecast, the nearer to the forecast the smaller the first parts are.

    Args:
        price: midquotes.
        forecast: where the edge is used up: above the price of what is bought, below that of what is sold.
        size: signed, from -1 to 1.

    Returns: limits; NaN for a size of 0, for the largest, which no finite price asks for, and where an input is NaN.
    """
    limits = np.full(size.size, np.nan)
    for at in np.flatnonzero((size != 0) & (np.abs(size) < 1) & (size * (forecast - price) > 0)):
        sigmoid = DynamicSize.calibrated(forecast[at] - price[at], abs(float(size[at])), _PARTS)
        target = int(np.sign(size[at])) * max(1, round(abs(float(size[at])) * _PARTS))
        limits[at] = sigmoid.limit_price(target, 0, float(forecast[at]))
    return limits
