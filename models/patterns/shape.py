"""The shape of an anomaly: how far its features went from what is usual for the symbol, and how they changed."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from tapewatch.features.catalog import BY_NAME, NAMES, matrix
from tapewatch.market.tables.derived import ANOMALY_PATTERNS, PATTERN_FEATURES

Floats = npt.NDArray[np.float64]

#: The columns of a shape, in order: the extreme and the change of each feature.
SHAPE: tuple[str, ...] = tuple(f"{name}_{part}" for name in PATTERN_FEATURES for part in ("extreme", "change"))
_FEATURES = tuple(BY_NAME[name] for name in PATTERN_FEATURES if name in NAMES)
#: Minutes that say what is usual, at most and at least; and minutes before an event from which it is a change.
_USUAL, _FEWEST, _BEFORE = 1200, 30, 10
_NORMAL_IQR, _SCALE_FLOOR, _CLIP = 1.349, 0.05, 30.0


def shape(rows: pl.DataFrame, start: dt.datetime, end: dt.datetime) -> Floats:
    """The 32 numbers of an event of one symbol.

    A feature's deviation is measured from the median, in interquartile ranges, of up to 1,200 minutes that were complete when
    the event began. Of deviations the inverse hyperbolic sine is taken: linear near 0, logarithmic beyond.

    Args:
        rows: regular MICROSTRUCTURE rows of the symbol, in order of time, from days before to the event's end at least.
        start, end: the event's minutes, half open.

    Returns:
        `SHAPE` in order; 0 where a feature is unknown, and everywhere with fewer than 30 minutes before.
    """
    minutes = rows.filter(pl.col("event_time") < end)
    inside = (minutes["event_time"] >= start).to_numpy()
    first = int(inside.argmax()) if inside.any() else inside.size
    if first < _FEWEST or not inside.any():
        return np.zeros(len(SHAPE))
    values = matrix(minutes, _FEATURES)
    usual = values[max(0, first - _USUAL) : first]
    with np.errstate(all="ignore"):
        low, centre, high = _quantiles(usual)
        scale = np.maximum((high - low) / _NORMAL_IQR, _SCALE_FLOOR)
        off = np.arcsinh(np.clip((values[max(0, first - _BEFORE) :] - centre) / scale, -_CLIP, _CLIP))
    off = np.nan_to_num(off, nan=0.0)
    before, within = off[: min(_BEFORE, first)], off[min(_BEFORE, first) :]
    extreme = within[np.abs(within).argmax(axis=0), np.arange(off.shape[1])]
    return np.column_stack([extreme, within.mean(axis=0) - before.mean(axis=0)]).ravel()


def patterns(events: pl.DataFrame, rows: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """`ANOMALY_PATTERNS` rows of a day's anomalies, without labels.

    Args:
        events: `ANOMALIES` rows.
        rows: regular MICROSTRUCTURE rows of their symbols, of that day and of days before.
        names: the identity of each event.
    """
    by_symbol = {
        str(key[0]): part.sort("event_time")
        for key, part in rows.with_columns(pl.col("symbol").cast(pl.String))
        .partition_by("symbol", as_dict=True)
        .items()
    }
    shapes = [
        shape(by_symbol[symbol], start, end) if symbol in by_symbol else np.zeros(len(SHAPE))
        for symbol, start, end in events.select(pl.col("symbol").cast(pl.String), "start_time", "end_time").iter_rows()
    ]
    numbers = np.array(shapes).reshape(-1, len(SHAPE))
    found: dict[str, Any] = {name: pl.Series(numbers[:, at]) for at, name in enumerate(SHAPE)}
    # The whole shape is known when the event is over.
    framed = events.select("symbol", "start_time", "end_time", "kind", "score", "model", known_time="end_time")
    return ANOMALY_PATTERNS.conform(framed.with_columns(pl.Series("pattern_id", names, pl.String), **found))


def _quantiles(usual: Floats) -> tuple[Floats, Floats, Floats]:
    """The quartiles of each column, NaN left out; NaN for a column without a value."""
    ordered = np.sort(usual, axis=0)
    known = np.isfinite(ordered).sum(axis=0)
    columns = np.arange(ordered.shape[1])

    def at(share: float) -> Floats:
        place = np.maximum(np.rint(share * (known - 1)).astype(np.int64), 0)
        return np.where(known > 0, ordered[place, columns], np.nan)

    return at(0.25), at(0.5), at(0.75)
