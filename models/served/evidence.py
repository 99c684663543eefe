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
from models.served.minutes import Minutes, distinct_below
from tapewatch.features.catalog import Feature, Transform

_NO_SURPRISE = -1.0
#: Rows from which work goes along the rows.
_BATCH = 32
#: Symbols and times of day whose place is remembered.
_MOST_PLACES = 20_000

PROFILE, TAILS = "profile.parquet", "tails.parquet"


class EvidenceArrays:
    """The `fitted` evidence, laid out for single rows and batches. `markets` are those that it was fitted on.

    Arrays within are features, signs or kinds x rows: work on one of them goes along the rows of a batch.
    """

    @classmethod
    def load(cls, folder: Path) -> Self:
        """From the files of a detector saved in `folder`. Raises ValueError or OSError for what is no evidence."""
        return cls(Evidence.from_frames(*(pl.read_parquet(folder / name, glob=False) for name in (PROFILE, TAILS))))

    def __init__(self, evidence: Evidence) -> None:
        self.fitted, self.markets = evidence, evidence.markets
        profile = evidence.profile
        self._order, self._log1p, self._sqrt, self._signed = _by_transform(profile.features)
        self._rows = dict(profile.row_of)
        self._centre, self._scale = (
            np.ascontiguousarray(each[:, self._order].T) for each in (profile.centre, profile.scale)
        )
        position = {profile.features[at].name: column for column, at in enumerate(self._order)}
        self._feature_of = np.array([position[sign.feature.name] for sign in evidence.signs])
        self._direction = np.array([[1.0 if sign.is_high else -1.0] for sign in evidence.signs])
        self._market = {name: at for at, name in enumerate(evidence.tails)}
        tails = list(evidence.tails.values())
        knots = np.array([each.knots for each in tails])
        # A deviation of 0 is no surprise, even where the first knots are 0. Markets x knots x signs x 1.
        edges = np.maximum(knots, np.nextafter(0.0, 1.0)).transpose(0, 2, 1)
        self._edges = np.ascontiguousarray(edges)[:, :, :, None]
        self._pieces, first_piece = _pieces_of(knots, np.array([each.tail for each in tails]))
        self._first_piece = first_piece[:, :, None]
        self._members = np.ascontiguousarray(_members(evidence).T)
        self._places: dict[tuple[str, int], int] = {}

    def inputs(self, minutes: Minutes) -> Scores:
        """The forest's inputs, rows x inputs, as `Evidence.inputs`; `minutes.features` are the profile's, in their order."""
        surprises = self._surprises(minutes)
        signs, rows = surprises.shape
        padded = np.empty((signs + 1, rows))
        padded[:signs], padded[signs] = surprises, _NO_SURPRISE
        kinds = self._members.shape[1]
        out = np.empty((kinds + STRONGEST_COPIES, rows))
        evidence = out[:kinds]
        np.add(*_two_greatest(padded.take(self._members, axis=0)), out=evidence)
        evidence *= 0.5
        out[kinds:] = evidence.max(axis=0)
        return out.T

    def surprises(self, minutes: Minutes) -> Scores:
        """Rows x signs, as `Evidence.surprises`."""
        return self._surprises(minutes).T

    def _surprises(self, minutes: Minutes) -> Scores:
        """Signs x rows."""
        at, market = self._places_of(minutes)
        deviation = self._transformed(minutes.values)
        deviation -= self._centre.take(at, axis=1)
        deviation /= self._scale.take(at, axis=1)
        np.copyto(deviation, 0.0, where=np.isnan(deviation))
        np.minimum(np.maximum(deviation, -CLIP, out=deviation), CLIP, out=deviation)
        directed = deviation.take(self._feature_of, axis=0)
        directed *= self._direction
        first = market[0]
        if len(market) == 1 or (market == first).all():
            return self._of_market(directed, first)
        for each in np.unique(market):
            mine = market == each
            directed[:, mine] = self._of_market(directed[:, mine], each)
        return directed

    def _of_market(self, directed: Scores, market: np.int64) -> Scores:
        """`Tails.surprises` by a market's tails, in the place of `directed` (signs x rows)."""
        reached = (directed >= self._edges[market]).view(np.int8)
        piece = np.add.reduce(reached, axis=0, dtype=np.int8) + self._first_piece[market]
        floor, slope, base = (each.take(piece) for each in self._pieces)
        directed -= floor
        directed *= slope
        directed += base
        return np.minimum(directed, GREATEST, out=directed)

    def _places_of(self, minutes: Minutes) -> tuple[Indices, Indices]:
        """What each row is compared with: its row of the profile and its market's tails."""
        buckets = minutes.session_minutes // BUCKET_MINUTES
        if len(minutes) == 1:
            places = np.array([self._place(minutes.names[minutes.of_name[0]], int(buckets[0]))])
        else:
            lowest = int(buckets.min())
            width = int(buckets.max()) - lowest + 1
            keys = minutes.of_name * width + (buckets - lowest)
            found = np.zeros(len(minutes.names) * width, dtype=np.int64)
            for key in distinct_below(len(found), keys):
                name, bucket = divmod(key, width)
                found[key] = self._place(minutes.names[name], bucket + lowest)
            places = found.take(keys)
        return np.divmod(places, len(self._market))

    def _place(self, symbol: str, bucket: int) -> int:
        """The row of the profile of a symbol's minute, times the number of markets, and the market's tails."""
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
        """The values (rows x features) on the profile's scale: features in `_order` x rows."""
        out = values.T.take(self._order, axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            if self._log1p is not None:
                np.log1p(out[self._log1p], out=out[self._log1p])
            if self._sqrt is not None:
                np.sqrt(out[self._sqrt], out=out[self._sqrt])
            if self._signed is not None:
                part = out[self._signed]
                np.copysign(np.log1p(np.abs(part)), part, out=part)
        return out


def _two_greatest(values: Scores) -> tuple[Scores, Scores]:
    """The greatest and the second along the first axis of width x kinds x rows."""
    if values.shape[2] < _BATCH:
        values.partition(values.shape[0] - 2, axis=0)
        return values[-1], values[-2]
    # For many rows a comparison of whole rows at a time is several times as fast.
    greatest, second = np.maximum(values[0], values[1]), np.minimum(values[0], values[1])
    for each in values[2:]:
        np.maximum(second, np.minimum(greatest, each), out=second)
        np.maximum(greatest, each, out=greatest)
    return greatest, second


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
