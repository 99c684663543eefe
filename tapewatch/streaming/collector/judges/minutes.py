"""The champion of minutes in a collector, and its challenger in the shadow, in a thread of their own."""

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from models.base import Detector
from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Market, Partition, session_at
from tapewatch.market.schema import Table
from tapewatch.market.tables.live import SHADOW_MINUTES
from tapewatch.market.tables.tape import MICROSTRUCTURE
from tapewatch.streaming.detection.champion import Champion, Champions
from tapewatch.streaming.detection.findings import Finding, Source
from tapewatch.streaming.detection.live_minutes import LiveMinutes
from tapewatch.streaming.detection.minute_scores import MinuteScores
from tapewatch.streaming.detection.shadow import Shadow

_log = logging.getLogger(__name__)
_WAITING = 256
_KEY = ["symbol", "event_time", "is_flagged"]
#: After a gap the trailing features read its silence; judging begins again once as much time has passed, within these bounds. A start
#: within a session is a gap since its opening, unless the first event came at once.
_AT_OPENING_NS = 5 * NS_PER_SECOND
_LEAST_PAUSE_NS, _LONGEST_PAUSE_NS = NS_PER_MINUTE, 30 * NS_PER_MINUTE

Said = tuple[Finding, Source]
Write = Callable[[Table, Partition, pl.DataFrame], None]


@dataclass
class _Gaps:
    """Stretches of the tape that may lack events; minutes within them are not judged. Times are int64 ns UTC."""

    spans: list[tuple[int, int]] = field(default_factory=list)
    open_from: int | None = None

    def begin(self, at_ns: int) -> None:
        self.open_from = at_ns if self.open_from is None else min(at_ns, self.open_from)

    def end(self, at_ns: int, market: Market) -> None:
        if self.open_from is None:
            return
        session = session_at(market, at_ns)
        opening = at_ns if session is None else session.regular_start
        missing = at_ns - max(self.open_from, opening)
        if self.open_from <= opening and missing <= _AT_OPENING_NS:
            # Nothing of this session is missing.
            until = min(at_ns, opening)
        else:
            until = at_ns + min(max(missing, _LEAST_PAUSE_NS), _LONGEST_PAUSE_NS)
        self.spans = [*self.spans, (self.open_from, until)][-20:]
        self.open_from = None

    def within(self) -> pl.Expr:
        """Whether a minute lies in a gap, or overlaps one."""
        spans = list(self.spans) + ([(self.open_from, 2**62)] if self.open_from is not None else [])
        start, end = pl.col("event_time").dt.epoch("ns"), pl.col("event_time").dt.epoch("ns") + NS_PER_MINUTE
        found = pl.lit(value=False)
        for first, last in spans:
            found = found | ((end > first) & (start < last))
        return found


