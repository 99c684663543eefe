"""The `DRIFT` rows of a day, from its minutes, those of the reference, and the day before's row."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl

from models.base import Detector, Scores
from models.drift.cusum import Cusum
from models.drift.distances import kolmogorov_smirnov, stability_index, wasserstein
from models.profile import Profile
from tapewatch.features.catalog import FEATURES, matrix
from tapewatch.market.tables.derived import DRIFT

#: A change of this size, by both measures, is drift.
PSI_LIMIT, KS_LIMIT = 0.25, 0.2
_FEWEST = 100
#: The least standard deviation of a day's mean, in interquartile ranges of the minutes: with few reference days, and always.
_FEW_DAYS, _SPREAD_OF_FEW, _LEAST_SPREAD = 5, 0.5, 0.1
#: Minutes of an alert, which are no independent draws.
_RUN = 4


def drift_rows(
    day: pl.DataFrame, reference: pl.DataFrame, detector: Detector, before: pl.DataFrame, *, model: str
) -> pl.DataFrame:
    """Drift of features, scores and alerts.

    Features are compared as deviations from each symbol's usual, so that a change in which symbols there are is none.

    Args:
        day, reference: regular MICROSTRUCTURE rows; the reference of several days.
        detector: the champion.
        before: the `DRIFT` rows of the day before, whose sums continue if they are of the same model; may be empty.
        model: its name and version.

    Returns:
        `DRIFT` rows; none with fewer than 100 minutes on either side. A measure that either side lacks has no row.
    """
    if min(day.height, reference.height) < _FEWEST:
        return DRIFT.empty()
    sums = {
        (row["subject"], row["name"]): Cusum(row["cusum_up"] or 0.0, row["cusum_down"] or 0.0)
        for row in before.filter(pl.col("model") == model)
        .with_columns(pl.col("subject", "name").cast(pl.String))
        .iter_rows(named=True)
    }
    rows = [*_features(day, reference), *_scores(day, reference, detector)]
    return DRIFT.conform(pl.DataFrame([_judged(row, sums, model) for row in rows], infer_schema_length=None))


def verdict_rows(verdicts: pl.DataFrame, *, since: Any, model: str) -> pl.DataFrame:
    """Drift of the share of alerts that people confirm: recent verdicts against earlier ones.

    Drifting if the earlier share lies above the recent one's 95 % interval (Wilson 1927).

    Args:
        verdicts: `verdict` and `created_time`.
        since: from here on verdicts are recent.
        model: the champion.

    Returns:
        One `DRIFT` row; none without verdicts on both sides.
    """
    is_recent = pl.col("created_time") >= since
    confirmed = pl.col("verdict") == "confirmed"
    recent, earlier = (verdicts.filter(each).select(confirmed).to_series() for each in (is_recent, ~is_recent))
    if recent.is_empty() or earlier.is_empty():
        return DRIFT.empty()
    share, usual = float(recent.to_numpy().mean()), float(earlier.to_numpy().mean())
    row = {
        "subject": "verdicts",
        "name": "verdicts",
        "rows": recent.len(),
        "reference_rows": earlier.len(),
        "value": share,
    }
    drifting = _wilson_upper(share, recent.len()) < usual
    return DRIFT.conform(pl.DataFrame([{**row, "reference": usual, "is_drifting": drifting, "model": model}]))


def _features(day: pl.DataFrame, reference: pl.DataFrame) -> Iterator[dict[str, Any]]:
    profile = Profile.fit(reference, FEATURES)
    of_day, of_reference = (profile.standardise(rows) for rows in (day, reference))
    known_day, known_reference = (np.isfinite(matrix(rows, FEATURES)) for rows in (day, reference))
    dates = _dates(reference)
    for at, feature in enumerate(FEATURES):
        now, then = of_day[known_day[:, at], at], of_reference[known_reference[:, at], at]
        if min(now.size, then.size) < _FEWEST:
            continue
        yield _compared("feature", feature.name, now, then, dates[known_reference[:, at]])


def _scores(day: pl.DataFrame, reference: pl.DataFrame, detector: Detector) -> Iterator[dict[str, Any]]:
    now, then, dates = detector.score(day), detector.score(reference), _dates(reference)
    yield _compared("score", "score", now, then, dates)
    flagged, usual = (each >= detector.threshold for each in (now, then))
    row = _compared("alerts", "alerts", flagged.astype(np.float64), usual.astype(np.float64), dates)
    # Of flags, the difference of the shares is all there is.
    yield {**row, "psi": None, "ks": None, "wasserstein": None}


def _compared(
    subject: str, name: str, now: Scores, then: Scores, dates: np.ndarray[Any, np.dtype[np.int64]]
) -> dict[str, Any]:
    means = np.array([then[dates == date].mean() for date in np.unique(dates)])
    # A few days say little of how days differ: half an interquartile range of the minutes stands for it.
    low, high = np.quantile(then, [0.25, 0.75])
    share = _SPREAD_OF_FEW if means.size < _FEW_DAYS else _LEAST_SPREAD
    # Of rare flags that range is 0; they come in runs.
    of_chance = float(then.std()) * float(np.sqrt(_RUN / now.size))
    spread = max(float(means.std(ddof=1)) if means.size > 1 else 0.0, share * float(high - low), of_chance, 1e-9)
    return {
        "subject": subject, "name": name, "rows": now.size, "reference_rows": then.size,
        "value": float(now.mean()), "reference": float(means.mean()),
        "psi": stability_index(then, now), "ks": kolmogorov_smirnov(then, now), "wasserstein": wasserstein(then, now),
        "deviation": (float(now.mean()) - float(means.mean())) / spread,
    }  # fmt: skip


def _judged(row: dict[str, Any], sums: Mapping[tuple[str, str], Cusum], model: str) -> dict[str, Any]:
    total = sums.get((row["subject"], row["name"]), Cusum()).after(row.pop("deviation"))
    is_far = (row["psi"] or 0.0) > PSI_LIMIT and (row["ks"] or 0.0) > KS_LIMIT
    return {
        **row,
        "cusum_up": total.up,
        "cusum_down": total.down,
        "is_drifting": is_far or total.is_shifted,
        "model": model,
    }


def _dates(rows: pl.DataFrame) -> np.ndarray[Any, np.dtype[np.int64]]:
    return rows["event_time"].dt.date().to_physical().to_numpy().astype(np.int64)


def _wilson_upper(share: float, count: int, z: float = 1.96) -> float:
    centre = share + z * z / (2 * count)
    reach = z * float(np.sqrt(share * (1 - share) / count + z * z / (4 * count * count)))
    return (centre + reach) / (1 + z * z / count)
