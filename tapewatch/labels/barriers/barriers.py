"""The triple barrier on minute bars: which barrier the price met first after an event."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

from tapewatch.labels.barriers.events import BPS, cusum_events, end_times
from tapewatch.labels.barriers.volatility import usable_bars
from tapewatch.market.arrays import Array, of_one_type, symbol_runs
from tapewatch.market.compiled import njit
from tapewatch.market.instruments import NS_PER_MINUTE, Session
from tapewatch.market.tables.tape import BARRIER_LABELS, SYMBOL

#: The label of an event whose outcome is not known.
UNKNOWN = 2


@dataclass(frozen=True, slots=True)
class BarrierRules:
    """Distances of the barriers from the event's close, in log price.

    The target is the volatility of a minute at the event, times the root of `vertical_minutes`: how far a random walk would
    go. The horizontal barriers lie `profit_multiple` targets above and `stop_multiple` targets below.
    """

    vertical_minutes: int = 30
    profit_multiple: float = 1.0
    stop_multiple: float = 1.0
    volatility_span: float = 60.0
    floor_bps: float = 5.0

    def __post_init__(self) -> None:
        if min(self.vertical_minutes, self.profit_multiple, self.stop_multiple, self.volatility_span) <= 0:
            raise ValueError(f"barriers must lie at positive distances: {self}")


def triple_barrier(
    bars: pl.DataFrame,
    *,
    events: pl.DataFrame | None = None,
    rules: BarrierRules | None = None,
    session: Session | None = None,
    through_ns: int | None = None,
) -> pl.DataFrame:
    """Label each event with the barrier that it met first (López de Prado 2018, section 3.4).

    The bars strictly after the event count, up to the vertical barrier. A bar that opens beyond a barrier touches it at the
    open; else its high and low decide. A bar that touches both counts as the LOWER one: its order is unknown, and a label must
    not assume that a stop was missed. If neither is met in time, the label is 0 and the return is that of the last close.

    A price of zero or below lies beyond every lower barrier. If a bar opens there, the return has no logarithm and the event
    is left out, as is one whose own price is not above zero.

    Args:
        bars: minute bars: symbol, time (start), open, high, low, close.
        events: symbol, event_time (end of a bar), price, volatility_bps; by default those of `cusum_events`.
        rules: `BarrierRules()` by default.
        session: keep to its regular hours; None uses every bar.
        through_ns: the tape is complete up to here; by default each symbol's last bar's end.

    Returns:
        A BARRIER_LABELS frame. `known_time` is the end of the bar that touched, or the vertical barrier. Events without an
        outcome when the tape ends are left out, so a longer tape only adds rows.
    """
    rules = rules or BarrierRules()
    kept = usable_bars(bars, session)
    if events is None:
        events = cusum_events(kept, span=rules.volatility_span)
    placed = place_events(events, kept)
    target = targets_bps(placed, rules)
    distances = np.column_stack([target * rules.profit_multiple, target * rules.stop_multiple]) / BPS
    label, move, known = touches(kept, placed, placed["price"].to_numpy(), distances, rules, through_ns)
    labelled = placed.select(
        "symbol",
        "event_time",
        label=pl.Series(label),
        known_time=pl.Series(known),
        return_bps=pl.Series(move * BPS),
        target_bps=pl.Series(target),
        holding_minutes=(pl.Series(known) - pl.col("event_time").dt.epoch("ns")) // NS_PER_MINUTE,
    )
    return BARRIER_LABELS.conform(labelled.filter(pl.col("label") != UNKNOWN))


def targets_bps(events: pl.DataFrame, rules: BarrierRules) -> npt.NDArray[np.float64]:
    """How far a random walk of each event's `volatility_bps` goes until the vertical barrier, at least `floor_bps`."""
    volatility = events["volatility_bps"].to_numpy().astype(np.float64)
    return np.asarray(np.maximum(volatility * np.sqrt(rules.vertical_minutes), rules.floor_bps))


