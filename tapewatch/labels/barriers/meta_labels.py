"""Meta-labels: whether a bet on a given side would have won."""

import numpy as np
import polars as pl

from tapewatch.labels.barriers.barriers import UNKNOWN, BarrierRules, place_events, targets_bps, touches
from tapewatch.labels.barriers.events import BPS, cusum_events
from tapewatch.labels.barriers.volatility import usable_bars
from tapewatch.market.instruments import NS_PER_MINUTE, Session
from tapewatch.market.tables.labels import META_LABELS

_PRICES = ("open", "high", "low", "close")


def meta_labels(
    bars: pl.DataFrame,
    *,
    events: pl.DataFrame | None = None,
    rules: BarrierRules | None = None,
    session: Session | None = None,
    through_ns: int | None = None,
) -> pl.DataFrame:
    """Whether a bet on each event's side made money by the barrier that it met first (López de Prado 2018, section 3.6).

    A primary model says the side; a second one learns from these labels whether to follow it. The profit barrier lies
    `profit_multiple` targets in the bet's direction, the stop `stop_multiple` against it. A bar that touches both counts as
    stopped. A short bet is a long one on the inverse price, so both sides are treated alike.

    Args:
        bars: minute bars: symbol, time (start), open, high, low, close.
        events: symbol, event_time, price, volatility_bps, and side, 1 or -1; by default `cusum_events`, a bet on the
            direction of the move. Events with side 0 are left out.
        rules, session, through_ns: see `triple_barrier`.

    Returns:
        A META_LABELS frame. `label` is 1 where the return in the bet's direction is above zero.

    Raises:
        ValueError: a side is none of 1, 0 and -1.
    """
    rules = rules or BarrierRules()
    kept = usable_bars(bars, session)
    if events is None:
        events = cusum_events(kept, span=rules.volatility_span)
    strange = events.filter(~pl.col("side").is_in([-1, 0, 1]))
    if strange.height:
        raise ValueError(
            f"the side of {strange['symbol'][0]} at {strange['event_time'][0]} is {strange['side'][0]}: write 1 or -1"
        )
    parts = [META_LABELS.empty()]
    for side, prices in ((1, kept), (-1, inverse_bars(kept))):
        placed = place_events(events.filter(pl.col("side") == side), kept)
        target = targets_bps(placed, rules)
        price = placed["price"].to_numpy().astype(np.float64)
        distances = np.column_stack([target * rules.profit_multiple, target * rules.stop_multiple]) / BPS
        with np.errstate(divide="ignore"):
            own = price if side > 0 else np.where(price > 0, 1.0 / price, 0.0)
        barrier, move, known = touches(prices, placed, own, distances, rules, through_ns)
        labelled = placed.select(
            "symbol",
            "event_time",
            "side",
            known_time=pl.Series(known),
            barrier=pl.Series(barrier),
            label=pl.Series(move > 0),
            return_bps=pl.Series(move * BPS),
            target_bps=pl.Series(target),
            holding_minutes=(pl.Series(known) - pl.col("event_time").dt.epoch("ns")) // NS_PER_MINUTE,
        )
        parts.append(META_LABELS.conform(labelled.filter(pl.col("barrier") != UNKNOWN)))
    return pl.concat(parts).sort(pl.col("symbol").cast(pl.String), "event_time")


def inverse_bars(bars: pl.DataFrame) -> pl.DataFrame:
    """Bars of 1 / price: the high is that of the low. A price of zero or below stays at an open, and is no barrier elsewhere."""
    swapped = {"open": "open", "high": "low", "low": "high", "close": "close"}
    return bars.with_columns(
        pl.when(pl.col(source) > 0)
        .then(1.0 / pl.col(source))
        .otherwise(pl.col(source) if name == "open" else float("inf"))
        .alias(name)
        for name, source in swapped.items()
    ).select("symbol", "time", *_PRICES)
