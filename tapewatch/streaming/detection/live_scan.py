"""The scan of five-second bins on a live tape: ticks in, incidents that open and grow out."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from models.scan.detector import ScanDetector, hours_of, reasons_of
from models.scan.incidents import NOTHING, OPENED, TOGETHER, fresh_states, observe
from models.scan.inputs import next_inputs, nothing_standing
from models.scan.kernel import scan_bins
from models.scan.layout import KINDS, STATISTICS, fresh_rings
from models.scan.market_scan import Judged, MarketScan
from models.scan.tail import surprise_of
from tapewatch.features.bins import records
from tapewatch.features.bins.batch import auction_lists
from tapewatch.features.bins.kernel import pass_bins
from tapewatch.features.records import Span
from tapewatch.features.sums import flat_quotes, spans
from tapewatch.market.arrays import Array, flat_trades, session_bounds
from tapewatch.market.conditions import STOCK_UPDATE_RULES
from tapewatch.market.instruments import Market, Session, session_at
from tapewatch.market.prices import floor_of
from tapewatch.market.tables.tape import QUOTES, TIME, TRADES
from tapewatch.streaming.detection.findings import Finding

_TRADES = ("symbol", "time", "sequence_number", "price", "size", "conditions", "correction")
_QUOTES = ("symbol", "time", "sequence_number", "bid_price", "ask_price", "bid_size", "ask_size")


#: Each symbol holds half a megabyte of trailing series. Those that the scan was not fitted on are left out beyond this number.
MOST_SYMBOLS = 2_000


class LiveScan:
    """Finds incidents bin by bin, those of `ScanDetector.incidents` for the same tape. Not thread-safe.

    A scan that starts within a session, or again after `restart`, needs half an hour to know what is usual now, and takes
    the training days' usual level until then. Ticks that arrive after their bin was judged are left out.

    Attributes:
        late: ticks left out.
    """

    def __init__(self, detector: ScanDetector, market: Market) -> None:
        self.late = 0
        self._scan = detector.markets[market]
        self._market = market
        self._threshold = surprise_of(detector.hours)
        self._trades: list[pl.DataFrame] = []
        self._quotes: list[pl.DataFrame] = []
        self._day: _Day | None = None

    def add(self, trades: pl.DataFrame, quotes: pl.DataFrame) -> None:
        """Add `STREAM_TRADES` and `STREAM_QUOTES` rows, in any order within the time that `advance` leaves them."""
        if trades.height:
            self._trades.append(trades.select(_TRADES))
        if quotes.height:
            self._quotes.append(quotes.select(_QUOTES))

    def advance(self, through_ns: int) -> list[Finding]:
        """Judge the bins that end by `through_ns`; returns the incidents that opened, grew or are over."""
        session = session_at(self._market, through_ns)
        found: list[Finding] = []
        if self._day is not None and (session is None or session.date != self._day.session.date):
            found += self._judge(self._day, self._day.session.regular_end)
            found += self._day.over()
            self._day = None
        if session is None or through_ns <= session.regular_start:
            return found
        if self._day is None:
            self._day = _Day(self._scan, session, self._first_bin(session, through_ns))
        return found + self._judge(self._day, min(through_ns, session.regular_end))

    def restart(self) -> list[Finding]:
        """Forget the tape so far: after a gap, silence would look like an outage. Returns the incidents as over."""
        over = [] if self._day is None else list(self._day.over())
        self._day, self._trades, self._quotes = None, [], []
        return over

    def replace(self, detector: ScanDetector) -> None:
        """Go on with another detector of this market, with the tape and the incidents so far."""
        self._scan, self._threshold = detector.markets[self._market], surprise_of(detector.hours)
        if self._day is not None:
            self._day.replace(self._scan)

    def _first_bin(self, session: Session, through_ns: int) -> int:
        """The bin of the oldest tick held; the session's first where a tick came before it."""
        oldest = min(
            (int(frame["time"].dt.epoch("ns").min()) for frame in (*self._trades, *self._quotes)),  # type: ignore[arg-type]
            default=through_ns,
        )
        return max(0, (min(oldest, through_ns) - session.regular_start) // records.BIN_NS)

    def _judge(self, day: "_Day", through_ns: int) -> list[Finding]:
        end = (through_ns - day.session.regular_start) // records.BIN_NS
        if end <= day.next_bin:
            return []
        until = day.session.regular_start + end * records.BIN_NS
        trades, self._trades = _taken(self._trades, until, TRADES.empty().select(_TRADES))
        quotes, self._quotes = _taken(self._quotes, until, QUOTES.empty().select(_QUOTES))
        self.late += day.late(trades) + day.late(quotes)
        return list(day.judge(trades, quotes, end, self._threshold))


class _Day:
    """One session's bins, rings and incidents, from bin `start` on."""

    def __init__(self, scan: MarketScan, session: Session, start: int) -> None:
        self.session, self.start, self.next_bin = session, start, start
        self._scan = scan
        self._states = records.fresh_states(0)
        self._standing, self._rings, self._incidents = nothing_standing(0), fresh_rings(0), fresh_states(0)
        self._open: set[int] = set()
        self._grow(len(scan.symbols))

    def late(self, ticks: pl.DataFrame) -> int:
        """Number of ticks of bins that were judged before."""
        judged = self.session.regular_start + self.next_bin * records.BIN_NS
        return int((ticks["time"].dt.epoch("ns") < judged).sum()) if self.next_bin > self.start else 0

    def judge(self, trades: pl.DataFrame, quotes: pl.DataFrame, end: int, threshold: float) -> Iterator[Finding]:
        """Judge the bins up to bin `end` (excluded), all of whose ticks are given."""
        found, position = self._bins(trades, quotes, end)
        first, count = self.next_bin, end - self.next_bin
        inputs = next_inputs(found, position, self._standing, self.session.regular_start, first, count)
        measured = np.full((inputs.shape[0], len(STATISTICS), count), np.nan)
        scan_bins(inputs, first, self.start, self._scan.usual, self._rings, measured)
        measured[~np.isfinite(measured)] = np.nan
        judged = self._scan.surprises(measured, first)
        self.next_bin = end
        for at in range(count):
            now = Judged(judged.kinds[:, :, at], judged.statistics[:, :, at])
            yield from self._observe(now, measured[:, :, at], first + at, threshold)

    def replace(self, scan: MarketScan) -> None:
        """Go on with another scan; its symbols may be others, in another order."""
        scan = scan.for_symbols(self._scan.symbols)
        known = {symbol: at for at, symbol in enumerate(self._scan.symbols)}
        place = np.array([known.setdefault(symbol, len(known)) for symbol in scan.symbols])
        self._grow(len(known))
        self._states, self._incidents = self._states[place], self._incidents[place]
        for name in ("_standing", "_rings"):
            before = getattr(self, name)
            setattr(self, name, type(before)(*(each[place] for each in before)))
        self._open = {at for at, before in enumerate(place.tolist()) if before in self._open}
        self._scan = scan

    def over(self) -> Iterator[Finding]:
        """The incidents that have not been reported as over."""
        for symbol in sorted(self._open):
            yield self._finding(symbol, self.next_bin - 1, "", is_opening=False, is_over=True)
        self._open.clear()

    def _observe(self, judged: Judged, measured: Array, at: int, threshold: float) -> Iterator[Finding]:
        names = self._scan.names
        for symbol, (surprises, rarities) in enumerate(zip(judged.kinds, judged.statistics, strict=True)):
            if symbol in self._open and at - int(self._incidents[symbol]["last"]) > TOGETHER:
                self._open.discard(symbol)
                yield self._finding(symbol, at, "", is_opening=False, is_over=True)
            state = self._incidents[symbol]
            done = observe(state, surprises, rarities, at, threshold, names.weight, names.offset)
            if done != NOTHING:
                self._open.add(symbol)
                reasons = reasons_of(surprises, measured[symbol], int(state["kind"]))
                yield self._finding(
                    symbol, at, "; ".join(reason["words"] for reason in reasons), is_opening=done == OPENED
                )

    def _finding(self, symbol: int, at: int, words: str, *, is_opening: bool, is_over: bool = False) -> Finding:
        state, start = self._incidents[symbol], self.session.regular_start
        return Finding(
            symbol=self._scan.symbols[symbol],
            kind=KINDS[int(state["kind"])],
            start_ns=start + int(state["first"]) * records.BIN_NS,
            last_ns=start + (int(state["last"]) + 1) * records.BIN_NS,
            known_ns=start + (at + 1) * records.BIN_NS,
            score=float(state["peak"]),
            hours=hours_of(float(state["peak"])),
            words=words,
            is_opening=is_opening,
            is_over=is_over,
        )

    def _bins(self, trades: pl.DataFrame, quotes: pl.DataFrame, end: int) -> tuple[Array, Array]:
        """The `BIN` records that the ticks complete, and the position of each record's symbol."""
        trade_symbols, flat_t = flat_trades(trades, self.session, STOCK_UPDATE_RULES)
        quote_symbols, flat_q = flat_quotes(quotes)
        known = set(self._scan.symbols)
        new = [symbol for symbol in dict.fromkeys((*trade_symbols, *quote_symbols)) if symbol not in known]
        self._scan = self._scan.for_symbols(new[: max(0, MOST_SYMBOLS - len(known))])
        self._grow(len(self._scan.symbols))
        rows: list[Span] = spans(self._scan.symbols, (trade_symbols, flat_t.offsets), (quote_symbols, flat_q.offsets))
        auction, hours = auction_lists(trades["conditions"], self.session.market), session_bounds(self.session)
        floor, states_sides = floor_of(self.session.market), self.session.market is Market.CRYPTO
        until = self.session.regular_start + end * records.BIN_NS
        out = np.empty(end - self.start + 1, dtype=records.BIN)
        pieces, position = [], []
        for symbol, span in enumerate(rows):
            count = pass_bins(
                flat_t, auction, flat_q, span, hours, floor, states_sides, self._states[symbol], until, out
            )
            pieces.append(out[:count].copy())
            position += [symbol] * count
        return np.concatenate(pieces), np.array(position, dtype=np.int64)

    def _grow(self, symbols: int) -> None:
        more = symbols - len(self._states)
        if not more:
            return
        states = records.fresh_states(more)
        states["is_begun"] = states["is_ticked"] = 1
        states["bin"]["start"] = self.session.regular_start + self.start * records.BIN_NS
        states["sample_at"] = states["bin"]["start"] + records.BIN_NS // 5
        self._states = np.concatenate([self._states, states])
        for name, fresh in (("_standing", nothing_standing(more)), ("_rings", fresh_rings(more))):
            before = getattr(self, name)
            setattr(self, name, type(before)(*(np.concatenate(pair) for pair in zip(before, fresh, strict=True))))
        self._incidents = np.concatenate([self._incidents, fresh_states(more)])


def _taken(held: list[pl.DataFrame], until: int, empty: pl.DataFrame) -> tuple[pl.DataFrame, list[pl.DataFrame]]:
    """The ticks before `until`, sorted as a batch would be, and those that wait."""
    if not held:
        return empty, []
    whole = pl.concat(held)
    is_due = pl.col("time") < pl.lit(until).cast(TIME)
    due, rest = whole.filter(is_due), whole.filter(~is_due)
    order = [pl.col("symbol").cast(pl.String), "time", "sequence_number"]
    return due.sort(order, maintain_order=True), [rest] if rest.height else []
