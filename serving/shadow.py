"""The challenger scores in shadow what the champion answered: later, in a thread, and no caller gets its scores."""

import threading
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from models.base import Scores
from models.served.minutes import Minutes
from serving.contract.messages import Agreement
from serving.http.log import Log
from serving.judged import Judged
from serving.loader import Scorer
from serving.metrics import SHADOW_AGREEMENT, SHADOW_DROPPED, SHADOW_ROWS
from serving.schemas import Model
from serving.store import CHALLENGER, StoredModel, pointed
from serving.swap import load_stored

#: Rows that wait at most, and that are scored at once: more would keep the thread from giving way to requests.
_MOST_WAITING: Final = 20_000
_AT_ONCE: Final = 1_024


@dataclass(frozen=True, slots=True)
class _Answered:
    """Rows that the champion scored."""

    champion: Model
    minutes: Minutes
    scores: Scores
    is_anomaly: npt.NDArray[np.bool_]


@dataclass
class Shadow:
    """The challenger of the store, if there is one; safe to share between threads.

    Args:
        bento_home: the store that names it; None for no challenger.
    """

    bento_home: Path | None = None
    scorer: Scorer | None = None
    lineage: dict[str, str] = field(default_factory=dict)
    agreement: Agreement = field(default_factory=Agreement)
    _tag: str = ""
    _refused: str = ""
    _champion: Model | None = None
    _waiting: deque[_Answered] = field(default_factory=deque)
    _rows: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def offer(self, champion: Scorer, judged: Judged) -> None:
        """Keep the rows that the champion scored for the challenger; what comes too fast is dropped and counted."""
        if self.scorer is None:
            return
        at = np.flatnonzero(judged.is_scored)
        if not len(at):
            return
        answered = _Answered(champion.model, judged.minutes.take(at), judged.scores[at], judged.is_anomaly[at])
        with self._lock:
            if self._rows + len(at) > _MOST_WAITING:
                SHADOW_DROPPED.inc(len(at))
                self.agreement = msgspec.structs.replace(self.agreement, dropped=self.agreement.dropped + len(at))
                return
            self._waiting.append(answered)
            self._rows += len(at)

    def look(self, log: Log) -> None:
        """Follow the store's challenger. One that cannot be loaded, or needs features that requests do not carry, is refused."""
        if self.bento_home is None:
            return
        tag = pointed(self.bento_home, CHALLENGER)
        if tag in (self._tag, self._refused):
            return
        stored = StoredModel.find(self.bento_home, tag)
        if tag and stored is None:
            return  # being built
        try:
            scorer = load_stored(stored) if stored else None
        except Exception as error:  # noqa: BLE001 - the service goes on without a challenger
            self._refused, scorer, stored = tag, None, None
            log.write("shadow-refused", tag=tag, reason=str(error))
        self._forget()
        self.scorer, self._tag, self.lineage = scorer, tag if scorer else "", stored.lineage if stored else {}
        if scorer:
            log.write("shadowed", tag=tag)

    @property
    def waits(self) -> bool:
        """Whether rows wait to be scored."""
        return bool(self._waiting)

    def drain(self, log: Log) -> int:
        """Score what waits; returns how many rows."""
        done = 0
        while True:
            with self._lock:
                if not self._waiting:
                    return done
                answered = self._waiting.popleft()
                self._rows -= len(answered.minutes)
            scorer = self.scorer
            if scorer is not None:
                self._judge(scorer, answered, log)
                done += len(answered.minutes)

    def _judge(self, scorer: Scorer, answered: _Answered, log: Log) -> None:
        features = answered.minutes.features
        missing = [name for name in scorer.features if name not in features]
        if missing:
            self._forget()
            self._refused, self.scorer, self._tag = self._tag, None, ""
            log.write(
                "shadow-refused",
                tag=self._refused,
                reason=f"it needs {', '.join(missing)}, which requests do not carry",
            )
            return
        if answered.champion != self._champion:
            self._champion, self.agreement = answered.champion, Agreement()
        minutes = answered.minutes.select(np.array([features.index(name) for name in scorer.features]))
        for start in range(0, len(minutes), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            self._count(scorer, scorer.judged(minutes.take(part)), answered.is_anomaly[part], answered.scores[part])

    def _count(self, scorer: Scorer, own: Judged, champions: npt.NDArray[np.bool_], scores: Scores) -> None:
        is_known, rows = own.is_scored, len(own)
        known = int(np.count_nonzero(is_known))
        gained = int(np.count_nonzero(is_known & own.is_anomaly & ~champions))
        lost = int(np.count_nonzero(is_known & champions & ~own.is_anomaly))
        for name, count in (
            ("gained", gained),
            ("lost", lost),
            ("same", known - gained - lost),
            ("not_scored", rows - known),
        ):
            SHADOW_ROWS.labels(name).inc(count)
        with self._lock:
            before = self.agreement
            total, off = before.rows + known, float(np.abs(own.scores - scores)[is_known].sum())
            counted = before.gained + gained, before.lost + lost
            self.agreement = Agreement(
                total,
                *counted,
                before.not_scored + rows - known,
                before.dropped,
                (before.mean_difference * before.rows + off) / max(total, 1),
                1.0 - sum(counted) / total if total else None,
            )
        if self.agreement.share is not None:
            SHADOW_AGREEMENT.labels(scorer.model.name, scorer.model.version).set(self.agreement.share)

    def _forget(self) -> None:
        with self._lock:
            self._waiting.clear()
            self._rows, self.agreement = 0, Agreement()
        SHADOW_AGREEMENT.clear()
