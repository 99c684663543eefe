"""What outcomes say about detectors and kinds: whose alerts lose."""

from collections.abc import Collection

import numpy as np
import polars as pl
from scipy.special import stdtr

#: Fewer bets say nothing of a detector or kind.
LEAST_BETS = 20
#: An upper bound of the mean below 0 counts as losing at this confidence.
CONFIDENCE = 0.95


def performance_by(outcomes: pl.DataFrame, *by: str) -> pl.DataFrame:
    """Results of unit bets by groups.

    Args:
        outcomes: OUTCOMES.
        by: its columns, such as kind and regime.

    Returns:
        The columns, then bets, hit_rate, mean_gross_bps, mean_cost_bps, mean_net_bps, total_net_bps, t_value and p_losing: the
        probability, by Student's t, of a mean as low if the true one were 0. Null for fewer than two bets. Sorted by the groups.
    """
    mean, deviation, bets = pl.col("net_bps").mean(), pl.col("net_bps").std(), pl.len()
    found = (
        outcomes.with_columns(pl.col(name).cast(pl.String) for name in by)
        .group_by(by)
        .agg(
            bets=bets.cast(pl.Int64),
            hit_rate=pl.col("label").mean(),
            mean_gross_bps=pl.col("gross_bps").mean(),
            mean_cost_bps=pl.col("cost_bps").mean(),
            mean_net_bps=mean,
            total_net_bps=pl.col("net_bps").sum(),
            t_value=pl.when((bets > 1) & (deviation > 0)).then(mean / deviation * bets.sqrt()),
        )
        .sort(by)
    )
    freedom, t = found["bets"].to_numpy() - 1.0, found["t_value"].to_numpy().astype(np.float64)
    with np.errstate(invalid="ignore"):
        chance = stdtr(np.maximum(freedom, 1.0), t)
    return found.with_columns(p_losing=pl.Series(chance).fill_nan(None))


def losing(
    outcomes: pl.DataFrame, *by: str, least_bets: int = LEAST_BETS, confidence: float = CONFIDENCE
) -> pl.DataFrame:
    """The groups of bets after alerts that lose, for the gate that promotes and demotes detectors.

    A group loses if it has `least_bets` bets and its mean net return is below 0 with `confidence`. Bets that follow no alert are
    left out; one that follows two detectors counts for each.

    Args:
        outcomes: OUTCOMES of several days.
        by: `detector`, `kind`, or both; `detector` by default.

    Returns: see `performance_by`; without rows where nothing is shown to lose.
    """
    of_alerts = outcomes.with_columns(pl.col("detector").cast(pl.String).str.split("+")).explode("detector")
    judged = performance_by(of_alerts.filter(pl.col("detector") != ""), *(by or ("detector",)))
    return judged.filter((pl.col("bets") >= least_bets) & (pl.col("p_losing") < 1.0 - confidence))


def after_alerts_of(outcomes: pl.DataFrame, detectors: Collection[str]) -> pl.DataFrame:
    """OUTCOMES as far as they follow alerts of these detectors; a bet that follows others too counts for these alone."""
    own = pl.col("detector").cast(pl.String).str.split("+").list.filter(pl.element().is_in(list(detectors)))
    kept = outcomes.with_columns(detector=own.list.join("+")).filter(pl.col("detector") != "")
    return kept.cast({"detector": outcomes.schema["detector"]})
