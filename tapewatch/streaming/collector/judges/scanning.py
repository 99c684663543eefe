"""The scan within a collector: fed with ticks, advanced by the tape's clock, replaced by a newer champion."""

import logging

from models.scan.detector import ScanDetector
from tapewatch.features.bins.records import BIN_NS
from tapewatch.feeds.stream.decode.decoder import StreamBatch
from tapewatch.market.instruments import NS_PER_SECOND, Market
from tapewatch.streaming.detection.champion import Champion, Champions
from tapewatch.streaming.detection.findings import Finding
from tapewatch.streaming.detection.live_scan import LiveScan

_log = logging.getLogger(__name__)
#: How late a tick may arrive after its bin's end. Bars wait longer, but an alert shall be known within a second.
_LATENESS_NS = 400_000_000
#: A longer stretch without an event of any symbol, or without the clock, does not count as silence.
_JUMP_NS = 180 * NS_PER_SECOND


class Scanner:
    """Finds incidents with the current champion, where it knows the market. Not thread-safe.

    Args:
        champions: where the champion comes from; None for no scan.
    """

    def __init__(self, market: Market, champions: Champions[ScanDetector] | None) -> None:
        self._market, self._champions = market, champions
        self._champion: Champion[ScanDetector] | None = None
        self._scan: LiveScan | None = None
        self._through = 0
        self._late_before = 0

    @property
    def model(self) -> str:
        """Name and version of the scan in use; empty without one."""
        return self._champion.model if self._scan is not None and self._champion is not None else ""

    @property
    def hours(self) -> float:
        """Mean hours between alerts of a symbol's ordinary tape, as the scan is set."""
        return self._champion.detector.hours if self._champion is not None else 0.0

    @property
    def late(self) -> int:
        """Ticks that came after their bin was judged, and were left out."""
        return self._late_before + (self._scan.late if self._scan is not None else 0)

    def add(self, batch: StreamBatch, silent_ns: int) -> list[Finding]:
        """Add a batch's ticks; `silent_ns` is how long the tape had no event before it. Returns incidents that a gap ends."""
        if self._scan is None:
            return []
        over = self.restart() if silent_ns > _JUMP_NS else []
        self._scan.add(batch.trades, batch.quotes)
        return over

    def advance(self, now_ns: int, *, is_live: bool) -> list[Finding]:
        """Judge the bins that are complete at the tape's present; at most once a bin."""
        through = (now_ns - _LATENESS_NS) // BIN_NS * BIN_NS
        if self._champions is None or through <= self._through:
            return []
        before, self._through = self._through, through
        over = self._follow_champion()
        if self._scan is None:
            return over
        # A machine that slept did not listen.
        if is_live and before and through - before > _JUMP_NS:
            over += self.restart()
        try:
            return over + self._scan.advance(through)
        except Exception:  # noqa: BLE001 - the tape and the rules go on
            _log.exception("the scan %s failed and is off until there is another champion", self.model)
            over += self._scan.restart()
            self._drop()
            return over

    def restart(self) -> list[Finding]:
        """Forget the tape so far, after a gap; returns the incidents, which are over."""
        return [] if self._scan is None else self._scan.restart()

    def _follow_champion(self) -> list[Finding]:
        champion = self._champions.current if self._champions is not None else None
        if champion is self._champion or champion is None:
            return []
        self._champion = champion
        if self._market not in champion.detector.markets:
            _log.info("the scan %s was not fitted on %s", champion.model, self._market)
            over = self.restart()
            self._drop()
            return over
        if self._scan is None:
            self._scan = LiveScan(champion.detector, self._market)
        else:
            self._scan.replace(champion.detector)
        _log.info("the scan %s judges every five seconds", champion.model)
        return []

    def _drop(self) -> None:
        self._late_before, self._scan = self.late, None
