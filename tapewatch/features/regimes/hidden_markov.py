"""A hidden Markov model of three volatility states, fitted with hmmlearn on earlier days and filtered forwards."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from tapewatch.market.arrays import Array

STATES = ("calm", "normal", "turbulent")
#: Fewest blocks of a symbol for its own scale, and of all symbols for a fit.
ENOUGH_OF_SYMBOL, ENOUGH = 30, 200
#: Series of a fit at most, spread over all; more add little.
_MOST_SERIES = 300
_TO_DEVIATION, _BOUND = 1.4826, 3.0
#: Quantiles of a symbol's own log volatility between which a block is usual.
LOW_QUANTILE, HIGH_QUANTILE = 0.1, 0.9


@dataclass(frozen=True)
class Scale:
    """A symbol's ordinary log volatility: median, robust deviation, and the bounds of the usual."""

    median: float
    deviation: float
    low: float
    high: float


@dataclass(frozen=True)
class RegimeModel:
    """The states by rising mean of log volatility in a symbol's own scale: means, their one variance, start and transitions.

    With one variance a higher volatility never makes a calmer state more probable.
    """

    means: Array
    variance: float
    start: Array
    transitions: Array
    scales: Mapping[str, Scale]

    @classmethod
    def fit(cls, days: Sequence[tuple[tuple[str, ...], Array]]) -> Self | None:
        """Fit on earlier days: of each the symbols, and log volatilities (blocks x symbols, NaN where there is none).

        Returns: None if there are fewer than 200 blocks of symbols with 30 or more that vary.
        """
        from tapewatch.features.regimes.baum_welch import fitted  # noqa: PLC0415 - hmmlearn takes half a second

        scales = _scales(days)
        series = [
            _within(values, scales[symbol].median, scales[symbol].deviation)
            for symbols, day in days
            for symbol, column in zip(symbols, day.T, strict=True)
            if symbol in scales and (values := column[np.isfinite(column)]).size > 1
        ]
        if sum(map(len, series)) < ENOUGH:
            return None
        series = series[:: -(-len(series) // _MOST_SERIES)]
        model = fitted(series, len(STATES))
        order = np.argsort(model.means_[:, 0], kind="stable")
        return cls(
            means=model.means_[order, 0],
            variance=float(model.covars_[0, 0, 0]),
            start=model.startprob_[order],
            transitions=model.transmat_[np.ix_(order, order)],
            scales=scales,
        )

    def filtered(self, symbols: tuple[str, ...], volatility: Array) -> Array:
        """Probability of each state given the blocks up to each: blocks x symbols x states.

        A block without a value is passed over: its probabilities follow from the block before. NaN before a symbol's first
        block, and for a symbol without a scale.
        """
        found = np.full((*volatility.shape, len(STATES)), np.nan)
        scaled = self._scaled(symbols, volatility)
        state = np.full((len(symbols), len(STATES)), np.nan)
        for block, values in enumerate(scaled):
            # Added term by term: a symbol's rounding must not depend on how many symbols there are.
            next_state = sum(state[:, at : at + 1] * self.transitions[at] for at in range(len(STATES)))
            prior = np.where(np.isnan(state), self.start, next_state)
            distance = (values[:, None] - self.means) ** 2 / self.variance
            # The nearest state has likelihood 1: an outlier must not make all of them 0.
            fit = np.exp(-0.5 * (distance - distance.min(axis=1, keepdims=True)))
            joint = prior * np.maximum(fit, 1e-300)
            updated = joint / joint.sum(axis=1, keepdims=True)
            has_started = ~np.isnan(state).any(axis=1, keepdims=True)
            state = np.where(np.isfinite(values)[:, None], updated, np.where(has_started, prior, np.nan))
            found[block] = state
        return found

    def _scaled(self, symbols: tuple[str, ...], volatility: Array) -> Array:
        scales = [self.scales.get(symbol) for symbol in symbols]
        median = np.array([scale.median if scale else np.nan for scale in scales])
        deviation = np.array([scale.deviation if scale else np.nan for scale in scales])
        return _within(volatility, median, deviation)


def _within(volatility: Array, median: Array | float, deviation: Array | float) -> Array:
    """Log volatility in deviations from the median, within bounds: a block without a move must not be a state of its own."""
    scaled: Array = np.clip((volatility - median) / deviation, -_BOUND, _BOUND)
    return scaled


def _scales(days: Sequence[tuple[tuple[str, ...], Array]]) -> dict[str, Scale]:
    values: dict[str, list[Array]] = {}
    for symbols, day in days:
        for symbol, column in zip(symbols, day.T, strict=True):
            values.setdefault(symbol, []).append(column[np.isfinite(column)])
    scales = {}
    for symbol, parts in values.items():
        found = np.concatenate(parts)
        if found.size < ENOUGH_OF_SYMBOL:
            continue
        median = float(np.median(found))
        deviation = _TO_DEVIATION * float(np.median(np.abs(found - median)))
        if deviation > 0:
            low, high = np.quantile(found, [LOW_QUANTILE, HIGH_QUANTILE])
            scales[symbol] = Scale(median, deviation, float(low), float(high))
    return scales
