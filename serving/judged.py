"""What the model makes of rows, as arrays: most requests need no object for each row."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from models.base import Scores
from models.served.minutes import Indices, Minutes
from serving.schemas import Reason, Verdict

#: The place of the reason of a row that is scored.
SCORED: Final = -1


@dataclass(frozen=True, slots=True)
class Judged:
    """Rows with their scores.

    Attributes:
        minutes: the rows, in their order.
        threshold: of the model.
        scores: of each row; NaN where it is not scored.
        hours: of ordinary tape between scores as high; NaN where the row is not scored or the model has no level.
        faults, of_fault: why rows are not scored, and the place of each row's reason among them; SCORED where it is scored.
        reasons: of each row, strongest first; empty if they were not asked for.
    """

    minutes: Minutes
    threshold: float
    scores: Scores
    hours: Scores
    faults: Sequence[str]
    of_fault: Indices
    reasons: Sequence[list[Reason]] = ()

    @classmethod
    def joined(cls, minutes: Minutes, parts: Sequence[Self]) -> Self:
        """The parts, at least one, of `minutes` as one."""
        if len(parts) == 1:
            return parts[0]
        faults = list(dict.fromkeys(fault for part in parts for fault in part.faults))
        places = [np.array([*(faults.index(fault) for fault in part.faults), SCORED])[part.of_fault] for part in parts]
        return cls(
            minutes,
            parts[0].threshold,
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.hours for part in parts]),
            faults,
            np.concatenate(places),
            [each for part in parts for each in part.reasons],
        )

    @property
    def is_scored(self) -> npt.NDArray[np.bool_]:
        """Whether each row is scored."""
        return self.of_fault == SCORED

    @property
    def is_anomaly(self) -> npt.NDArray[np.bool_]:
        """Whether each row is anomalous; one that is not scored is not."""
        return self.scores >= self.threshold

    def counts(self) -> tuple[int, int, int]:
        """How many rows are anomalous, ordinary and not scored."""
        scored, anomalies = int(np.count_nonzero(self.is_scored)), int(np.count_nonzero(self.is_anomaly))
        return anomalies, scored - anomalies, len(self) - scored

    def verdicts(self) -> list[Verdict]:
        """The verdict on each row."""
        minutes, threshold, faults = self.minutes, self.threshold, self.faults
        hours: list[float | None] = self.hours.tolist()
        for at in np.flatnonzero(np.isnan(self.hours)).tolist():
            hours[at] = None
        reasons = self.reasons or [[]] * len(self)
        columns = minutes.symbols, minutes.times, self.scores.tolist(), hours, self.of_fault.tolist(), reasons
        return [
            Verdict(symbol, time, score, threshold, score >= threshold, level, None, own)
            if fault == SCORED
            else Verdict(symbol, time, None, threshold, None, not_scored=faults[fault])
            for symbol, time, score, level, fault, own in zip(*columns, strict=True)
        ]

    def __len__(self) -> int:
        return len(self.minutes)
