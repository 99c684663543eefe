"""Reversal and continuation after alerts, by the kind of the anomaly as far as it was known."""

from dataclasses import asdict, dataclass
from types import MappingProxyType

import polars as pl

from models.naming import OUTAGE_S, UNUSUAL, name_events
from tapewatch.trading.strategies.proposals import PROPOSALS, proposed

REVERSAL, CONTINUATION = "reversal", "continuation"


@dataclass(frozen=True, slots=True)
class Play:
    """What follows a kind: the strategy, and the bet's horizon in a usual minute."""

    strategy: str
    horizon_minutes: int


#: Kinds that are bet on. Stuffed quotes and outages say nothing about the price.
PLAYS = MappingProxyType(
    {
        "flash_crash": Play(REVERSAL, 10),
        "pump_and_dump": Play(REVERSAL, 15),
        "spread_blowout": Play(REVERSAL, 10),
        "volatility_burst": Play(REVERSAL, 10),
        "price_jump": Play(CONTINUATION, 15),
        "one_sided_flow": Play(CONTINUATION, 10),
        "volume_spike": Play(CONTINUATION, 10),
        UNUSUAL: Play(CONTINUATION, 10),
    }
)
#: Multiples of a kind's horizon by the regime of the decision's minute: calm minutes hold little of a move, and wide spreads take longer to earn.
HORIZONS = MappingProxyType({"calm": 0.5, "usual": 1.0, "volatile": 1.0, "thin": 1.5})
#: A smaller way of the price, in usual minutes, and a smaller score of the flow give no direction.
LEAST_WAY, LEAST_FLOW = 1.0, 3.0
SCAN = "scan"


def alerts_of(anomalies: pl.DataFrame, incidents: pl.DataFrame) -> pl.DataFrame:
    """When and by which detector each alert was raised. What an alert became later is left out.

    Args:
        anomalies: ANOMALIES of the champion of minutes, by whose registered name they go.
        incidents: INCIDENTS of the scan.

    Returns:
        symbol (text), start_time (the minute's start), known_time, detector.
    """
    named = pl.col("model").cast(pl.String).str.split("/").list.first()
    frames = [
        frame.select(
            pl.col("symbol").cast(pl.String), pl.col("start_time").dt.truncate("1m"), "known_time", detector=detector
        )
        for frame, detector in ((anomalies, named), (incidents, pl.lit(SCAN)))
    ]
    return pl.concat(frames).sort("symbol", "known_time", "detector")


def after_alerts(alerts: pl.DataFrame, rows: pl.DataFrame, minutes: pl.DataFrame) -> pl.DataFrame:
    """A proposal for each alert whose kind is bet on and whose direction is clear.

    The decision falls at the end of the minute in which the alert became known. The kind is named by `name_events` from
    the alert's minutes up to then: the kind that the detectors' tables hold is what the anomaly became, and known later. The
    direction is that of the price in these minutes, or of the flow where the price did not move. The horizon is that of the kind,
    shorter in calm minutes and longer in thin ones.

    Args:
        alerts: see `alerts_of`.
        rows: MICROSTRUCTURE of these days.
        minutes: `context` of them.

    Returns:
        PROPOSALS of the strategies `reversal` and `continuation`. Alerts of both detectors at one time are one.
    """
    if alerts.is_empty() or minutes.is_empty():
        return pl.DataFrame(schema=PROPOSALS)
    decided = (
        alerts.with_columns(decided=_minute_end("known_time"))
        .group_by("symbol", "decided", maintain_order=True)
        .agg(pl.col("start_time").min(), pl.col("detector").unique().sort().str.join("+"))
        .with_row_index("event")
    )
    kinds = name_events(
        decided.select("event", "symbol", "start_time", end_time="decided"),
        rows.with_columns(is_out=pl.col("tape_age_s") >= OUTAGE_S),
    )
    plays = pl.DataFrame([{"kind": kind, **asdict(play)} for kind, play in PLAYS.items()])
    found = decided.join(kinds, on="event").join(_directions(decided, minutes), on="event").join(plays, on="kind")
    side = pl.when(pl.col("strategy") == REVERSAL).then(-pl.col("direction")).otherwise("direction")
    factor = pl.col("regime").replace_strict(dict(HORIZONS), default=1.0, return_dtype=pl.Float64)
    horizon = (pl.col("horizon_minutes") * factor).round(mode="half_away_from_zero").cast(pl.Int32)
    return proposed(
        found.with_columns(side=side, event_time="start_time", known_time="decided", horizon_minutes=horizon)
    )


def _directions(decided: pl.DataFrame, minutes: pl.DataFrame) -> pl.DataFrame:
    """event, direction (1, -1 or 0: of the price in the alert's minutes, else of the flow in the last), regime of the last."""
    way, flow = pl.col("way").fill_null(0.0).fill_nan(0.0), pl.col("flow")
    direction = (
        pl.when(way.abs() >= LEAST_WAY).then(way.sign()).when(flow.abs() >= LEAST_FLOW).then(flow.sign()).otherwise(0)
    )
    return (
        minutes.join(decided.select("event", "symbol", "start_time", "decided"), on="symbol")
        .filter((pl.col("event_time") >= pl.col("start_time")) & (pl.col("known_time") <= pl.col("decided")))
        .sort("known_time")
        .group_by("event", maintain_order=True)
        .agg(
            way=pl.col("return_bps").sum() / pl.col("volatility_bps").last(),
            flow=pl.col("flow").last(),
            regime=pl.col("regime").last(),
        )
        .select("event", "regime", direction=direction)
    )


def _minute_end(name: str) -> pl.Expr:
    """The end of the minute that a time belongs to; a time at a full minute is its own."""
    floor = pl.col(name).dt.truncate("1m")
    return pl.when(floor == pl.col(name)).then(floor).otherwise(floor.dt.offset_by("1m"))
