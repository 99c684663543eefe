"""Evidence computed from arrays: the numbers of `models/evidence.py`, all signs and kinds at once."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl

from models.base import Scores
from models.evidence import GREATEST, KNOT_SURPRISES, STRONGEST_COPIES, Evidence, Indices
from models.profile import BUCKET_MINUTES, CLIP, EVERY_MARKET, WHOLE_DAY, group_name
from models.served.minutes import Minutes
from tapewatch.features.catalog import Feature, Transform

_NO_SURPRISE = -1.0
#: Symbols and times of day whose place is remembered.
_MOST_PLACES = 20_000

PROFILE, TAILS = "profile.parquet", "tails.parquet"


class EvidenceArrays:
    """The `fitted` evidence, laid out for single rows and batches. `markets` are those that it was fitted on."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """From the files of a detector saved in `folder`. Raises ValueError or OSError for what is no evidence."""
        return cls(Evidence.from_frames(*(pl.read_parquet(folder / name, glob=False) for name in (PROFILE, TAILS))))

    def __init__(self, evidence: Evidence) -> None:
        self.fitted, self.markets = evidence, evidence.markets
        profile = evidence.profile
        self._order, self._log1p, self._sqrt, self._signed = _by_transform(profile.features)
        self._rows = dict(profile.row_of)
        self._centre, self._scale = profile.centre[:, self._order], profile.scale[:, self._order]
        position = {profile.features[at].name: column for column, at in enumerate(self._order)}
        self._feature_of = np.array([position[sign.feature.name] for sign in evidence.signs])
        self._direction = np.array([1.0 if sign.is_high else -1.0 for sign in evidence.signs])
        self._market = {name: at for at, name in enumerate(evidence.tails)}
        tails = list(evidence.tails.values())
        knots = np.array([each.knots for each in tails])
        # A deviation of 0 is no surprise, even where the first knots are 0. Knots x markets x signs: sums over the first axis are fast.
        self._edges = np.ascontiguousarray(np.maximum(knots, np.nextafter(0.0, 1.0)).transpose(2, 0, 1))
        self._pieces, self._first_piece = _pieces_of(knots, np.array([each.tail for each in tails]))
        self._members = _members(evidence)
        self._places: dict[tuple[str, int], int] = {}

    def inputs(self, minutes: Minutes) -> Scores:
        """The forest's inputs, rows x inputs, as `Evidence.inputs`; `minutes.features` are the profile's, in their order."""
        surprises = self.surprises(minutes)
        rows, signs = surprises.shape
        padded = np.empty((rows, signs + 1))
        padded[:, :signs], padded[:, signs] = surprises, _NO_SURPRISE
        kinds = len(self._members)
        leading = padded.take(self._members.ravel(), axis=1).reshape(rows, kinds, -1)
        leading.partition(leading.shape[2] - 2, axis=2)
        out = np.empty((rows, kinds + STRONGEST_COPIES))
        evidence = out[:, :kinds]
        np.add(leading[:, :, -1], leading[:, :, -2], out=evidence)
        evidence *= 0.5
        out[:, kinds:] = evidence.max(axis=1, keepdims=True)
        return out

    def surprises(self, minutes: Minutes) -> Scores:
        """Rows x signs, as `Evidence.surprises`."""
        buckets = (minutes.session_minutes // BUCKET_MINUTES).tolist()
        places = np.array(list(map(self._place, minutes.symbols, buckets)), dtype=np.int64)
        at, market = np.divmod(places, len(self._market))
        deviation = self._transformed(minutes.values)
        deviation -= self._centre.take(at, axis=0)
        deviation /= self._scale.take(at, axis=0)
        np.copyto(deviation, 0.0, where=np.isnan(deviation))
        np.minimum(np.maximum(deviation, -CLIP, out=deviation), CLIP, out=deviation)
        return self._surprises(deviation.take(self._feature_of, axis=1) * self._direction, market)

    def _place(self, symbol: str, bucket: int) -> int:
        """What a symbol's minute is compared with: the row of the profile, times the number of markets, and the market's tails."""
        place = self._places.get((symbol, bucket))
        if place is None:
            place = self._found(symbol, bucket)
            if len(self._places) < _MOST_PLACES:
                self._places[symbol, bucket] = place
        return place

    def _found(self, symbol: str, bucket: int) -> int:
        rows, market = self._rows, group_name(symbol)
        for key in ((symbol, bucket), (symbol, WHOLE_DAY), (market, WHOLE_DAY), (EVERY_MARKET, WHOLE_DAY)):
            if key in rows:
                return rows[key] * len(self._market) + self._market.get(market, self._market[EVERY_MARKET])
        raise KeyError(f"the profile has no row of {EVERY_MARKET}")

    def _transformed(self, values: Scores) -> Scores:
        """The values on the profile's scale, their columns in `_order`."""
        out = values.take(self._order, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            if self._log1p is not None:
                np.log1p(out[:, self._log1p], out=out[:, self._log1p])
            if self._sqrt is not None:
                np.sqrt(out[:, self._sqrt], out=out[:, self._sqrt])
            if self._signed is not None:
                part = out[:, self._signed]
                np.copysign(np.log1p(np.abs(part)), part, out=part)
        return out

    def _surprises(self, directed: Scores, market: Indices) -> Scores:
        """`Tails.surprises` of each row by its market's tails: rows x signs."""
        reached = directed >= self._edges.take(market, axis=1)
        piece = self._first_piece.take(market, axis=0)
        piece += np.add.reduce(reached.view(np.int8), axis=0, dtype=np.int8)
        floor, slope, base = (each.take(piece) for each in self._pieces)
        directed -= floor
        directed *= slope
        directed += base
        return np.minimum(directed, GREATEST, out=directed)


def _pieces_of(knots: Scores, tail: Scores) -> tuple[tuple[Scores, Scores, Scores], Indices]:
    """Floor, slope and base of each piece of surprise, flat, and the first piece of each market and sign.

    The pieces are below the first knot, between knots, and the tail. Of equal knots the last one counts.
    """
    floor = np.concatenate([np.zeros_like(knots[:, :, :1]), knots], axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = np.nan_to_num(np.diff(KNOT_SURPRISES) / np.diff(knots, axis=2), posinf=0.0)
    slope = np.concatenate([np.zeros_like(between[:, :, :1]), between, 1.0 / tail[:, :, None]], axis=2)
    base = np.broadcast_to(np.concatenate([[0.0], KNOT_SURPRISES]), floor.shape)
    first = np.arange(floor.shape[0] * floor.shape[1]).reshape(floor.shape[:2]) * floor.shape[2]
    return (floor.ravel(), slope.ravel(), base.ravel().copy()), first


def _by_transform(features: Sequence[Feature]) -> tuple[Indices, slice | None, slice | None, slice | None]:
    """Positions of the features, those of one transform side by side, and where each transform's are."""
    wanted = (Transform.LOG1P, Transform.SQRT, Transform.SIGNED_LOG1P)
    groups = [[at for at, feature in enumerate(features) if feature.transform is each] for each in wanted]
    rest = [at for at, feature in enumerate(features) if feature.transform is Transform.NONE]
    ends = np.cumsum([0, *map(len, groups)]).tolist()
    log1p, sqrt, signed = (slice(a, b) if b > a else None for a, b in pairwise(ends))
    return np.array([at for group in (*groups, rest) for at in group], dtype=np.int64), log1p, sqrt, signed


def _members(evidence: Evidence) -> Indices:
    """Kinds x the most signs of one: each kind's signs, filled up with a column that surprises nobody.

    A kind with one sign has it twice, since its evidence is that sign's surprise.
    """
    of_kind = [[at for at, sign in enumerate(evidence.signs) if sign.kind == kind] for kind in evidence.kinds]
    doubled = [signs * 2 if len(signs) == 1 else signs for signs in of_kind]
    width, filler = max(map(len, doubled)), len(evidence.signs)
    return np.array([signs + [filler] * (width - len(signs)) for signs in doubled], dtype=np.int64)
