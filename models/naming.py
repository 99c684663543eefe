"""The kind of an anomaly, from what the tape did in its minutes. Where nothing fits clearly, it has no name.

Prices are measured in the symbol's own minutes: the root mean square return of the half hour before. The limits were chosen on
the built-in market and on recorded days with injected anomalies; `docs/methodology/labels_and_detector.md` gives the share of
right names on days that were not used for it.
"""

import polars as pl

from models.base import Scores

#: The kind of an anomaly that has no name.
UNUSUAL = "unusual"

#: A symbol is out if nothing came for this long, and for unusually long by its own pauses at that time of day.
OUTAGE_S, OUTAGE_SURPRISE = 150.0, 5.0
#: Quotes as a multiple of the usual, and trades as a share of that multiple, in quote stuffing.
_STUFFED, _TRADES_OF_STUFFED = 7.0, 0.35
#: The farthest price of a crash or a pump, in usual minutes and in basis points, and the share of it that is taken back.
_FAR, _FAR_BPS, _BACK = 15.0, 75.0, 0.5
_CRASH_STEP, _PUMP_MINUTES, _PUMP_VOLUME = 10.0, 5, 2.5
#: A jump: the greatest return in usual minutes and in basis points, and its share of that minute's range.
_STEP, _STEP_BPS, _STEP_SHARE, _JUMP_MINUTES = 9.0, 10.0, 0.9, 3
#: Spreads as multiples of the usual: at the widest and in the median minute; jumps and bursts come with narrower ones.
_WIDEST, _WIDE, _JUMP_SPREAD, _BURST_SPREAD = 4.0, 3.0, 2.2, 3.5
_SUSTAINED = 6.0
_FLOW, _FLOW_VOLUME = 14.0, 8.0
#: A burst: volatility as a multiple of the usual, way of the price in usual minutes, and the share of it that remains.
_BURST, _BURST_WAY, _BURST_NET, _BURST_MINUTES = 2.8, 12.0, 0.5, 3
#: Prices that hardly moved, in usual minutes.
_CALM = 5.0


