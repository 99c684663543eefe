"""The challenger scores in shadow what the champion answered: later, in a thread, and no caller gets its scores."""

import datetime as dt
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from models.base import Scores
from serving.contract.messages import Agreement
from serving.http.log import Log
from serving.loader import Scorer
from serving.metrics import SHADOW_AGREEMENT, SHADOW_DROPPED, SHADOW_ROWS
from serving.schemas import Model, Verdict
from serving.store import CHALLENGER, StoredModel, pointed
from serving.swap import load_stored

#: Rows that wait at most, and that are scored at once: more would keep the thread from giving way to requests.
_MOST_WAITING: Final = 20_000
_AT_ONCE: Final = 1_024


@dataclass(frozen=True, slots=True)
class _Answered:
    """Rows that the champion scored: `values` are rows x `features`."""

    champion: Model
    features: tuple[str, ...]
    symbols: list[str]
    times: list[dt.datetime]
    values: Scores
    scores: Scores
    is_anomaly: list[bool]


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

    def offer(self, champion: Scorer, values: Scores, verdicts: Sequence[Verdict]) -> None:
        """Keep the rows that the champion scored for the challenger; what comes too fast is dropped and counted."""
        if self.scorer is None:
            return
        at = [index for index, verdict in enumerate(verdicts) if verdict.score is not None]
        if not at:
            return
        scored = [verdicts[index] for index in at]
        answered = _Answered(
            champion.model,
            champion.features,
            [verdict.symbol for verdict in scored],
            [verdict.event_time for verdict in scored if verdict.event_time is not None],
            values[at],
            np.array([verdict.score for verdict in scored], dtype=np.float64),
            [bool(verdict.is_anomaly) for verdict in scored],
        )
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
                self._rows -= len(answered.symbols)
            scorer = self.scorer
            if scorer is not None:
                self._judge(scorer, answered, log)
                done += len(answered.symbols)

    def _judge(self, scorer: Scorer, answered: _Answered, log: Log) -> None:
        missing = [name for name in scorer.features if name not in answered.features]
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
        columns = [answered.features.index(name) for name in scorer.features]
        for start in range(0, len(answered.symbols), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            verdicts = scorer.verdicts(answered.symbols[part], answered.times[part], answered.values[part][:, columns])
            self._count(scorer, verdicts, answered.is_anomaly[part], answered.scores[part])

    def _count(self, scorer: Scorer, verdicts: Sequence[Verdict], champions: Sequence[bool], scores: Scores) -> None:
        pairs = [
            (verdict.is_anomaly, is_anomaly, abs((verdict.score or 0.0) - score))
            for verdict, is_anomaly, score in zip(verdicts, champions, scores.tolist(), strict=True)
        ]
        known = [pair for pair in pairs if pair[0] is not None]
        gained = sum(bool(own) and not champions for own, champions, _ in known)
        lost = sum(champions and not own for own, champions, _ in known)
        for name, count in (
            ("gained", gained),
            ("lost", lost),
            ("same", len(known) - gained - lost),
            ("not_scored", len(pairs) - len(known)),
        ):
            SHADOW_ROWS.labels(name).inc(count)
        with self._lock:
            before = self.agreement
            rows, off = before.rows + len(known), sum(pair[2] for pair in known)
            counted = before.gained + gained, before.lost + lost
            self.agreement = Agreement(
                rows,
                *counted,
                before.not_scored + len(pairs) - len(known),
                before.dropped,
                (before.mean_difference * before.rows + off) / max(rows, 1),
                1.0 - sum(counted) / rows if rows else None,
            )
        if self.agreement.share is not None:
            SHADOW_AGREEMENT.labels(scorer.model.name, scorer.model.version).set(self.agreement.share)

    def _forget(self) -> None:
        with self._lock:
            self._waiting.clear()
            self._rows, self.agreement = 0, Agreement()
        SHADOW_AGREEMENT.clear()
