"""What became of signals: the triple barrier on each trade's own path, after costs. These are labels for what bets to follow."""

import polars as pl

from tapewatch.labels.barriers.barriers import BarrierRules
from tapewatch.labels.barriers.meta_labels import meta_labels
from tapewatch.labels.barriers.volatility import usable_bars
from tapewatch.market.instruments import Session
from tapewatch.market.tables.signals import OUTCOMES
from tapewatch.market.tables.tape import SYMBOL

#: A signal without a bar for so long is not traded.
_LONGEST_WAIT = "5m"


def outcomes(
    signals: pl.DataFrame, bars: pl.DataFrame, session: Session, *, through_ns: int | None = None
) -> pl.DataFrame:
    """The outcome of each tradable signal as a bet of one unit.

    A bet is opened at the open of the first bar that starts when the signal is known, or up to five minutes later. It is closed by
    the first of: its profit or its stop, one `target_bps` away (López de Prado 2018, section 3.4; a bar that touches both counts as
    stopped); its horizon; the last bar of the regular session.

    Args:
        signals: SIGNALS of a session.
        bars: BARS of it.
        session: its hours.
        through_ns: the tape is complete up to here.

    Returns:
        OUTCOMES; signals without a bar in time, and bets that the tape's end leaves open, are left out. The label is 1 where the
        net return is above zero.
    """
    kept = usable_bars(bars, session)
    placed = _entries(signals.filter("is_tradable"), kept)
    parts = [OUTCOMES.empty()]
    for (horizon,), group in placed.partition_by("horizon_minutes", as_dict=True).items():
        rules = BarrierRules(vertical_minutes=int(horizon), floor_bps=1e-9)
        # A target that is not the volatility's own: the rule multiplies by the root of the horizon. Polars divides a single row by a
        # number otherwise than several, in the last bit; it multiplies them alike.
        events = group.select(
            "symbol",
            "side",
            event_time="known_time",
            price="entry_price",
            volatility_bps=pl.col("target_bps") * float(horizon) ** -0.5,
        ).unique(["symbol", "event_time", "side", "volatility_bps"], maintain_order=True)
        closed = meta_labels(kept, events=events, rules=rules, session=session, through_ns=through_ns)
        found = (
            group.drop("event_time")
            .rename({"known_time": "event_time"})
            .join(
                closed.select(
                    "symbol", "event_time", "side", "known_time", "barrier", "holding_minutes", gross_bps="return_bps"
                ),
                on=["symbol", "event_time", "side"],
            )
        )
        net = pl.col("gross_bps") - pl.col("cost_bps")
        parts.append(OUTCOMES.conform(found.with_columns(net_bps=net, label=(net > 0).cast(pl.Int8))))
    order = [pl.col(name).cast(pl.String) for name in ("symbol", "strategy", "partner")]
    return pl.concat(parts).sort(order[0], "event_time", *order[1:])


def _entries(signals: pl.DataFrame, bars: pl.DataFrame) -> pl.DataFrame:
    """The signals with `entry_price`, those without a bar in time left out."""
    opens = bars.filter(pl.col("open") > 0).select("symbol", known_time="time", entry_price="open").sort("known_time")
    return (
        signals.with_columns(pl.col("symbol").cast(SYMBOL))
        .sort("known_time")
        .join_asof(
            opens.with_columns(pl.col("symbol").cast(SYMBOL)),
            on="known_time",
            by="symbol",
            strategy="forward",
            tolerance=_LONGEST_WAIT,
            check_sortedness=False,
        )
        .filter(pl.col("entry_price").is_not_null())
    )
