"""The meta-model: whether a bet wins after costs, by a regression on what is known at its signal (López de Prado 2018, section 3.6).

The first model, a strategy, chooses the side; this one says how likely the bet is to pay. It abstains where earlier bets are few,
and altogether where it is not clearly better than the shrunken rate of `confidence` on bets that neither was fitted to.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.special import expit

from tapewatch.labels.training.splits import LabelSpans, WalkForward
from tapewatch.trading.signals.confidence import confidence

Floats = npt.NDArray[np.float64]
#: Fewer bets fit no model; for a strategy with fewer of its own it abstains; a rarer kind, regime or detector has no weight of its own.
LEAST_BETS, LEAST_OF_STRATEGY, LEAST_OF_LEVEL = 200, 50, 20
#: Blocks of bets on which a model of the bets before is tested.
FOLDS = 4
#: Its out-of-sample gain over the rate, in standard errors.
_LEAST_GAIN = 2.0
_TEXTS = ("strategy", "kind", "regime", "detector")
_PENALTY = 1.0
_DAY_NS = 86_400 * 10**9
_LEAST_CHANCE = 1e-6


@dataclass(frozen=True, eq=False)
class _Regression:
    """A logistic regression on standardised columns: log odds = bias + Σ weight × (value − mean) / deviation."""

    levels: tuple[tuple[str, str], ...]
    mean: Floats
    deviation: Floats
    weights: Floats
    bias: float

    @classmethod
    def fit(cls, bets: pl.DataFrame) -> Self:
        from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - takes a second to import

        texts = bets.select(pl.col(name).cast(pl.String) for name in _TEXTS)
        levels = tuple(
            (name, level)
            for name in _TEXTS
            for level, count in texts[name].value_counts().sort(name).iter_rows()
            if count >= LEAST_OF_LEVEL
        )
        values = _columns(bets, levels, "event_time")
        mean, deviation = values.mean(axis=0), values.std(axis=0)
        deviation = np.where(deviation > 0, deviation, 1.0)
        fitted = LogisticRegression(C=_PENALTY, solver="newton-cholesky").fit(
            (values - mean) / deviation, bets["label"]
        )
        return cls(levels, mean, deviation, fitted.coef_[0], float(fitted.intercept_[0]))

    def log_odds(self, bets: pl.DataFrame, time: str) -> Floats:
        values = (_columns(bets, self.levels, time) - self.mean) / self.deviation
        return np.asarray(values @ self.weights + self.bias)


def _columns(bets: pl.DataFrame, levels: tuple[tuple[str, str], ...], time: str) -> Floats:
    """One row a bet: side, size of the target, cost over it, time of day, and whether it has each level; NaN where one is unknown."""
    angle = pl.col(time).dt.epoch("ns").mod(_DAY_NS) * (2.0 * np.pi / _DAY_NS)
    frame = bets.select(
        side=pl.col("side").cast(pl.Float64),
        target=pl.col("target_bps").log(),
        cost=pl.col("cost_bps") / pl.col("target_bps"),
        sine=angle.sin(),
        cosine=angle.cos(),
        **{f"{name}={level}": (pl.col(name).cast(pl.String) == level).cast(pl.Float64) for name, level in levels},
    )
    return frame.fill_null(np.nan).to_numpy().astype(np.float64)


@dataclass(frozen=True, eq=False)
class MetaModel:
    """A fitted meta-model.

    Attributes:
        bets: number of earlier bets that it was fitted to.
        gain: how much lower its log loss is than the shrunken rate's, on bets of later blocks, in nats a bet.
        strategies: those with bets enough; for others it abstains.
    """

    bets: int
    gain: float
    strategies: frozenset[str]
    _regression: _Regression
    _slope: float
    _offset: float

    @classmethod
    def fit(cls, history: pl.DataFrame) -> Self | None:
        """The model of earlier bets; None where they are few, or where the rate does as well.

        Each block of bets but the first is predicted by a model of the bets whose outcome was known before it. The predictions are
        held against the rate's, and calibrate the model of all bets (Platt 1999).

        Args:
            history: OUTCOMES.
        """
        past = history.sort("event_time", *(pl.col(name).cast(pl.String) for name in ("symbol", "strategy", "partner")))
        if past.height < LEAST_BETS:
            return None
        tested = [
            (past[test]["label"].to_numpy(), _Regression.fit(past[train]).log_odds(past[test], "event_time"), _rate(past, train, test))
            for train, test in WalkForward(LabelSpans.of(past), FOLDS).split(past)
            if past[train]["label"].n_unique() == 2
        ]  # fmt: skip
        if not tested or past["label"].n_unique() < 2:
            return None
        won, odds, rate = (np.concatenate(part).astype(np.float64) for part in zip(*tested, strict=True))
        gains = _loss(rate, won) - _loss(expit(odds), won)
        slope, offset = _calibration(odds, won)
        error = gains.std(ddof=1) / np.sqrt(gains.size)
        if not gains.mean() > _LEAST_GAIN * error or slope <= 0:
            return None
        counts = past.group_by(pl.col("strategy").cast(pl.String)).len().filter(pl.col("len") >= LEAST_OF_STRATEGY)
        known = frozenset(counts["strategy"])
        return cls(past.height, float(gains.mean()), known, _Regression.fit(past), slope, offset)

    def confidence(self, signals: pl.DataFrame, time: str = "known_time") -> pl.Series:
        """The probability that each bet wins; null where the model abstains: another strategy, or no target or cost.

        Args:
            signals: strategy, kind, regime, detector, side, target_bps, cost_bps and the time.
            time: the column that says when the bet is decided on.
        """
        chance = expit(self._slope * self._regression.log_odds(signals, time) + self._offset)
        speaks = signals["strategy"].cast(pl.String).is_in(list(self.strategies))
        return pl.Series("confidence", np.where(speaks.to_numpy(), chance, np.nan)).fill_nan(None)


def _rate(past: pl.DataFrame, train: npt.NDArray[np.int64], test: npt.NDArray[np.int64]) -> Floats:
    return confidence(past[test], past[train])["confidence"].to_numpy()


def _loss(chance: Floats, won: Floats) -> Floats:
    kept = np.clip(chance, _LEAST_CHANCE, 1.0 - _LEAST_CHANCE)
    return np.asarray(-np.where(won == 1, np.log(kept), np.log1p(-kept)))


def _calibration(odds: Floats, won: Floats) -> tuple[float, float]:
    """Slope and offset of the log odds that were predicted out of sample."""
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - as above

    fitted = LogisticRegression(C=1e6, solver="newton-cholesky").fit(odds[:, None], won)
    return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
