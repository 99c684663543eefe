"""Rules on silence: one symbol that stopped, or a channel that stopped in several symbols at once.

Arrays are channel × symbol, times int64 ns.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND
from tapewatch.streaming.detection.rules.settings import FeedOutage, StaleSymbol
from tapewatch.streaming.detection.rules.state import CHANNELS

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

_BITS = 64
_CLOSING_MINUTES = 3
#: Decay of the longest silence per minute: it halves in four hours.
_KEPT = 0.5 ** (1 / 240)
#: A regular symbol has data in at least this share of the minutes.
_REGULAR_SHARE = 0.5
_LEAST_MINUTES = 10


@dataclass(frozen=True)
class Outage:
    """The channels that stopped, their received and usual symbol-minutes in the window, and the last event's time."""

    channels: tuple[int, ...]
    received: float
    usual: float
    since: int


class SilenceRules:
    """Records the minutes in which each symbol had data, and its longest usual silence.

    Bit 0 of `_minutes` is the last finished minute. A stretch that the tape's clock jumped over does not count as silence:
    see `skip`.
    """

    def __init__(self, stale: StaleSymbol, outage: FeedOutage, warmup_minutes: int) -> None:
        self.stale, self.outage, self._warmup = stale, outage, warmup_minutes
        self.last_seen = np.zeros((CHANNELS, 0), dtype=np.int64)
        self._minutes = np.zeros((CHANNELS, 0), dtype=np.uint64)
        self._first = np.zeros((CHANNELS, 0), dtype=np.int64)
        self._longest = np.zeros((CHANNELS, 0))
        self._age = np.zeros((CHANNELS, 0))
        self._channel_longest = np.zeros(CHANNELS)
        self._channel_age = np.zeros(CHANNELS)
        self._usual = np.zeros((CHANNELS, 0))
        #: Each symbol's usual share of minutes before the outage, for the channels that are out.
        self._frozen: dict[int, Float] = {}

    def grow(self, capacity: int) -> None:
        more = ((0, 0), (0, capacity - self.last_seen.shape[1]))
        for name in ("last_seen", "_minutes", "_first", "_longest", "_age", "_usual"):
            setattr(self, name, np.pad(getattr(self, name), more))

    def start_session(self) -> None:
        """Reset everything except the longest silences."""
        for array in (self.last_seen, self._minutes, self._first, self._age, self._channel_age):
            array[:] = 0
        self._frozen = {}

    def skip(self, gap: int) -> None:
        """Leave a jump of the tape's clock, ns, out of every silence."""
        self.last_seen[self.last_seen > 0] += gap
        self._first[self._first > 0] += gap

    def observe(self, now: int) -> None:
        """Update the silences that ended; call every few seconds."""
        is_known = self.last_seen > 0
        np.copyto(self._first, self.last_seen, where=is_known & (self._first == 0))
        age = np.where(is_known, np.maximum(now - self.last_seen, 0) / NS_PER_SECOND, 0.0)
        ended = age < self._age
        learnt = np.where(self._longest > 0, np.minimum(self._age, 3 * self._longest), self._age)
        np.maximum(self._longest, learnt, out=self._longest, where=ended)
        self._age = age
        youngest = np.where(is_known, age, np.inf).min(axis=1, initial=np.inf)
        for channel in np.flatnonzero(np.isfinite(youngest)):
            if youngest[channel] < self._channel_age[channel] and channel not in self._frozen:
                self._channel_longest[channel] = max(self._channel_longest[channel], self._channel_age[channel])
            self._channel_age[channel] = youngest[channel]

    def end_minute(self, now: int) -> None:
        """Record which symbols had data in the minute that ended."""
        in_minute = self.last_seen >= now - NS_PER_MINUTE
        self._minutes = (self._minutes << np.uint64(1)) | in_minute.astype(np.uint64)
        self._longest *= _KEPT
        self._channel_longest *= _KEPT
        window = self.outage.window_minutes
        known = np.clip((now - self._first) // NS_PER_MINUTE, 0, _BITS) - window
        before = np.bitwise_count(self._minutes >> np.uint64(window))
        is_warm = (self._first > 0) & (known >= self._warmup)
        self._usual = np.where(is_warm, np.minimum(before / np.maximum(known, 1), 1.0), 0.0)

    def silent_symbols(self) -> list[tuple[int, int, float, float]]:
        """Symbols that are silent for unusually long: (symbol, channel, seconds, longest usual seconds).

        A symbol is left out where most other symbols of its channel are silent too: then the channel is.
        """
        if not self.stale.is_on:
            return []
        limit = np.maximum(self.stale.multiple * self._longest, self.stale.min_silence_s)
        is_regular = self._usual >= _REGULAR_SHARE
        # A thinly traded symbol needs enough minutes with data before its silence means anything.
        is_judged = (self._usual > 0) & (np.bitwise_count(self._minutes) >= _LEAST_MINUTES) & (self._first > 0)
        is_silent = is_judged & (self._age >= limit)
        found = []
        for channel, symbol in np.argwhere(is_silent):
            others = is_regular[channel].copy()
            others[symbol] = False
            is_late = self._age[channel] > np.maximum(2 * self._longest[channel], 60.0)
            if channel in self._frozen or (others.any() and is_late[others].mean() > 0.5):
                continue
            found.append((int(symbol), int(channel), self._age[channel, symbol], self._longest[channel, symbol]))
        return found

    def has_resumed(self, symbol: int) -> bool:
        """Whether every channel of a symbol has data again."""
        limit = np.maximum(self.stale.multiple * self._longest[:, symbol], self.stale.min_silence_s)
        return bool((self._age[:, symbol] < limit).all())

    def judge_outage(self, now: int) -> Outage | None:
        """The channels that are out, None where none is. An outage ends when its channels deliver as usual again."""
        if not self.outage.is_on:
            return None
        window = self.outage.window_minutes
        down, received, usual, since = [], 0.0, 0.0, now
        for channel in range(CHANNELS):
            regular = self._usual[channel] >= _REGULAR_SHARE
            if channel in self._frozen:
                if self._has_recovered(channel):
                    continue
            elif regular.sum() < self.outage.min_symbols or not self._is_out(channel, regular):
                continue
            down.append(channel)
            expected = self._expected(channel, regular)
            recent = np.bitwise_count(self._minutes[channel] & np.uint64(2**window - 1))
            received += float(recent[expected > 0].sum())
            usual += float(expected.sum() * window)
            since = min(since, int(self.last_seen[channel].max()))
        self._freeze(down)
        return Outage(tuple(down), received, usual, since) if down else None

    def _is_out(self, channel: int, regular: Bool) -> bool:
        limit = max(self.outage.multiple * self._channel_longest[channel], self.outage.min_silence_s)
        if self._channel_age[channel] >= limit:
            return True
        window = self.outage.window_minutes
        recent = np.bitwise_count(self._minutes[channel][regular] & np.uint64(2**window - 1))
        usual = self._usual[channel][regular] * window
        is_thin = recent < 0.5 * usual
        return bool(recent.sum() <= self.outage.thin_share * usual.sum() and is_thin.mean() >= 0.8 and usual.sum() >= 8)

    def _has_recovered(self, channel: int) -> bool:
        usual = self._frozen[channel]
        recent = np.bitwise_count(self._minutes[channel][: usual.size] & np.uint64(2**_CLOSING_MINUTES - 1))
        return bool(recent[usual > 0].sum() >= 0.5 * _CLOSING_MINUTES * usual.sum())

    @property
    def is_out(self) -> bool:
        """Whether a channel was out at the last call of `judge_outage`."""
        return bool(self._frozen)

    def _expected(self, channel: int, regular: Bool) -> Float:
        """Each symbol's usual share of minutes with data; for a channel that is out, the share before the outage."""
        frozen = self._frozen.get(channel)
        if frozen is None:
            return np.where(regular, self._usual[channel], 0.0)
        return np.pad(frozen, (0, regular.size - frozen.size))

    def _freeze(self, down: list[int]) -> None:
        """Keep the shares from before the outage, so that the outage does not become the usual."""
        regular = self._usual >= _REGULAR_SHARE
        self._frozen = {channel: self._expected(channel, regular[channel]) for channel in down}
