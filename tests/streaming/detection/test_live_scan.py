"""The scan on a live tape finds what it finds in the whole day."""

import numpy as np
import polars as pl
import pytest

from models.scan.detector import ScanDetector
from tapewatch.features.bins.batch import bins_5s
from tapewatch.features.bins.records import BIN_NS
from tapewatch.market.instruments import NS_PER_MINUTE, Market
from tapewatch.market.tables.tape import TIME
from tapewatch.streaming.detection import live_scan
from tapewatch.streaming.detection.findings import Finding
from tapewatch.streaming.detection.live_scan import LiveScan
from tests.support.scans import detector, tape
from tests.support.synthetic_days import SyntheticDay


def played(scan: LiveScan, day: SyntheticDay, steps: np.ndarray, lateness: int = 0) -> list[Finding]:
    """What a scan finds while the ticks arrive; `steps` are times (ns) to which it advances."""
    found = []
    ends = [*steps.tolist(), day.session.day_end]
    trades, quotes = dealt(day.trades, ends), dealt(day.quotes, ends)
    for at, end in enumerate(ends):
        scan.add(trades.get(at, day.trades[:0]), quotes.get(at, day.quotes[:0]))
        found += scan.advance(end - lateness)
    return found + scan.restart()


def dealt(ticks: pl.DataFrame, ends: list[int]) -> dict[int, pl.DataFrame]:
    """The ticks before each of `ends` that are not before the one before, by place."""
    places = pl.Series("place", np.searchsorted(ends, ticks["time"].to_physical().to_numpy(), "right"))
    parts = ticks.with_columns(places).partition_by("place", as_dict=True, include_key=False)
    return {int(place): part for (place,), part in parts.items()}


def summary(findings: list[Finding]) -> list[tuple[object, ...]]:
    """Symbol, start, end, kind and surprise of the incidents that are over."""
    rows = [(f.symbol, f.start_ns, f.last_ns, f.kind, f.score) for f in findings if f.is_over]
    return sorted(rows)


def expected(scan: ScanDetector, day: SyntheticDay) -> list[tuple[object, ...]]:
    """The same of the whole day."""
    rows = scan.incidents(bins_5s(day.trades, day.quotes, day.session), day.session)
    columns = (
        pl.col("symbol", "kind").cast(pl.String),
        pl.col("start_time", "end_time").dt.epoch("ns"),
        "surprise",
    )
    return sorted(rows.select(*columns).select("symbol", "start_time", "end_time", "kind", "surprise").rows())


@pytest.mark.long
@pytest.mark.parametrize("without", ["", "TSLA"])
def test_live_equals_the_whole_day_bit_for_bit(without: str) -> None:
    day, fitted = tape(2), detector(without=without)
    rng = np.random.default_rng(8)
    start, end = day.session.regular_start, day.session.regular_end
    steps = np.sort(rng.integers(start - NS_PER_MINUTE, end, 900))
    found = played(LiveScan(fitted, Market.STOCKS), day, steps)
    assert summary(found) == expected(fitted, day)
    assert len(summary(found)) > 5


def test_an_incident_is_known_at_its_bins_end_with_words() -> None:
    day, fitted = tape(2), detector()
    start, end = day.session.regular_start, day.session.regular_end
    findings = played(LiveScan(fitted, Market.STOCKS), day, np.arange(start, end, BIN_NS))
    opened = [finding for finding in findings if finding.is_opening]
    assert opened
    assert all(finding.known_ns == finding.start_ns + BIN_NS for finding in opened)
    assert all(finding.words and finding.hours >= fitted.hours * 0.99 for finding in opened)


def test_a_start_within_the_session_raises_no_storm() -> None:
    day, fitted = tape(2), detector()
    middle = (day.session.regular_start + day.session.regular_end) // 2
    after = pl.col("time") >= pl.lit(middle).cast(TIME)
    cut = SyntheticDay(day.trades.filter(after), day.quotes.filter(after), day.session, day.features, day.truth)
    steps = np.arange(middle, day.session.regular_end, BIN_NS)
    found = summary(played(LiveScan(fitted, Market.STOCKS), cut, steps))
    whole = [row for row in expected(fitted, day) if row[1] >= middle]
    assert len(found) <= len(whole) + 5


def test_ticks_that_come_after_their_bin_are_counted_and_left_out() -> None:
    day, fitted = tape(2), detector()
    scan, start = LiveScan(fitted, Market.STOCKS), day.session.regular_start
    first = day.trades.filter(
        pl.col("time").is_between(pl.lit(start).cast(TIME), pl.lit(start + NS_PER_MINUTE).cast(TIME))
    )
    scan.add(first, day.quotes.clear())
    scan.advance(start + 2 * NS_PER_MINUTE)
    assert scan.late == 0
    scan.add(first.head(3), day.quotes.clear())
    scan.advance(start + 3 * NS_PER_MINUTE)
    assert scan.late == 3


def test_another_champion_goes_on_with_the_tape_and_the_incidents() -> None:
    day, fitted, other = tape(2), detector(), detector(without="TSLA")
    scan, found, before = LiveScan(fitted, Market.STOCKS), [], 0
    steps = np.arange(day.session.regular_start, day.session.regular_end, 2 * NS_PER_MINUTE)
    for step in [*steps.tolist(), day.session.day_end]:
        between = pl.col("time").is_between(pl.lit(before).cast(TIME), pl.lit(step).cast(TIME), "left")
        scan.add(day.trades.filter(between), day.quotes.filter(between))
        # Another, whose symbols are in another order, and the first one again.
        scan.replace(other)
        scan.replace(fitted)
        found += scan.advance(step)
        before = step
    assert summary(found + scan.restart()) == expected(fitted, day)


def test_after_another_champion_an_open_incident_is_not_opened_again() -> None:
    day, fitted = tape(2), detector()
    first = min(row[1] for row in expected(fitted, day))
    scan, found, before = LiveScan(fitted, Market.STOCKS), [], 0
    opened: list[str] = []
    for step in (first - NS_PER_MINUTE, first + 2 * BIN_NS, first + 5 * NS_PER_MINUTE):
        between = pl.col("time").is_between(pl.lit(before).cast(TIME), pl.lit(step).cast(TIME), "left")
        scan.add(day.trades.filter(between), day.quotes.filter(between))
        found += scan.advance(step)
        before = step
        if not opened and (opened := [f.symbol for f in found if f.is_opening]):
            scan.replace(detector(without="TSLA"))
    again = [f.symbol for f in found if f.is_opening]
    assert opened
    assert again.count(opened[0]) == 1
    assert opened[0] in {f.symbol for f in scan.restart()}


def test_symbols_beyond_the_bound_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    day, fitted = tape(2), detector(without="TSLA")
    monkeypatch.setattr(live_scan, "MOST_SYMBOLS", len(fitted.markets[Market.STOCKS].symbols))
    found = played(LiveScan(fitted, Market.STOCKS), day, np.array([day.session.regular_end]))
    assert summary(found) == [row for row in expected(fitted, day) if row[0] != "TSLA"]
