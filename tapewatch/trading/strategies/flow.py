"""Order-flow momentum: prices go on in the direction in which trades and quotes lean together."""

import polars as pl

from tapewatch.trading.strategies.proposals import PROPOSALS, proposed, spaced

STRATEGY = "flow_momentum"


def flow_momentum(
    minutes: pl.DataFrame, *, score: float = 6.0, imbalance: float = 0.2, horizon_minutes: int = 10
) -> pl.DataFrame:
    """A proposal where five minutes of trades lean by `score` and the minute's quotes lean the same way by `imbalance`.

    Args:
        minutes: `context`.
        score: least flow_score_5m: in standard deviations of even flow.
        imbalance: least best-level order-flow imbalance (Cont, Kukanov and Stoikov 2014), 0 to 1.
        horizon_minutes: the bet's horizon; another one of the symbol begins so long after it at the earliest.

    Returns: PROPOSALS.
    """
    if minutes.is_empty():
        return pl.DataFrame(schema=PROPOSALS)
    leans = (pl.col("flow_5m").abs() >= score) & (pl.col("flow_5m").sign() * pl.col("ofi") >= imbalance)
    begins = leans & ~leans.shift(1, fill_value=False).over("symbol")
    found = spaced(minutes.filter(begins), horizon_minutes)
    return proposed(
        found.with_columns(
            strategy=pl.lit(STRATEGY),
            event_time=pl.col("known_time").dt.offset_by("-5m"),
            side=pl.col("flow_5m").sign(),
            horizon_minutes=pl.lit(horizon_minutes),
        )
    )
