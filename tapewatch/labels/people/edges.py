"""Tightens a rough interval to the moments at which volume, price or spread changed. Looks at what comes after, as people do."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from tapewatch.market.compiled import njit
from tapewatch.market.instruments import NS_PER_SECOND

Floats = npt.NDArray[np.float64]
#: The tape on each side of the interval that is searched: as long as the interval, within these bounds.
_LEAST_MARGIN_NS, _MOST_MARGIN_NS = 60 * NS_PER_SECOND, 600 * NS_PER_SECOND
#: Bins of the search; a longer stretch gets longer bins.
_BINS = 1_200
#: Of a segment of the search, in bins.
_SHORTEST = 3
#: A robust standard deviation is this many median absolute deviations.
_OF_MAD = 1.4826
_INTERVAL = 0.95
_WANDERING = 3.0


@dataclass(frozen=True, slots=True)
class Edge:
    """A moment (ns UTC) at which the tape changed, and half of its 95 % interval in seconds."""

    time_ns: int
    uncertainty_s: float


@dataclass(frozen=True, slots=True)
class Refined:
    """Both edges; None where the tape shows no change near the rough edge."""

    start: Edge | None
    end: Edge | None


def refine(trades: pl.DataFrame, quotes: pl.DataFrame | None, start_ns: int, end_ns: int) -> Refined:
    """The edges of a rough interval of one symbol, tightened to change points.

    The tape of the interval and a margin on both sides (its own length, from one to ten minutes) is summed in at most 1,200
    bins of whole seconds: root of the volume, log price, absolute return, relative spread. Each is centred and scaled by its median and deviation on the calmer side of the interval. PELT (Killick, Fearnhead and
    Eckley 2012) finds the change points of their means, with a penalty of 2 (d + 1) ln n for d signals and n bins. The start is the
    change point nearest to the rough start, the end that nearest to the rough end, within half of the interval and the whole
    margin; the start comes first. An edge's uncertainty is from the likelihood of every other place between its neighbours.

    Args:
        trades: symbol's rows sorted by time: time, price, size.
        quotes: likewise time, bid_price, ask_price; None without quotes.
        start_ns, end_ns: the rough interval, half open.

    Raises:
        ValueError: the interval is empty.
    """
    if end_ns <= start_ns:
        raise ValueError("an interval ends after it starts")
    margin = min(max(end_ns - start_ns, _LEAST_MARGIN_NS), _MOST_MARGIN_NS)
    first, last = start_ns - margin, end_ns + margin
    width = max(-(-(last - first) // (_BINS * NS_PER_SECOND)), 1) * NS_PER_SECOND
    bins = int(-(-(last - first) // width))
    at = first + np.arange(bins) * width
    sides = (at + width <= start_ns, at >= end_ns)
    signals = list(_scaled(_signals(trades, quotes, first, width, bins), sides))
    if not signals:
        return Refined(None, None)
    values = np.column_stack(signals)
    changes = change_points(values, 2.0 * (values.shape[1] + 1) * np.log(bins))
    reach = margin + (end_ns - start_ns) // 2
    near_start, near_end = (_nearest(changes, (rough - first) / width, reach / width) for rough in (start_ns, end_ns))
    if near_start is not None and near_end is not None and near_start >= near_end:
        # One change near both belongs to the edge to which it is nearer.
        is_the_start = abs(first + near_start * width - start_ns) <= abs(first + near_end * width - end_ns)
        near_start, near_end = (near_start, None) if is_the_start else (None, near_end)
    edges = [None if k is None else _edge(values, changes, k, first, width) for k in (near_start, near_end)]
    return Refined(edges[0], edges[1])


def change_points(values: Floats, penalty: float) -> list[int]:
    """First bins of the segments after the first, by PELT with the sum of squared deviations from each segment's means.

    Args:
        values: bins x signals, scaled to a deviation of 1 within segments.
        penalty: cost of a change point.
    """
    totals = np.vstack([np.zeros(values.shape[1]), np.cumsum(values, axis=0)])
    squares = np.append(0.0, np.cumsum((values**2).sum(axis=1)))
    before = pelt(totals, squares, penalty, _SHORTEST)
    found, at = [], values.shape[0]
    while at > 0:
        at = int(before[at])
        found.append(at)
    return [k for k in reversed(found) if k > 0]


@njit(cache=True)
def pelt(totals: Floats, squares: Floats, penalty: float, shortest: int) -> npt.NDArray[np.int64]:
    """For each number of leading bins the start of their last segment, by dynamic programming with pruning.

    Args:
        totals: bins + 1 x signals, sums of the leading bins.
        squares: bins + 1, sums of squares of all signals.
        penalty: cost of a segment.
        shortest: bins of a segment.
    """
    n = squares.size - 1
    best = np.full(n + 1, np.inf)
    best[0] = -penalty
    before = np.zeros(n + 1, dtype=np.int64)
    candidates = np.zeros(n + 1, dtype=np.int64)
    costs = np.zeros(n + 1)
    count = 1
    for t in range(shortest, n + 1):
        for c in range(count):
            s = candidates[c]
            cost = squares[t] - squares[s]
            for j in range(totals.shape[1]):
                moved = totals[t, j] - totals[s, j]
                cost -= moved * moved / (t - s)
            costs[c] = best[s] + cost
            if costs[c] + penalty < best[t]:
                best[t], before[t] = costs[c] + penalty, s
        kept = 0
        for c in range(count):
            if costs[c] <= best[t]:
                candidates[kept] = candidates[c]
                kept += 1
        # The next number of bins may begin its last segment here.
        candidates[kept] = t - shortest + 1
        count = kept + (1 if t - shortest + 1 >= shortest else 0)
    return before


def _signals(
    trades: pl.DataFrame, quotes: pl.DataFrame | None, first: int, width: int, bins: int
) -> Iterator[tuple[Floats, bool]]:
    """Each signal by bin, of what the tape holds, and whether it wanders as a price does."""
    own = (
        _binned(trades, first, width, bins)
        .group_by("bin")
        .agg(pl.col("size").sum(), price=pl.col("price").filter(pl.col("price") > 0).median())
    )
    if own.height:
        volume, price = np.zeros(bins), np.full(bins, np.nan)
        volume[own["bin"]] = own["size"]
        price[own["bin"]] = own["price"].fill_null(np.nan)
        yield np.sqrt(np.maximum(volume, 0.0)), False
        log_price = _carried(np.log(price))
        yield log_price, True
        yield np.abs(np.append(0.0, np.diff(log_price))), False
    if quotes is not None and quotes.height:
        valid = _binned(quotes.filter((pl.col("bid_price") > 0) & (pl.col("ask_price") > 0)), first, width, bins)
        middle = (pl.col("bid_price") + pl.col("ask_price")) / 2
        spreads = valid.group_by("bin").agg(spread=((pl.col("ask_price") - pl.col("bid_price")) / middle).mean())
        spread = np.full(bins, np.nan)
        spread[spreads["bin"]] = spreads["spread"]
        yield _carried(spread), False


def _binned(rows: pl.DataFrame, first: int, width: int, bins: int) -> pl.DataFrame:
    number = (pl.col("time").dt.epoch("ns") - first) // width
    return rows.with_columns(bin=number).filter(pl.col("bin").is_between(0, bins - 1))


def _carried(values: Floats) -> Floats:
    """The last value where there is none; the first before it."""
    filled = pl.Series(values).fill_nan(None).fill_null(strategy="forward").fill_null(strategy="backward")
    return filled.fill_null(0.0).to_numpy()


def _scaled(signals: Iterator[tuple[Floats, bool]], sides: Sequence[npt.NDArray[np.bool_]]) -> Iterator[Floats]:
    """Signals in deviations of the calmer side of the interval, large ones damped; none that never changes."""
    for signal, wanders in signals:
        scale, centre = min(_spread(signal[side], signal.size if wanders else 0) for side in sides)
        if scale <= 0:
            scale = float(np.abs(signal - centre).max())
        if scale > 0:
            yield np.clip((signal - centre) / scale, -10.0, 10.0)


def _spread(signal: Floats, steps: int) -> tuple[float, float]:
    """Deviation and median of a stretch without a change.

    The deviation is at least that of the means of ten bins times the root of ten, since neighbouring bins are alike; and three
    times the way of a random walk of `steps` bins, so that an ordinary drift of the price is no change.
    """
    centre = float(np.median(signal))
    scale = max(_OF_MAD * float(np.median(np.abs(signal - centre))), float(signal.std()) / 2)
    tens = signal[: signal.size // 10 * 10].reshape(-1, 10).mean(axis=1)
    if tens.size >= 4:
        scale = max(scale, _OF_MAD * float(np.median(np.abs(tens - np.median(tens)))) * np.sqrt(10))
    step = float(np.sqrt(np.mean(np.diff(signal) ** 2))) if signal.size > 1 else 0.0
    return float(max(scale, _WANDERING * step * np.sqrt(steps))), centre


def _nearest(changes: list[int], place: float, reach: float) -> int | None:
    near = [k for k in changes if abs(k - place) <= reach]
    return min(near, key=lambda k: abs(k - place), default=None)


def _edge(values: Floats, changes: list[int], k: int, first: int, width: int) -> Edge:
    """The change point at bin `k`, and how far from it the change may lie as well, given its neighbours."""
    at = changes.index(k)
    low = changes[at - 1] if at else 0
    high = changes[at + 1] if at + 1 < len(changes) else values.shape[0]
    part = values[low:high]
    sizes = np.arange(1, part.shape[0])[:, None]
    left = np.cumsum(part, axis=0)[:-1]
    right = part.sum(axis=0) - left
    gain = (left**2 / sizes + right**2 / (part.shape[0] - sizes)).sum(axis=1)
    residual = max((part**2).sum() - gain.max(), 1e-9) / part.size
    likelihood = np.exp((gain - gain.max()) / (2 * max(residual, 1e-9)))
    share = np.cumsum(likelihood) / likelihood.sum()
    tail = (1 - _INTERVAL) / 2
    span = np.searchsorted(share, 1 - tail) - np.searchsorted(share, tail) + 1
    return Edge(first + k * width, float(span) * width / NS_PER_SECOND / 2)
