"""Evidence for each kind of anomaly: the forest's inputs.

A surprise is minus the log of how often the market's training minutes deviated as far in that direction, so features with
heavy and with light tails have equal weight. The evidence for a kind is the mean of its two greatest surprises, so one odd
feature counts less than two. Directions to which the catalog gives no kind do not count.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl

from models.profile import EVERY_MARKET, Floats, Profile, group_names, held_out_deviations
from tapewatch.features.catalog import FEATURES, Feature

Indices = npt.NDArray[np.int64]

#: Trailing measures would stay extreme for half an hour after an anomaly.
_TRAILING = frozenset(
    {"trailing_return_bps", "drawdown_bps", "roll_spread_bps", "amihud_illiquidity", "kyle_lambda", "vpin"}
)
#: These repeat other features (or, for depth, say little of who trades) and would count the same finding twice.
_REPEATING = frozenset({"effective_spread_bps", "depth_imbalance", "best_level_ofi"})
DETECTOR_FEATURES: tuple[Feature, ...] = tuple(f for f in FEATURES if f.name not in _TRAILING | _REPEATING)

#: Quantiles of a direction's deviations that are stored; an exponential tail follows the last.
_SHARES = (0.5, 0.8, 0.9, 0.95)
KNOT_SURPRISES = np.array([0.0, *(-np.log(1.0 - share) for share in _SHARES[1:])])
#: Least mean excess of the tail, in scales, and greatest surprise.
_SHORTEST_TAIL, GREATEST = 0.25, 20.0
#: Copies of the strongest evidence among the inputs, so that trees choose it more often.
STRONGEST_COPIES = 8
#: A wide range alone is no crash: the price must have fallen.
_CRASH, _FALL = "flash_crash", "return_score"
_SILENCE = "tape_age_s"
_SIGNS_AVERAGED = 2


@dataclass(frozen=True, slots=True)
class Sign:
    """A direction of a feature that is evidence for a kind of anomaly."""

    feature: Feature
    is_high: bool
    kind: str


def signs(features: Sequence[Feature]) -> tuple[Sign, ...]:
    """Every direction of `features` with a kind in the catalog, in order, and a fall as the second sign of a crash."""
    pairs = [(feature, *way) for feature in features for way in ((True, feature.high), (False, feature.low))]
    of_catalog = (Sign(feature, is_high, kind) for feature, is_high, kind in pairs if kind is not None)
    falls = (Sign(feature, is_high=False, kind=_CRASH) for feature in features if feature.name == _FALL)
    return (*of_catalog, *falls)


@dataclass(frozen=True)
class Tails:
    """Distribution of each sign's deviations: quantiles `knots` (signs x 4) and mean excess `tail` (signs) over the last.

    The tail is exponential. Its mean comes from the median excess (mean = median / ln 2), since the few anomalies among the
    training minutes would dominate the plain mean.
    """

    knots: Floats
    tail: Floats

    @classmethod
    def fit(cls, directed: Floats) -> Self:
        """Fit on rows x signs."""
        knots = np.maximum.accumulate(np.maximum(np.quantile(directed, _SHARES, axis=0).T, 0.0), axis=1)
        excess = [column[column > last] - last for column, last in zip(directed.T, knots[:, -1], strict=True)]
        medians = np.array([np.median(beyond) if beyond.size else 0.0 for beyond in excess])
        return cls(knots, np.maximum(medians / np.log(2.0), _SHORTEST_TAIL))

    def surprises(self, directed: Floats) -> Floats:
        """Surprises of rows x signs."""
        out = np.empty_like(directed)
        for i, (knots, tail) in enumerate(zip(self.knots, self.tail, strict=True)):
            beyond = np.maximum(directed[:, i] - knots[-1], 0.0) / tail
            # A deviation of 0 is never surprising, even if knots are 0.
            inside = np.where(directed[:, i] > 0, np.interp(directed[:, i], knots, KNOT_SURPRISES), 0.0)
            out[:, i] = np.minimum(inside + beyond, GREATEST)
        return out


@dataclass(frozen=True)
class Evidence:
    """The fitted transformation of feature rows to the forest's inputs.

    `tails` has an entry for each market (`group_name`), and one of all markets for unseen markets.
    """

    profile: Profile
    tails: Mapping[str, Tails]

    @classmethod
    def fit(cls, rows: pl.DataFrame, features: Sequence[Feature]) -> tuple[Self, Floats]:
        """Fit on `rows` alone; also returns the inputs of `rows` to fit the forest on.

        With more than one day, a day's deviations are measured from a profile of the other days. So differences from day to
        day are part of the usual deviations.
        """
        deviations = held_out_deviations(rows, features)
        fitted = cls.of_deviations(rows, deviations, features)
        return fitted, fitted.inputs_of(fitted.surprises_of(deviations, rows["symbol"]))

    @classmethod
    def of_deviations(cls, rows: pl.DataFrame, deviations: Floats, features: Sequence[Feature]) -> Self:
        """Fit on `rows` and their `deviations`, each day's from a profile of the other days."""
        directed, markets = _directed(deviations, features), np.array(group_names(rows["symbol"]))
        tails = {str(name): Tails.fit(directed[markets == name]) for name in np.unique(markets)}
        return cls(Profile.fit(rows, features), {EVERY_MARKET: Tails.fit(directed), **tails})

    @property
    def markets(self) -> frozenset[str]:
        """The `group_name` of each market that was fitted."""
        return frozenset(self.tails) - {EVERY_MARKET}

    @property
    def signs(self) -> tuple[Sign, ...]:
        """The signs of the surprises' columns."""
        return signs(self.profile.features)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of anomaly, in the order of the first inputs."""
        return tuple(sorted({sign.kind for sign in self.signs}))

    def inputs(self, rows: pl.DataFrame) -> Floats:
        """The forest's inputs: evidence for each of `kinds`, then copies of the strongest."""
        return self.inputs_of(self.surprises(rows))

    def held_out_inputs(self, rows: pl.DataFrame) -> Floats:
        """The inputs of the training rows, each day measured from a profile of the other days, as `fit` returned them."""
        deviations = held_out_deviations(rows, self.profile.features)
        return self.inputs_of(self.surprises_of(deviations, rows["symbol"]))

    def surprises(self, rows: pl.DataFrame) -> Floats:
        """Rows x signs, not negative; 0 for a null feature."""
        return self.surprises_of(self.profile.standardise(rows), rows["symbol"])

    def surprises_of(self, deviations: Floats, symbols: pl.Series) -> Floats:
        """Surprises of standardised deviations of `symbols`, a row each."""
        directed, markets = _directed(deviations, self.profile.features), np.array(group_names(symbols))
        out = np.empty_like(directed)
        for name in np.unique(markets):
            mine = markets == name
            out[mine] = self.tails.get(str(name), self.tails[EVERY_MARKET]).surprises(directed[mine])
        return out

    def inputs_of(self, surprises: Floats) -> Floats:
        """The forest's inputs from surprises."""
        evidence = np.column_stack(
            [np.take_along_axis(surprises, self._leading(surprises, kind), axis=1).mean(axis=1) for kind in self.kinds]
        )
        return np.column_stack([evidence, *[evidence.max(axis=1)] * STRONGEST_COPIES])

    def silence(self, surprises: Floats) -> Floats:
        """Of surprises of feature rows: how surprising the time since the symbol's last trade or quote is."""
        return surprises[:, next(i for i, sign in enumerate(self.signs) if sign.feature.name == _SILENCE)]

    def to_features(self, rows: pl.DataFrame, contributions: Floats) -> Floats:
        """Distribute the inputs' contributions over the features; each row's sum stays the same.

        An input's contribution is shared by the surprises of which it is the mean, in proportion to them.

        Args:
            rows: feature rows.
            contributions: rows x inputs.

        Returns:
            Rows x features, in the profile's order.
        """
        surprises = self.surprises(rows)
        strongest = self._strongest(self.inputs_of(surprises))
        of_strongest = contributions[:, len(self.kinds) :].sum(axis=1)
        position = {feature.name: i for i, feature in enumerate(self.profile.features)}
        feature_of = np.array([position[sign.feature.name] for sign in self.signs], dtype=np.int64)
        out = np.zeros((rows.height, len(position)))
        for i, kind in enumerate(self.kinds):
            total = contributions[:, i] + np.where(strongest == i, of_strongest, 0.0)
            leading = self._leading(surprises, kind)
            weight = np.take_along_axis(surprises, leading, axis=1)
            mass = weight.sum(axis=1, keepdims=True)
            share = np.where(mass > 0, weight / np.where(mass > 0, mass, 1.0), 1.0 / leading.shape[1])
            for column in range(leading.shape[1]):
                out[np.arange(rows.height), feature_of[leading[:, column]]] += total * share[:, column]
        return out

    def _strongest(self, inputs: Floats) -> Indices:
        return np.asarray(inputs[:, : len(self.kinds)].argmax(axis=1))

    def _leading(self, surprises: Floats, kind: str) -> Indices:
        """Rows x 2 (or 1): the signs of `kind` with the greatest surprises, greatest first."""
        members = np.array([i for i, sign in enumerate(self.signs) if sign.kind == kind], dtype=np.int64)
        order = np.argsort(-surprises[:, members], axis=1, kind="stable")
        return np.asarray(members[order[:, :_SIGNS_AVERAGED]])

    def to_frame(self) -> pl.DataFrame:
        """The tails as a table: market, feature, is_high, kind, knot_0 … knot_3, tail."""
        return pl.concat(
            pl.DataFrame(
                {
                    "market": [market] * len(self.signs),
                    "feature": [sign.feature.name for sign in self.signs],
                    "is_high": [sign.is_high for sign in self.signs],
                    "kind": [sign.kind for sign in self.signs],
                    **{f"knot_{i}": tails.knots[:, i] for i in range(len(_SHARES))},
                    "tail": tails.tail,
                }
            )
            for market, tails in self.tails.items()
        )

    @classmethod
    def from_frames(cls, profile: pl.DataFrame, tails: pl.DataFrame) -> Self:
        """The evidence that `Profile.to_frame` and `to_frame` wrote.

        Raises:
            ValueError: the signs of the tails are not those of the catalog.
        """
        knots = [f"knot_{i}" for i in range(len(_SHARES))]
        parts = tails.partition_by("market", as_dict=True, maintain_order=True)
        by_market = {str(key[0]): Tails(part[knots].to_numpy(), part["tail"].to_numpy()) for key, part in parts.items()}
        restored = cls(Profile.from_frame(profile), by_market)
        stored = tails.select("feature", "is_high", "kind").rows()
        known = [(sign.feature.name, sign.is_high, sign.kind) for sign in restored.signs]
        if stored != known * len(restored.tails):
            raise ValueError("the catalog reads these features' directions otherwise: train again")
        return restored


def _directed(deviations: Floats, features: Sequence[Feature]) -> Floats:
    """Deviations in each sign's direction; negative for the opposite direction."""
    column = dict(zip((feature.name for feature in features), deviations.T, strict=True))
    return np.column_stack([column[sign.feature.name] * (1.0 if sign.is_high else -1.0) for sign in signs(features)])
