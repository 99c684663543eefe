"""Evidence computed from arrays: the numbers of `models/evidence.py`, all signs and kinds at once."""

from collections.abc import Sequence
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


PROFILE, TAILS = "profile.parquet", "tails.parquet"


class EvidenceArrays:
    """A fitted `Evidence`, laid out for single rows and batches. `markets` are those that it was fitted on."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """From the files of a detector saved in `folder`. Raises ValueError or OSError for what is no evidence."""
        return cls(Evidence.from_frames(*(pl.read_parquet(folder / name, glob=False) for name in (PROFILE, TAILS))))

    def __init__(self, evidence: Evidence) -> None:
        self.markets = evidence.markets
        profile = evidence.profile
        self._rows, self._centre, self._scale = dict(profile.row_of), profile.centre, profile.scale
        self._transforms = _columns_of(profile.features)
        position = {feature.name: at for at, feature in enumerate(profile.features)}
        self._feature_of = np.array([position[sign.feature.name] for sign in evidence.signs])
        self._direction = np.array([1.0 if sign.is_high else -1.0 for sign in evidence.signs])
        self._signs = np.arange(len(evidence.signs))
        self._market = {name: at for at, name in enumerate(evidence.tails)}
        tails = list(evidence.tails.values())
        self._knots, self._tail = np.array([each.knots for each in tails]), np.array([each.tail for each in tails])
        with np.errstate(divide="ignore", invalid="ignore"):
            steps = np.diff(KNOT_SURPRISES) / np.diff(self._knots, axis=2)
        # Beyond the last knot the tail takes over; of equal knots the last one counts.
        self._slope = np.concatenate([np.nan_to_num(steps, posinf=0.0), np.zeros((*steps.shape[:2], 1))], axis=2)
        self._members = _members(evidence)

    def inputs(self, minutes: Minutes) -> Scores:
        """The forest's inputs, rows x inputs, as `Evidence.inputs`; `minutes.features` are the profile's, in their order."""
        surprises = self.surprises(minutes)
        padded = np.concatenate([surprises, np.full((len(surprises), 1), _NO_SURPRISE)], axis=1)
        leading = np.partition(padded[:, self._members], -2, axis=2)[:, :, -2:]
        evidence = (leading[:, :, 0] + leading[:, :, 1]) / 2.0
        strongest = evidence.max(axis=1, keepdims=True)
        return np.asarray(np.concatenate([evidence, np.repeat(strongest, STRONGEST_COPIES, axis=1)], axis=1))

    def surprises(self, minutes: Minutes) -> Scores:
        """Rows x signs, as `Evidence.surprises`."""
        buckets = (minutes.session_minutes // BUCKET_MINUTES).tolist()
        pairs = [self._place(symbol, bucket) for symbol, bucket in zip(minutes.symbols, buckets, strict=True)]
        at, market = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        deviation = (self._transformed(minutes.values) - self._centre[at]) / self._scale[at]
        deviation = np.minimum(np.maximum(np.where(np.isnan(deviation), 0.0, deviation), -CLIP), CLIP)
        return self._surprises(deviation[:, self._feature_of] * self._direction, market)

    def _place(self, symbol: str, bucket: int) -> tuple[int, int]:
        """The row of the profile and the tails that a symbol's minute is compared with."""
        rows, market = self._rows, group_name(symbol)
        for key in ((symbol, bucket), (symbol, WHOLE_DAY), (market, WHOLE_DAY), (EVERY_MARKET, WHOLE_DAY)):
            if key in rows:
                return rows[key], self._market.get(market, self._market[EVERY_MARKET])
        raise KeyError(f"the profile has no row of {EVERY_MARKET}")

    def _transformed(self, values: Scores) -> Scores:
        out = values.copy()
        with np.errstate(invalid="ignore"):
            for transform, columns in self._transforms:
                part = values[:, columns]
                match transform:
                    case Transform.LOG1P:
                        out[:, columns] = np.log1p(part)
                    case Transform.SQRT:
                        out[:, columns] = np.sqrt(part)
                    case Transform.SIGNED_LOG1P:
                        out[:, columns] = np.sign(part) * np.log1p(np.abs(part))
        return out

    def _surprises(self, directed: Scores, market: Indices) -> Scores:
        """`Tails.surprises` of each row by its market's tails: rows x signs."""
        knots = self._knots[market]
        last = (directed[:, :, None] >= knots).sum(axis=2) - 1
        between = np.maximum(last, 0)
        of_row, of_sign = market[:, None], self._signs[None, :]
        floor, slope = self._knots[of_row, of_sign, between], self._slope[of_row, of_sign, between]
        inside = slope * (directed - floor) + KNOT_SURPRISES[between]
        inside = np.where((directed > 0) & (last >= 0), inside, 0.0)
        beyond = np.maximum(directed - knots[:, :, -1], 0.0) / self._tail[market]
        return np.asarray(np.minimum(inside + beyond, GREATEST))


def _columns_of(features: Sequence[Feature]) -> list[tuple[Transform, Indices]]:
    wanted = [each for each in Transform if each is not Transform.NONE]
    columns = [(each, np.array([at for at, f in enumerate(features) if f.transform is each])) for each in wanted]
    return [(each, at) for each, at in columns if at.size]


def _members(evidence: Evidence) -> Indices:
    """Kinds x the most signs of one: each kind's signs, filled up with a column that surprises nobody.

    A kind with one sign has it twice, since its evidence is that sign's surprise.
    """
    of_kind = [[at for at, sign in enumerate(evidence.signs) if sign.kind == kind] for kind in evidence.kinds]
    doubled = [signs * 2 if len(signs) == 1 else signs for signs in of_kind]
    width, filler = max(map(len, doubled)), len(evidence.signs)
    return np.array([signs + [filler] * (width - len(signs)) for signs in doubled], dtype=np.int64)