def name_events(events: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """The kind of each event.

    Args:
        events: event, symbol (text), start_time, end_time (excluded).
        rows: the minutes of these days: MICROSTRUCTURE columns and `is_out` (whether the symbol's tape stopped, as
            `outages` says), one row a symbol and minute. Only the minutes up to an event's end are used.

    Returns:
        event and kind (text; `unusual` where no kind fits), one row an event, in their order.
    """
    kinds = _facts(events, rows).select("event", kind=_kind())
    named = events.select("event").join(kinds, on="event", how="left", maintain_order="left")
    return named.with_columns(pl.col("kind").fill_null(UNUSUAL))


def outages(rows: pl.DataFrame, silence: Scores) -> pl.Series:
    """Whether nothing came to a symbol for long, and for unusually long by its own pauses at that time of day.

    Args:
        rows: MICROSTRUCTURE rows.
        silence: how surprising each row's `tape_age_s` is.
    """
    is_long = rows["tape_age_s"].to_numpy() >= OUTAGE_S
    return pl.Series("is_out", is_long & (silence >= OUTAGE_SURPRISE), dtype=pl.Boolean)


def _facts(events: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """What the tape did in each event: price ways in usual minutes, multiples of the usual for the rest."""
    usual = (pl.col("return_bps") / pl.col("return_score")).abs().fill_nan(None)
    minutes = rows.with_columns(pl.col("symbol").cast(pl.String)).sort("symbol", "event_time")
    minutes = minutes.with_columns(usual=pl.when(usual > 0).then(usual).forward_fill().over("symbol"))
    # Events may overlap: what another one is, and when it began, must not change this one's minutes.
    start = pl.col("start_time").dt.offset_by("1m").dt.offset_by("-1us").dt.truncate("1m")
    spans = events.select("event", "symbol", event_time=pl.datetime_ranges(start, "end_time", "1m", closed="left"))
    held = minutes.join(spans.explode("event_time"), on=["symbol", "event_time"])
    move = pl.col("return_bps").fill_null(0.0)
    way = move.cum_sum().over("event", order_by="event_time")
    step = move.abs().arg_max()
    return (
        held.sort("event", "event_time")
        .with_columns(way=way)
        .group_by("event", maintain_order=True)
        .agg(
            minutes=pl.len(),
            out=pl.col("is_out").sum(),
            usual=pl.col("usual").first(),
            up_bps=pl.col("way").max().clip(0.0),
            down_bps=(-pl.col("way").min()).clip(0.0),
            net_bps=pl.col("way").last(),
            way_bps=move.abs().sum(),
            step_bps=move.abs().max(),
            step_share=move.abs().get(step) / pl.col("range_bps").fill_null(0.0).get(step).clip(1e-9),
            has_both=(move > 0).any() & (move < 0).any(),
            volatility=pl.col("volatility_ratio").median(),
            volume=pl.col("volume_ratio").max(),
            sustained=pl.col("sustained_volume_2m").max(),
            trades=pl.col("trade_count_ratio").max(),
            quotes=pl.col("quote_count_ratio").max(),
            widest=pl.col("spread_ratio").max(),
            wide=pl.col("spread_ratio").median(),
            flow=pl.col("flow_score_5m").abs().max(),
        )
        .with_columns(pl.col("^(volatility|volume|sustained|trades|quotes|widest|wide|flow)$").fill_null(0.0))
        .with_columns(
            # Without a usual size nothing counts as far.
            (pl.col(f"{name}_bps") / pl.col("usual")).fill_null(0.0).alias(name)
            for name in ("up", "down", "net", "way", "step")
        )
    )


def _kind() -> pl.Expr:
    far = pl.max_horizontal("up", "down")
    is_far = (far >= _FAR) & (pl.max_horizontal("up_bps", "down_bps") >= _FAR_BPS) & (pl.col("minutes") >= 2)
    came_back = is_far & (1 - pl.col("net").abs() / far >= _BACK)
    kinds = {
        "feed_outage": (pl.col("out") >= 2) & (2 * pl.col("out") >= pl.col("minutes")),
        "quote_stuffing": (pl.col("quotes") >= _STUFFED)
        & (pl.col("trades") < _TRADES_OF_STUFFED * pl.col("quotes"))
        & (far < _CALM),
        "flash_crash": came_back & (pl.col("down") >= 2 * pl.col("up")) & (pl.col("step") >= _CRASH_STEP),
        "pump_and_dump": came_back
        & (pl.col("up") >= 2 * pl.col("down"))
        & (pl.col("minutes") >= _PUMP_MINUTES)
        & (pl.col("volume") >= _PUMP_VOLUME),
        "spread_blowout": (pl.col("widest") >= _WIDEST) & (pl.col("wide") >= _WIDE) & (far < _FAR),
        "price_jump": (pl.col("step") >= _STEP)
        & (pl.col("step_bps") >= _STEP_BPS)
        & (pl.col("step_share") >= _STEP_SHARE)
        & (pl.col("minutes") <= _JUMP_MINUTES)
        & (pl.col("widest") < _JUMP_SPREAD),
        "volume_spike": (pl.col("sustained") >= _SUSTAINED) & (far < _CALM) & (pl.col("flow") < _FLOW),
        "one_sided_flow": (pl.col("flow") >= _FLOW)
        & (pl.col("minutes") >= 2)
        & (pl.max_horizontal(far, "step") < _CALM)
        & (pl.col("volume") < _FLOW_VOLUME),
        "volatility_burst": (pl.col("minutes") >= _BURST_MINUTES)
        & (pl.col("volatility") >= _BURST)
        & (pl.col("way") >= _BURST_WAY)
        & (pl.col("net").abs() <= _BURST_NET * pl.col("way"))
        & pl.col("has_both")
        & (pl.col("widest") < _BURST_SPREAD),
    }
    named = pl.lit(UNUSUAL)
    for kind, fits in reversed(kinds.items()):
        named = pl.when(fits).then(pl.lit(kind)).otherwise(named)
    return named
