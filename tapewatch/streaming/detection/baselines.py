"""Usual sizes of a symbol from past days: volume by minute of the day, and moves."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from tapewatch.market.instruments import NS_PER_MINUTE, Session

Float = npt.NDArray[np.float64]

#: The volume of one minute on a few days is noisy, so it is averaged with its neighbours.
_SMOOTHING_MINUTES = 5


@dataclass(frozen=True)
class Baselines:
    """Usual sizes by symbol.

    Attributes:
        volume: median volume of each minute since the regular open (00:00 UTC in continuous markets), base units,
            smoothed over five minutes.
        move_bps: mean absolute return of a minute, median over the days.
        range_bps: mean range of a minute (log of high over low), median over the days.
    """

    volume: dict[str, Float] = field(default_factory=dict)
    move_bps: dict[str, float] = field(default_factory=dict)
    range_bps: dict[str, float] = field(default_factory=dict)


def baselines_from(days: Iterable[tuple[Session, pl.DataFrame]]) -> Baselines:
    """Baselines from the regular minutes of past days.

    Args:
        days: each day's session and its minute bars (`BARS`, `DELIVERED_BARS` or `LIVE_BARS` of clock `1m`); a minute without
            a bar counts as no volume. Fewer than three days give a rough profile.
    """
    volumes: dict[str, list[Float]] = {}
    moves: dict[str, list[float]] = {}
    ranges: dict[str, list[float]] = {}
    for session, bars in days:
        minute = (pl.col("time").cast(pl.Int64) - session.regular_start) // NS_PER_MINUTE
        regular = (
            bars.with_columns(symbol=pl.col("symbol").cast(pl.String), minute=minute)
            .filter(pl.col("minute").is_between(0, session.regular_minutes - 1))
            .sort("symbol", "minute")
        )
        for (symbol,), rows in regular.group_by("symbol", maintain_order=True):
            name = str(symbol)
            profile = np.zeros(session.regular_minutes)
            profile[rows["minute"].to_numpy()] = rows["volume"].to_numpy()
            volumes.setdefault(name, []).append(profile)
            # Prices at or below zero have no logarithm.
            positive = rows.filter(pl.col("low") > 0)
            returns = np.abs(np.diff(np.log(positive["close"].to_numpy()))) * 1e4
            if returns.size:
                moves.setdefault(name, []).append(float(returns.mean()))
            spans = np.log(positive["high"].to_numpy() / positive["low"].to_numpy()) * 1e4
            if spans.size:
                ranges.setdefault(name, []).append(float(spans.mean()))
    return Baselines(
        volume={symbol: _profile(parts) for symbol, parts in volumes.items()},
        move_bps={symbol: float(np.median(values)) for symbol, values in moves.items()},
        range_bps={symbol: float(np.median(values)) for symbol, values in ranges.items()},
    )


def _profile(days: list[Float]) -> Float:
    """The median day; minutes that a half day does not have are left out of the median."""
    longest = max(day.size for day in days)
    stacked = np.full((len(days), longest), np.nan)
    for row, day in zip(stacked, days, strict=True):
        row[: day.size] = day
    middle = np.nanmedian(stacked, axis=0)
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(middle, _SMOOTHING_MINUTES // 2, mode="edge"), _SMOOTHING_MINUTES
    )
    smooth: Float = windows.mean(axis=1)
    return smooth
