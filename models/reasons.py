"""Reasons of an anomaly in words."""

from collections.abc import Iterable, Mapping
from typing import Any

from tapewatch.features.catalog import BY_NAME


def worded(reasons: Iterable[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], str]]:
    """Each reason (feature, value) of the catalogue with its words; one without a value has none and is left out."""
    return [
        (each, f"{BY_NAME[each['feature']].description}: {each['value']:.3g}")
        for each in reasons
        if each["value"] is not None and each["feature"] in BY_NAME
    ]