def touches(
    bars: pl.DataFrame,
    placed: pl.DataFrame,
    price: npt.NDArray[np.float64],
    distances: npt.NDArray[np.float64],
    rules: BarrierRules,
    through_ns: int | None,
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """`first_touches` of frames: `usable_bars` with any prices, and events placed on them by `place_events`."""
    return first_touches(
        bars.select("open", "high", "low", "close").to_numpy(),
        end_times(bars),
        placed.select("first_bar", "end_bar").to_numpy(),
        placed["event_time"].dt.epoch("ns").to_numpy(),
        price,
        distances,
        rules.vertical_minutes * NS_PER_MINUTE,
        -1 if through_ns is None else through_ns,
    )


def place_events(events: pl.DataFrame, bars: pl.DataFrame) -> pl.DataFrame:
    """Each event with `first_bar`, its first bar afterwards, and `end_bar`, one past its symbol's last bar."""
    symbols, offsets = symbol_runs(bars)
    bounds = dict(zip(symbols, pairwise(offsets), strict=True))
    ends = end_times(bars)
    ordered = events.with_columns(pl.col("symbol").cast(SYMBOL)).sort(pl.col("symbol").cast(pl.String), "event_time")
    known = ordered.filter(pl.col("symbol").cast(pl.String).is_in(symbols))
    first_bar, end_bar = np.zeros((2, known.height), dtype=np.int64)
    event_ns = known["event_time"].dt.epoch("ns").to_numpy()
    names, edges = symbol_runs(known)
    for symbol, (start, stop) in zip(names, pairwise(edges), strict=True):
        begin, end = bounds[symbol]
        first_bar[start:stop] = begin + np.searchsorted(ends[begin:end], event_ns[start:stop], side="right")
        end_bar[start:stop] = end
    return known.with_columns(first_bar=pl.Series(first_bar), end_bar=pl.Series(end_bar))


def last_bars(placed: pl.DataFrame, ends: npt.NDArray[np.int64], times: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """For each placed event its symbol's last bar that ends at `times` (ns) or before; at least the one before `first_bar`."""
    first, end = placed["first_bar"].to_numpy(), placed["end_bar"].to_numpy()
    last = first - 1
    # Events are sorted by symbol, as the bars are.
    edges = [0, *(np.flatnonzero(np.diff(end)) + 1).tolist(), end.size] if end.size else [0]
    for start, stop in pairwise(edges):
        begin, mine = int(first[start:stop].min()), slice(start, stop)
        last[mine] = begin + np.searchsorted(ends[begin : end[start]], times[mine], side="right") - 1
    return last


def first_touches(
    ohlc: npt.NDArray[np.float64],
    end_ns: npt.NDArray[np.int64],
    windows: npt.NDArray[np.int64],
    event_ns: npt.NDArray[np.int64],
    price: npt.NDArray[np.float64],
    distances: npt.NDArray[np.float64],
    vertical_ns: int,
    through_ns: int,
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Label (2 where unknown), log return at the touch and known time, for each event; see `triple_barrier`.

    Args:
        ohlc: bars x 4, of all symbols.
        end_ns: the bars' ends.
        windows: events x 2; event k reads bars `windows[k, 0]` to before `windows[k, 1]`.
        event_ns: time of each event.
        price: its price; an event whose price is not above zero has no label.
        distances: events x 2, log distance of the upper and the lower barrier.
        vertical_ns: distance of the vertical barrier.
        through_ns: the tape's end; a negative value means the end of the symbol's last bar.
    """
    ohlc, end_ns, windows = map(of_one_type, (ohlc, end_ns, windows))
    event_ns, price, distances = map(of_one_type, (event_ns, price, distances))
    return _first_touches(ohlc, end_ns, windows, event_ns, price, distances, vertical_ns, through_ns)


@njit(cache=True)
def _first_touches(
    ohlc: Array,
    end_ns: Array,
    windows: Array,
    event_ns: Array,
    price: Array,
    distances: Array,
    vertical_ns: int,
    through_ns: int,
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    labels = np.full(event_ns.size, UNKNOWN, dtype=np.int8)
    moves = np.zeros(event_ns.size)
    known = event_ns.copy()
    for k in range(event_ns.size):
        if price[k] <= 0.0:
            continue
        deadline = event_ns[k] + vertical_ns
        is_defined = True
        up, down = distances[k]
        upper, lower = price[k] * np.exp(up), price[k] * np.exp(-down)
        for i in range(windows[k, 0], windows[k, 1]):
            if end_ns[i] > deadline:
                break
            opening, high, low, close = ohlc[i]
            if opening <= 0.0:
                is_defined = False
                break
            if opening >= upper:
                labels[k], moves[k] = 1, np.log(opening / price[k])
            elif opening <= lower:
                labels[k], moves[k] = -1, np.log(opening / price[k])
            elif low <= lower:
                labels[k], moves[k] = -1, -down
            elif high >= upper:
                labels[k], moves[k] = 1, up
            else:
                moves[k] = np.log(close / price[k])
                continue
            known[k] = end_ns[i]
            break
        if labels[k] == UNKNOWN and is_defined:
            tape_end = through_ns if through_ns >= 0 else end_ns[windows[k, 1] - 1]
            if tape_end >= deadline:
                labels[k], known[k] = 0, deadline
    return labels, moves, known