class MinuteJudge:
    """Judges closed minutes with the current champion, and notes what the challenger would say.

    `put`, `lost` and `heard` come from the collector's threads in the order of the tape; `take` returns what was found meanwhile,
    `take_scores` what was scored.

    Args:
        champions, challengers: where the models come from.
        write: takes SHADOW_MINUTES rows.

    Attributes:
        scored: symbol-minutes that were scored.
    """

    def __init__(
        self,
        market: Market,
        champions: Champions[Detector],
        challengers: Champions[Detector] | None = None,
        write: Write | None = None,
    ) -> None:
        self.scored = 0
        self._market, self._is_lost, self._has_looked = market, False, False
        self.shadow: Shadow | None = None
        self._champions, self._challengers, self._write = champions, challengers, write
        self._champion: Champion[Detector] | None = None
        self._live: LiveMinutes | None = None
        self._challenger: Champion[Detector] | None = None
        self._other: MinuteScores | None = None
        self._day: Partition | None = None
        self._gaps = _Gaps()
        self._found: queue.SimpleQueue[Said] = queue.SimpleQueue()
        self._scores: queue.SimpleQueue[tuple[Partition, pl.DataFrame]] = queue.SimpleQueue()
        self._work: queue.Queue[Callable[[], None] | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._run, name="minute-judge", daemon=True)

    @property
    def model(self) -> str:
        """The champion in use, and which of its members are absent; empty without one."""
        return self._live.scores.label if self._live is not None else ""

    @property
    def is_judging(self) -> bool:
        """Whether there is a champion, or may be one that is being read."""
        return self._live is not None or self._champions.current is not None or not self._has_looked

    @property
    def absent(self) -> int:
        """How many members of the champion cannot score."""
        return len(self._live.scores.absent) if self._live is not None else 0

    def figures(self) -> dict[str, Any]:
        """Its fields of a collector's status."""
        shadow = self.shadow
        return {
            "minute_model": self.model,
            "is_minute_model_stale": self._champions.is_stale,
            "minute_members_absent": self.absent,
            "minutes_scored": self.scored,
            "shadow_model": shadow.challenger if shadow is not None else "",
            "shadow_scored": shadow.scored if shadow is not None else 0,
            "shadow_agreed": shadow.agreed if shadow is not None else 0,
        }

    def start(self) -> None:
        self._thread.start()

    def put(self, day: Partition, rows: pl.DataFrame, through_ns: int) -> None:
        """Take minutes (MICROSTRUCTURE columns) that are new or have changed; the tape is complete up to `through_ns`."""
        self._work.put(lambda: self._judge(day, rows, through_ns))

    def lost(self, at_ns: int) -> None:
        """Events are missing from here on."""
        self._is_lost = True
        self._work.put(lambda: self._gaps.begin(at_ns))

    def heard(self, at_ns: int) -> None:
        """Events arrive, the first of them of this time; the first call after `lost` ends the gap."""
        if self._is_lost:
            self._is_lost = False
            self._work.put(lambda: self._gaps.end(at_ns, self._market))

    def end_day(self, through_ns: int) -> None:
        """The session is over, and so are the incidents."""
        self._work.put(lambda: self._say(self._live.end(through_ns) if self._live is not None else []))

    def settle(self) -> None:
        """Wait until what was put before is judged."""
        done = threading.Event()
        self._work.put(done.set)
        done.wait()

    def take(self) -> list[Said]:
        """What was found since the last call."""
        found = []
        while not self._found.empty():
            found.append(self._found.get_nowait())
        return found

    def take_scores(self) -> list[tuple[Partition, pl.DataFrame]]:
        """The scores since the last call, by day: columns `SCORE_COLUMNS`, symbols as text."""
        found = []
        while not self._scores.empty():
            found.append(self._scores.get_nowait())
        return found

    def close(self) -> None:
        """Judge what is queued, and end the thread."""
        if self._thread.is_alive():
            self._work.put(None)
            self._thread.join()

    def _run(self) -> None:
        # Loading takes seconds, in which the stream is received already; minutes wait in the queue.
        for each in (self._champions, self._challengers):
            if each is not None:
                each.look()
        self._has_looked = True
        while (work := self._work.get()) is not None:
            try:
                work()
            except Exception:  # noqa: BLE001 - the rules and the scan go on
                _log.exception("the champion %s failed and is off until there is another", self.model)
                self._say(self._live.end(0) if self._live is not None else [])
                self._live = None

    def _judge(self, day: Partition, rows: pl.DataFrame, through_ns: int) -> None:
        self._follow()
        live = self._live
        if live is None:
            return
        if self._day is None or day.date > self._day.date:
            self._say(live.end(through_ns))
            self._day = day
            live.scores.forget()
            if self._other is not None:
                self._other.forget()
        if day != self._day:
            # Revisions of the day before come too late for an alert.
            return
        regular = rows.filter("is_regular").select(MICROSTRUCTURE.schema.names())
        regular = regular.with_columns(pl.col("symbol").cast(pl.String))
        is_unheard = self._gaps.within()
        live.scores.remember(regular.filter(is_unheard))
        judged = regular.filter(~is_unheard)
        scored = live.score(judged) if judged.height else judged.with_columns(is_flagged=pl.lit(value=False))
        self.scored += scored.height
        self._say(live.findings(scored, through_ns))
        if judged.height:
            self._scores.put(
                (day, scored.select("symbol", "event_time", anomaly_score="score", model=pl.lit(self.model)))
            )
            self._compare(day, scored, judged)

    def _compare(self, day: Partition, scored: pl.DataFrame, judged: pl.DataFrame) -> None:
        """Score the same minutes with the challenger; whatever happens to it, the champion goes on."""
        if self._other is None or self.shadow is None:
            return
        try:
            rows = self.shadow.add(scored.select(_KEY), self._other.score(judged).select(_KEY))
        except Exception:  # noqa: BLE001 - as said
            _log.exception("the challenger %s failed and is off until there is another", self._other.model)
            self._other = None
            return
        if self._write is not None:
            self._write(SHADOW_MINUTES, day, rows)

    def _say(self, findings: "Iterator[Finding] | list[Finding]") -> None:
        if self._live is not None:
            source = self._live.source
            for finding in findings:
                self._found.put((finding, source))

    def _follow(self) -> None:
        """Use the models that are current."""
        champion = self._champions.current
        if champion is not None and champion is not self._champion:
            self._champion = champion
            if self._live is None:
                self._live = LiveMinutes(champion.detector, champion.model)
            else:
                self._live.replace(champion.detector, champion.model)
            _log.info("the champion %s judges every closed minute", champion.model)
        challenger = self._challengers.current if self._challengers is not None else None
        if challenger is self._challenger and not self._is_other_pair():
            return
        self._challenger = challenger
        if challenger is None or self._champion is None or challenger.model == self._champion.model:
            self._other = self.shadow = None
            return
        self._other = MinuteScores(challenger.detector, challenger.model)
        self.shadow = Shadow(self._champion.model, challenger.model)
        _log.info("the challenger %s scores in the shadow of %s", challenger.model, self._champion.model)

    def _is_other_pair(self) -> bool:
        """Whether the champion moved since the shadow began."""
        return self.shadow is not None and self._champion is not None and self.shadow.champion != self._champion.model
