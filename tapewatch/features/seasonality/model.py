"""The usual size of each measure: a symbol's profile over the day, times its level of the last hour."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl

from tapewatch.features.robust import SCALE_QUANTILES, Floats, quantile, scale_of, shrunk
from tapewatch.features.seasonality.measures import MEASURES, Measure, complete, panel_of

#: Minutes of a step of the profile; of the window of the level; and between the window's end and the minute that is judged, so
#: that an event does not raise what it is held against.
BUCKET, WINDOW, LAG = 15, 60, 15
#: Minutes on which a row depends, besides the earlier days.
LOOK_BACK = WINDOW + LAG + 1
#: The longest deviation, in scales.
CLIP = 30.0
#: Added to a size, as a share of the symbol's mean size: the log of an empty minute is finite.
_EMPTY = 0.05
#: Days at which a symbol weighs as much as its market, and minutes at which the level weighs as much as the days before.
_PRIOR_DAYS, _PRIOR_MINUTES = 3.0, 15.0
_LEAST_SCALE, _SHARE_OF_MARKET = 0.05, 0.1


@dataclass(frozen=True)
class Usual:
    """What is usual of one measure. Sizes are logs of |x| / base + 0.05.

    Attributes:
        days: earlier days with a value, by symbol.
        base: mean |x|; NaN for a symbol without earlier values or with zeros alone.
        level: median of the days' levels.
        profile: buckets x symbols, less the level of the day.
        scale: robust scale of the deviations.
    """

    days: Floats
    base: Floats
    level: Floats
    profile: Floats
    scale: Floats


@dataclass(frozen=True)
class SeasonalModel:
    """The usual size of every measure, of the symbols of a market; from earlier days alone."""

    symbols: tuple[str, ...]
    measures: dict[str, Usual]

    @classmethod
    def fit(cls, days: Sequence[pl.LazyFrame]) -> Self | None:
        """Fit on `MICROSTRUCTURE` rows of earlier days, a frame each, `with_more` or without; None without any regular row.

        Memory holds one measure of the days at a time.
        """
        days = [complete(day) for day in days]
        of_days = [day.filter("is_regular").select(pl.col("symbol").cast(pl.String)).unique() for day in days]
        symbols = pl.concat([pl.LazyFrame(schema={"symbol": pl.String}), *of_days]).unique().collect()["symbol"]
        names = tuple(sorted(symbols))
        return cls(names, {each.name: _fit(days, each, names) for each in MEASURES}) if names else None

    def judged(self, measure: Measure, values: Floats) -> tuple[Floats, Floats]:
        """The usual size of each minute, in the measure's unit, and the deviation from it in scales.

        Both NaN where a symbol has no earlier days; the deviation also where the value is.

        Args:
            measure: one of `MEASURES`.
            values: minutes x symbols of the model, from the open on.
        """
        usual = self.measures[measure.name]
        expected = _expected(_sizes(values, usual.base), usual.profile, usual.level)
        deviation = _deviation(measure, values, expected, usual.base) / usual.scale
        return usual.base * np.maximum(np.exp(expected) - _EMPTY, 0.0), np.clip(deviation, -CLIP, CLIP)


def _fit(days: Sequence[pl.LazyFrame], measure: Measure, symbols: tuple[str, ...]) -> Usual:
    panels = [panel for day in days if (panel := panel_of(day, measure, symbols)).size]
    values = _stacked(panels, len(symbols))
    with warnings.catch_warnings():
        # A symbol without values has no mean.
        warnings.simplefilter("ignore", RuntimeWarning)
        base = np.nanmean(np.abs(values), axis=(0, 1))
    base = np.where(base > 0, base, np.nan)
    sizes = _sizes(values, base)
    levels = quantile(np.moveaxis(sizes, 1, 0), 0.5)
    count = np.isfinite(levels).sum(axis=0).astype(np.float64)
    level = quantile(levels, 0.5)
    profile = _profile(sizes - levels[:, None])
    expected = np.stack([_expected(day, profile, level) for day in sizes])
    deviations = _deviation(measure, values, expected, base).reshape(-1, len(symbols))
    own = scale_of(*(quantile(deviations, share) for share in SCALE_QUANTILES))
    market = max(_median(own), _LEAST_SCALE)
    scale = np.maximum(shrunk(own, np.full_like(own, market), count, _PRIOR_DAYS), _SHARE_OF_MARKET * market)
    return Usual(count, base, level, profile, np.maximum(scale, _LEAST_SCALE))


def _stacked(panels: Sequence[Floats], symbols: int) -> Floats:
    """Days x minutes x symbols; shorter days end in NaN."""
    minutes = max((len(panel) for panel in panels), default=1)
    values = np.full((max(len(panels), 1), minutes, symbols), np.nan)
    for day, panel in zip(values, panels, strict=False):
        day[: len(panel)] = panel
    return values


def _profile(sizes: Floats) -> Floats:
    """Buckets x symbols of days x minutes x symbols: medians, shrunk to the median of the market's symbols; 0 where none is known."""
    days, minutes, symbols = sizes.shape
    whole = np.full((days, -(-minutes // BUCKET) * BUCKET, symbols), np.nan)
    whole[:, :minutes] = sizes
    buckets = whole.reshape(days, -1, BUCKET, symbols)
    count = np.isfinite(buckets).any(axis=2).sum(axis=0).astype(np.float64)
    own = quantile(np.moveaxis(buckets, 2, 1).reshape(days * BUCKET, -1, symbols), 0.5)
    market = np.nan_to_num(quantile(own.T, 0.5))
    return shrunk(own, np.broadcast_to(market[:, None], own.shape), count, _PRIOR_DAYS)


def _sizes(values: Floats, base: Floats) -> Floats:
    sizes: Floats = np.log(np.abs(values) / base + _EMPTY)
    return sizes


def _expected(sizes: Floats, profile: Floats, level: Floats) -> Floats:
    """The log of the usual size of each minute: the profile, and the level up to `LAG` minutes before.

    The level is the mean of the window's sizes less their profile, drawn towards that of the earlier days.
    """
    bucket = np.minimum(np.arange(len(sizes)) // BUCKET, len(profile) - 1)
    seasonal = profile[bucket]
    padded = np.concatenate([np.full((WINDOW + LAG, sizes.shape[1]), np.nan), sizes - seasonal])
    # Minute t is held against the minutes from t - LAG - WINDOW to before t - LAG.
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW, axis=0)[: len(sizes)]
    count = np.isfinite(windows).sum(axis=2)
    total = np.nansum(windows, axis=2)
    expected: Floats = seasonal + (total + _PRIOR_MINUTES * level) / (count + _PRIOR_MINUTES)
    return expected


def _deviation(measure: Measure, values: Floats, expected: Floats, base: Floats) -> Floats:
    """Before the scale: the log of size over usual size, or for a signed measure their quotient."""
    return values / (base * np.exp(expected)) if measure.is_signed else _sizes(values, base) - expected


def _median(values: Floats) -> float:
    return float(np.nan_to_num(quantile(values[:, None], 0.5))[0])
