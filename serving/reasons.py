"""The reasons of scores: each row's strongest features, and what they say in words."""

import polars as pl

from models.served.base import RowScorer
from models.served.minutes import Minutes
from serving.schemas import Reason
from tapewatch.features.catalog import BY_NAME

TOP_REASONS = 5


def strongest_reasons(detector: RowScorer, minutes: Minutes) -> list[list[Reason]]:
    """The features with a value that raise each row's score, strongest first, at most TOP_REASONS."""
    # As `top_reasons`, for all rows at once.
    strongest = (
        detector.explain(minutes)
        # That a value is not known moves the score too, but explains nothing to a person.
        .filter(pl.col("shap_value") > 0, pl.col("value").is_not_null())
        .sort("row", "shap_value", "feature", descending=[False, True, False])
        .group_by("row", maintain_order=True)
        .head(TOP_REASONS)
        .select("row", "feature", "value", "shap_value")
    )
    by_row: list[list[Reason]] = [[] for _ in range(len(minutes))]
    for index, feature, value, shap_value in strongest.iter_rows():
        by_row[index].append(Reason(feature, value, shap_value))
    return by_row


def in_words(reason: Reason) -> Reason:
    """The reason with a sentence: what the feature measures, its value, and the kind of anomaly that it hints at."""
    feature = BY_NAME.get(reason.feature)
    if feature is None or reason.value is None:
        return reason
    # A feature that counts in one direction alone raises the score in that one.
    kind = (
        (feature.high if reason.value > 0 else feature.low)
        if feature.high and feature.low
        else feature.high or feature.low
    )
    hint = f", as in a {kind.replace('_', ' ')}" if kind else ""
    words = f"{feature.description} is unusual: {reason.value:,.4g}{hint}"
    return Reason(reason.feature, reason.value, reason.shap_value, words)
