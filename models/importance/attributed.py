"""What attributions say of a detector as a whole: importance, additivity, steadiness."""

from collections.abc import Mapping

import numpy as np
import polars as pl
from scipy.stats import spearmanr

#: What attributions may add up to, besides a constant and a factor: the score, its logarithm (a forest's path length), its log-odds.
_FORMS = ("score", "log2 of the score", "log-odds of the score")


def mean_absolute(attributions: pl.DataFrame) -> dict[str, float]:
    """The mean absolute attribution of each feature, greatest first."""
    means = attributions.group_by(pl.col("feature").cast(pl.String)).agg(pl.col("shap_value").abs().mean())
    return dict(means.sort("shap_value", "feature", descending=[True, False]).iter_rows())


def additivity(attributions: pl.DataFrame, further: Mapping[str, pl.DataFrame] | None = None) -> tuple[str, float]:
    """What the attributions of a row add up to, and the greatest deviation from it, as a share of the sums' range.

    Args:
        attributions: an ATTRIBUTIONS frame of at least three minutes with different scores.
        further: what else a detector's attributions may add up to, by name: symbol, event_time, value.

    Returns:
        The form that fits best, and NaN where there are too few minutes to tell.
    """
    keys = ["symbol", "event_time"]
    rows = attributions.group_by(keys, maintain_order=True).agg(pl.col("shap_value").sum(), pl.col("score").first())
    total, score = rows["shap_value"].to_numpy(), rows["score"].to_numpy()
    if rows.height < 3 or np.ptp(total) == 0:
        return _FORMS[0], float("nan")
    forms = {_FORMS[0]: score}
    if (score > 0).all():
        forms[_FORMS[1]] = np.log2(score)
    if ((score > 0) & (score < 1)).all():
        forms[_FORMS[2]] = np.log(score / (1 - score))
    for name, frame in (further or {}).items():
        forms[name] = rows.join(frame, on=keys, how="left", maintain_order="left")["value"].to_numpy()
    off = {}
    for name, values in forms.items():
        design = np.column_stack([values, np.ones_like(values)])
        fitted = design @ np.linalg.lstsq(design, total, rcond=None)[0]
        off[name] = float(np.abs(total - fitted).max() / np.ptp(total))
    best = min(off, key=lambda name: off[name])
    return best, off[best]


def steadiness(now: Mapping[str, float], then: Mapping[str, float]) -> float:
    """Spearman's rank correlation of two importances over the features that both have; NaN with fewer than three."""
    both = [name for name in now if name in then]
    if len(both) < 3:
        return float("nan")
    return float(spearmanr([now[name] for name in both], [then[name] for name in both]).statistic)
