"""What became of bets on their own path: the triple barrier around the price at which they were filled."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl

from tapewatch.labels.barriers.barriers import UNKNOWN, BarrierRules, first_touches
from tapewatch.labels.barriers.events import BPS, end_times
from tapewatch.labels.barriers.meta_labels import inverse_bars, meta_labels
from tapewatch.labels.barriers.volatility import usable_bars
from tapewatch.market.arrays import Array, flat, symbol_runs
from tapewatch.market.instruments import NS_PER_MINUTE, Session
from tapewatch.market.tables.tape import TIME

#: A path's end (ns UTC) that is not known.
NEVER = np.iinfo(np.int64).max
#: Lies below every real target.
_FLOOR_BPS = 1e-9
_PRICES = ("open", "high", "low", "close")
#: Columns of what `path_labels` returns.
PATH_LABELS = pl.Schema(
    {
        "bet": pl.String(),
        "known_time": TIME,
        "barrier": pl.Int8(),
        "label": pl.Int8(),
        "return_bps": pl.Float64(),
        "holding_minutes": pl.Int64(),
    }
)


def path_labels(
    bets: pl.DataFrame, bars: pl.DataFrame, session: Session, *, through_ns: int | None = None
) -> pl.DataFrame:
    """Label bets by the barrier that their price met first after the fill (López de Prado 2018, section 3.4).

    The path begins with the minute after the last fill; profit and stop lie one `target_bps` away from the mean fill price; the
    vertical barrier is `horizon_minutes` after the path's begin. A bar that touches both barriers counts as stopped.

    Args:
        bets: bet (unique), symbol, side, entry_price, fill_time, target_bps and horizon_minutes.
        bars: minute bars of the session: symbol, time (start), open, high, low, close.
        session: keep to its regular hours.
        through_ns: the tape is complete up to here; by default each symbol's last bar's end.

    Returns:
        PATH_LABELS: label is 1 where the return before costs is above zero. Bets whose outcome is not known yet are left out.
    """
    if bets.is_empty():
        return pl.DataFrame(schema=PATH_LABELS)
    kept = usable_bars(bars, session)
    minute = pl.lit(NS_PER_MINUTE)
    begins = ((pl.col("fill_time").dt.epoch("ns") + minute - 1) // minute * minute).cast(TIME)
    horizon = pl.col("horizon_minutes")
    key = ("symbol", "event_time", "side")
    events = bets.select(
        "bet",
        pl.col("symbol").cast(pl.String),
        "side",
        "horizon_minutes",
        event_time=begins,
        price="entry_price",
        # The rule multiplies by the root of the horizon.
        volatility_bps=pl.col("target_bps") / horizon.sqrt(),
    ).with_columns(number=pl.int_range(pl.len()).over(*key, "horizon_minutes"))
    parts = [pl.DataFrame(schema=PATH_LABELS)]
    # Equal keys of two bets would be mixed up: each number has a pass of its own.
    for (minutes, _), group in events.partition_by("horizon_minutes", "number", as_dict=True).items():
        rules = BarrierRules(vertical_minutes=int(minutes), floor_bps=_FLOOR_BPS)
        closed = meta_labels(kept, events=group, rules=rules, session=session, through_ns=through_ns)
        found = closed.with_columns(pl.col("symbol").cast(pl.String)).join(group.select("bet", *key), on=key)
        parts.append(found.select(pl.col(name).cast(dtype) for name, dtype in PATH_LABELS.items()))
    return pl.concat(parts).sort("known_time", "bet")


@dataclass(frozen=True, slots=True)
class _Bars:
    """Regular bars of a symbol: ends, known times, and open, high, low and close by the side of a bet."""

    ends: Array
    known: Array
    prices: dict[int, Array]


class Paths:
    """The bars of a session, along which bets are followed one by one, as `path_labels` follows many.

    Args:
        bars: minute bars of the session, with known_time.
        session: keep to its regular hours.
    """

    def __init__(self, bars: pl.DataFrame, session: Session) -> None:
        kept = usable_bars(bars, session)
        known = kept.join(bars.select("symbol", "time", "known_time"), on=["symbol", "time"], maintain_order="left")
        symbols, offsets = symbol_runs(kept)
        ends, known_ns = end_times(kept), flat(known["known_time"])
        prices = {1: kept.select(_PRICES).to_numpy(), -1: inverse_bars(kept).select(_PRICES).to_numpy()}
        self._bars = {
            symbol: _Bars(
                ends[first:end],
                known_ns[first:end],
                {side: np.ascontiguousarray(of_side[first:end]) for side, of_side in prices.items()},
            )
            for symbol, (first, end) in zip(symbols, pairwise(offsets), strict=True)
        }

    def end_ns(
        self,
        symbol: str,
        side: int,
        price: float,
        fill_ns: int,
        target_bps: float,
        horizon_minutes: int,
        *,
        through_ns: int,
        known_ns: int = NEVER,
    ) -> int:
        """When a bet's path ends (ns UTC), NEVER if that is not known.

        Args:
            symbol, side, price, fill_ns, target_bps, horizon_minutes: of the bet, see `path_labels`.
            through_ns: the tape is complete up to here.
            known_ns: bars that were known only after it are left out.
        """
        bars = self._bars.get(symbol)
        if bars is None:
            return NEVER
        seen = bars.known <= known_ns
        ends, begin = bars.ends[seen], -(-fill_ns // NS_PER_MINUTE) * NS_PER_MINUTE
        if side < 0:
            price = 1.0 / price if price > 0 else 0.0
        # As in `path_labels`, whose rule multiplies by the root that was divided by.
        root = np.sqrt(horizon_minutes)
        distance = max(target_bps / root * root, _FLOOR_BPS) / BPS
        barrier, _, known = first_touches(
            bars.prices[side][seen],
            ends,
            np.array([[np.searchsorted(ends, begin, side="right"), ends.size]]),
            np.array([begin]),
            np.array([price]),
            np.array([[distance, distance]]),
            horizon_minutes * NS_PER_MINUTE,
            through_ns,
        )
        return NEVER if barrier[0] == UNKNOWN else int(known[0])
