"""Fits the scan of one market on whole days, and on copies of them with anomalies put in."""

from collections.abc import Sequence

import numpy as np

from models.base import DetectorError
from models.scan.calibration import Scale, fit_scale, fit_tail
from models.scan.fitting.learning import Copy, fit_names, fit_odds
from models.scan.layout import KINDS, STATISTICS
from models.scan.learned import Learned
from models.scan.market_scan import Floats, MarketScan, highest_of_kind, statistics
from models.scan.profile import fit_usual
from models.scan.tail import HOURS, Tail, surprise_of
from tapewatch.market.arrays import Array


def fit_market(
    symbols: Sequence[str],
    days: Sequence[Array],
    known: Sequence[Array],
    copies: Sequence[Sequence[Copy]] | None = None,
) -> MarketScan:
    """Fit on inputs (symbols x INPUTS x bins) of at least two days of the same symbols.

    Each day and its copies are held against what is usual on the other days, as a day to come will be.

    Args:
        symbols: names of the inputs' symbols.
        days: the inputs.
        known: for each day, the bins (symbols x bins) of known anomalies, which are not ordinary.
        copies: for each day, the inputs of copies with anomalies in them, and where those are. Without any nothing is learnt.

    Raises:
        DetectorError: fewer than two days.
    """
    if len(days) < 2:
        raise DetectorError(f"the scan needs at least two whole days to learn what is usual, and has {len(days)}")
    given = copies or [[] for _ in days]
    usual = [fit_usual([*days[:at], *days[at + 1 :]]) for at in range(len(days))]
    measured = [statistics(day, own) for day, own in zip(days, usual, strict=True)]
    for day, marked in zip(measured, known, strict=True):
        day.transpose(0, 2, 1)[marked] = np.nan
    shown = [[statistics(copy.values, own) for copy in of] for of, own in zip(given, usual, strict=True)]
    scales, tails = _rarities(measured, shown)
    of_days = [_by_kind(day) for day in measured]
    kind_tails = tuple(fit_tail([row for day in of_days for row in day[:, kind]]) for kind in range(len(KINDS)))
    calibrated = [_surprise(kind_tails, day) for day in of_days]
    rarities = [
        [Copy(values, copy.events) for values, copy in zip(own, of, strict=True)]
        for own, of in zip(shown, given, strict=True)
    ]
    found = fit_odds(measured, rarities)
    if found is not None:
        calibrated = [np.fmax(day, of) for day, of in zip(calibrated, found.days, strict=True)]
    # Kinds that occur together are one alert: their budgets do not add up.
    whole = fit_tail([row for day in calibrated for row in np.fmax.reduce(day, axis=1)])
    learned = None
    if found is not None:
        every = [copy for of in rarities for copy in of]
        odds = [each for of in found.copies for each in of]
        judged = [
            whole.surprise(np.fmax(_surprise(kind_tails, _by_kind(copy.values)), own))
            for copy, own in zip(every, odds, strict=True)
        ]
        learned = Learned(found.odds, found.tails, fit_names(every, judged, surprise_of(HOURS)))
    return MarketScan(tuple(symbols), fit_usual(days), scales, tails, kind_tails, whole, learned)


def _rarities(
    measured: Sequence[Floats], shown: Sequence[Sequence[Floats]]
) -> tuple[tuple[Scale, ...], tuple[Tail, ...]]:
    """Scales and tails of the statistics of days; the values of days and of their copies become rarities, in place."""
    scales, tails = [], []
    for at in range(len(STATISTICS)):
        values = [day[:, at].copy() for day in measured]
        for without, (day, of) in enumerate(zip(measured, shown, strict=True)):
            scale = fit_scale([*values[:without], *values[without + 1 :]])
            for each in (day, *of):
                each[:, at] = scale.deviation(each[:, at])
        tail = fit_tail([row for day in measured for row in day[:, at]])
        for each in (*measured, *(copy for of in shown for copy in of)):
            each[:, at] = tail.surprise(each[:, at])
        scales.append(fit_scale(values))
        tails.append(tail)
    return tuple(scales), tuple(tails)


def _by_kind(rarities: Floats) -> Floats:
    """Symbols x KINDS x bins: the greatest of each kind's statistics."""
    return np.stack([highest_of_kind(rarities, kind) for kind in KINDS], axis=1)


def _surprise(tails: Sequence[Tail], values: Floats) -> Floats:
    return np.stack([tail.surprise(values[:, kind]) for kind, tail in enumerate(tails)], axis=1)
