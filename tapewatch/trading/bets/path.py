"""What became of bets on their own path: the triple barrier around the price at which they were filled."""

import polars as pl

from tapewatch.labels.barriers.barriers import BarrierRules
from tapewatch.labels.barriers.meta_labels import meta_labels
from tapewatch.labels.barriers.volatility import usable_bars
from tapewatch.market.instruments import NS_PER_MINUTE, Session
from tapewatch.market.tables.tape import TIME

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
        rules = BarrierRules(vertical_minutes=int(minutes), floor_bps=1e-9)
        closed = meta_labels(kept, events=group, rules=rules, session=session, through_ns=through_ns)
        found = closed.with_columns(pl.col("symbol").cast(pl.String)).join(group.select("bet", *key), on=key)
        parts.append(found.select(pl.col(name).cast(dtype) for name, dtype in PATH_LABELS.items()))
    return pl.concat(parts).sort("known_time", "bet")
