"""Weights of labels that overlap in time: uniqueness, return attribution, time decay, sequential bootstrap.

López de Prado 2018, chapter 4. A label's life is the bars `first` to `last`, both included, on which its outcome depends.
"""

import numpy as np
import numpy.typing as npt
import polars as pl

from tapewatch.labels.barriers.barriers import last_bars, place_events
from tapewatch.labels.barriers.events import BPS, end_times
from tapewatch.market.arrays import symbol_runs
from tapewatch.market.compiled import njit
from tapewatch.market.tables.labels import LABEL_WEIGHTS

Floats = npt.NDArray[np.float64]
Bars = npt.NDArray[np.int64]


def concurrency(first: Bars, last: Bars, bars: int) -> Bars:
    """How many labels live in each of `bars` bars (snippet 4.1). A label with `last` < `first` lives in none."""
    lives = last >= first
    change = np.zeros(bars + 1, dtype=np.int64)
    np.add.at(change, first[lives], 1)
    np.add.at(change, last[lives] + 1, -1)
    return np.cumsum(change)[:-1]


def average_uniqueness(first: Bars, last: Bars, concurrent: Bars) -> Floats:
    """Mean of 1 / concurrency over each label's life (snippet 4.2); NaN for one without a bar."""
    bars = np.where(last >= first, last - first + 1, np.nan)
    # A difference of running sums may exceed 1 by a rounding error.
    return np.asarray(np.minimum(_life_sums(first, last, 1.0 / np.maximum(concurrent, 1)) / bars, 1.0))


def attributed_returns(first: Bars, last: Bars, concurrent: Bars, returns: Floats) -> Floats:
    """Absolute value of the sum of each bar's return over its concurrency (snippet 4.10), in the unit of `returns`."""
    return np.asarray(np.abs(_life_sums(first, last, returns / np.maximum(concurrent, 1))))


def time_decay(uniqueness: Floats, oldest: float) -> Floats:
    """Factors that fall linearly with cumulated uniqueness from 1 for the newest label (snippet 4.11).

    Args:
        uniqueness: average uniqueness of each label, in order of time, above 0.
        oldest: factor that the oldest label tends to, from 0 to 1; below 0 the oldest share `-oldest` of the labels has none.

    Raises:
        ValueError: `oldest` is not above -1 and at most 1.
    """
    if not -1.0 < oldest <= 1.0:
        raise ValueError(f"the oldest label's factor is {oldest}: choose one above -1 and at most 1")
    age = np.cumsum(uniqueness)
    if not age.size:
        return np.asarray(age)
    slope = (1.0 - oldest) / age[-1] if oldest >= 0 else 1.0 / ((oldest + 1.0) * age[-1])
    return np.asarray(np.maximum(1.0 - slope * (age[-1] - age), 0.0))


def sequential_bootstrap(first: Bars, last: Bars, bars: int, draws: int, seed: int) -> Bars:
    """Numbers of `draws` labels, each drawn in proportion to its average uniqueness among those drawn (snippet 4.5).

    Takes `draws` times the sum of all lives.

    Raises:
        ValueError: a label lives in no bar, or there are none.
    """
    if not first.size or (last < first).any():
        raise ValueError("the sequential bootstrap needs labels, each with a bar at least")
    return np.asarray(drawn_in_turn(first, last, bars, np.random.default_rng(seed).random(draws)))


@njit(cache=True)
def drawn_in_turn(first: Bars, last: Bars, bars: int, uniforms: Floats) -> Bars:
    """The labels that `sequential_bootstrap` draws with these uniform numbers in [0, 1)."""
    drawn = np.empty(uniforms.size, dtype=np.int64)
    count = np.zeros(bars)
    unique = np.empty(first.size)
    for k in range(uniforms.size):
        total = 0.0
        for i in range(first.size):
            mean = 0.0
            for t in range(first[i], last[i] + 1):
                mean += 1.0 / (count[t] + 1.0)
            unique[i] = mean / (last[i] - first[i] + 1)
            total += unique[i]
        left, chosen = uniforms[k] * total, first.size - 1
        for i in range(first.size):
            left -= unique[i]
            if left < 0.0:
                chosen = i
                break
        drawn[k] = chosen
        for t in range(first[chosen], last[chosen] + 1):
            count[t] += 1.0
    return drawn


def label_weights(bars: pl.DataFrame, events: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """Uniqueness and attributed return of each label, by symbol.

    An event without an outcome yet counts as alive to the end of the tape, so that a longer tape changes no weight.

    Args:
        bars: minute bars: symbol, time, close; sorted by symbol and time (`usable_bars`).
        events: every event, symbol and event_time, labelled or not (`cusum_events`).
        labels: a BARRIER_LABELS frame of them.

    Returns:
        A LABEL_WEIGHTS frame, one row a label whose life has a bar.
    """
    known = labels.select("symbol", "event_time", "known_time")
    placed = place_events(events.join(known, on=["symbol", "event_time"], how="left"), bars)
    known_ns = placed["known_time"].dt.epoch("ns").fill_null(np.iinfo(np.int64).max).to_numpy()
    first, last = placed["first_bar"].to_numpy(), last_bars(placed, end_times(bars), known_ns)
    concurrent = concurrency(first, last, bars.height)
    lives = np.maximum(last - first + 1, 1)
    weighed = placed.select(
        "symbol",
        "event_time",
        "known_time",
        uniqueness=pl.Series(average_uniqueness(first, last, concurrent)),
        concurrency=pl.Series(np.maximum(_life_sums(first, last, concurrent.astype(np.float64)) / lives, 1.0)),
        attributed_return_bps=pl.Series(attributed_returns(first, last, concurrent, _returns_bps(bars))),
    )
    has_life = pl.Series(last >= first)
    return LABEL_WEIGHTS.conform(weighed.filter(has_life & pl.col("known_time").is_not_null()))


def sample_weights(weights: pl.DataFrame, *, oldest: float = 1.0, by_return: bool = True) -> Floats:
    """Training weights with mean 1, in the order of the rows: uniqueness or attributed return, times time decay.

    Both are scaled over the rows given, so give the rows that train and no others.

    Args:
        weights: rows of LABEL_WEIGHTS.
        oldest: see `time_decay`.
        by_return: weigh by attributed return instead of by uniqueness.

    Raises:
        ValueError: `oldest` is out of range, or every weight is 0.
    """
    order = weights["known_time"].arg_sort().to_numpy()
    decay = np.empty(weights.height)
    decay[order] = time_decay(weights["uniqueness"].to_numpy()[order], oldest)
    found = weights["attributed_return_bps" if by_return else "uniqueness"].to_numpy() * decay
    if found.size and found.sum() <= 0:
        raise ValueError("every label has the weight 0: weigh by uniqueness (by_return=False)")
    return np.asarray(found * (found.size / found.sum())) if found.size else found


def _returns_bps(bars: pl.DataFrame) -> Floats:
    """Log return of each bar over its symbol's bar before; 0 for the first, and where a price has no logarithm."""
    close, (_, offsets) = bars["close"].to_numpy(), symbol_runs(bars)
    logs = np.log(np.where(close > 0, close, np.nan))
    returns = np.append(0.0, np.diff(logs)) * BPS
    returns[offsets[:-1]] = 0.0
    return np.asarray(np.nan_to_num(returns))


def _life_sums(first: Bars, last: Bars, values: Floats) -> Floats:
    total = np.append(0.0, np.cumsum(values))
    return np.asarray(total[np.maximum(last + 1, first)] - total[first])
