"""The reasons of scores: each row's strongest features, and what they say in words."""

from math import isnan

from models.served.base import RowScorer
from models.served.minutes import Minutes
from serving.schemas import Reason
from tapewatch.features.catalog import BY_NAME

TOP_REASONS = 5


def strongest_reasons(detector: RowScorer, minutes: Minutes) -> list[list[Reason]]:
    """The features with a value that raise each row's score, strongest first, at most TOP_REASONS."""
    names, contributions = detector.contributions(minutes)
    values = minutes.values[:, [minutes.features.index(name) for name in names]]
    by_row = []
    for own, raw in zip(contributions.tolist(), values.tolist(), strict=True):
        # That a value is not known moves the score too, but explains nothing to a person.
        raising = [(-part, name, value) for part, name, value in zip(own, names, raw, strict=True) if part > 0]
        known = sorted(each for each in raising if not isnan(each[2]))
        by_row.append([Reason(name, value, -part) for part, name, value in known[:TOP_REASONS]])
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
