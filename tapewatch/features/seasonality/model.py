"""The usual size of each measure: a symbol's profile over the day, times its level of the last hour."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl

from tapewatch.features.robust import SCALE_QUANTILES, Floats, quantile, scale_of, shrunk
from tapewatch.features.seasonality.measures import MEASURES, Measure, complete, panel_of

Flags = npt.NDArray[np.bool_]
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

    def of_columns(self, chosen: npt.NDArray[np.int64]) -> "Usual":
        """What is usual of some columns."""
        return Usual(*(np.ascontiguousarray(getattr(self, field.name)[..., chosen]) for field in fields(self)))


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
        """`judged` of one of `MEASURES`, of the symbols of the model, from the open on."""
        return judged(self.measures[measure.name], values, is_signed=measure.is_signed)

    def of_symbols(self, symbols: Sequence[str]) -> Usual:
        """What is usual of every measure of these symbols, as columns: the measures of the first symbol, of the second, …

        NaN for a symbol that the model lacks.
        """
        place = {name: at for at, name in enumerate(self.symbols)}
        # The last column is of no symbol.
        at = np.array([place.get(name, -1) for name in symbols], dtype=np.int64)
        days, base, level, profile, scale = (
            # One measure after the other within a symbol.
            np.ascontiguousarray(np.moveaxis(whole[..., at], 0, -1)).reshape(whole.shape[1], -1)
            for whole in self._stacked
        )
        return Usual(days[0], base[0], level[0], profile, scale[0])

    @cached_property
    def _stacked(self) -> list[Floats]:
        """The fields of `Usual` in order: measures x rows x symbols, and NaN for no symbol. After its last bucket a profile stays."""
        buckets = max(len(each.profile) for each in self.measures.values())
        whole = []
        for field in fields(Usual):
            rows = buckets if field.name == "profile" else 1
            stacked = np.full((len(MEASURES), rows, len(self.symbols) + 1), np.nan)
            for own, measure in zip(stacked, MEASURES, strict=True):
                given = np.atleast_2d(getattr(self.measures[measure.name], field.name))
                own[:, :-1] = given[np.minimum(np.arange(rows), len(given) - 1)]
            whole.append(stacked)
        return whole


def judged(
    usual: Usual, values: Floats, *, is_signed: bool | Flags, first: int = 0, begin: int = 0
) -> tuple[Floats, Floats]:
    """The usual size of each minute, in the measure's unit, and the deviation from it in scales.

    Both NaN where a symbol has no earlier days; the deviation also where the value is.

    Args:
        usual: of the columns of `values`.
        values: minutes x symbols, one measure or several side by side.
        is_signed: whether the measure, or each column's, has a sign.
        first: minute since the open of the first row; before it everything counts as unknown.
        begin: the first of the rows that are wanted, from the first one on.
    """
    expected = _expected(_sizes(values, usual.base), usual.profile, usual.level, first, begin)
    deviation = _deviation(values[begin:], expected, usual.base, is_signed) / usual.scale
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
    deviations = _deviation(values, expected, base, measure.is_signed).reshape(-1, len(symbols))
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


def _expected(sizes: Floats, profile: Floats, level: Floats, first: int = 0, begin: int = 0) -> Floats:
    """The log of the usual size of each minute from row `begin` on: the profile, and the level up to `LAG` minutes before.

    The level is the mean of the window's sizes less their profile, drawn towards that of the earlier days. `first` is the minute
    since the open of the first row.
    """
    from tapewatch.features.seasonality.kernel import window_sums  # noqa: PLC0415 - workers of the scoring service run without Numba

    bucket = np.minimum((first + np.arange(len(sizes))) // BUCKET, len(profile) - 1)
    seasonal = profile[bucket]
    count, total = window_sums(sizes - seasonal, begin, LAG, WINDOW)
    expected: Floats = seasonal[begin:] + (total + _PRIOR_MINUTES * level) / (count + _PRIOR_MINUTES)
    return expected


def _deviation(values: Floats, expected: Floats, base: Floats, is_signed: bool | Flags) -> Floats:
    """Before the scale: the log of size over usual size, or for a signed measure their quotient."""
    if is_signed is True:
        return values / (base * np.exp(expected))
    unsigned = _sizes(values, base) - expected
    return unsigned if is_signed is False else np.where(is_signed, values / (base * np.exp(expected)), unsigned)


def _median(values: Floats) -> float:
    return float(np.nan_to_num(quantile(values[:, None], 0.5))[0])
