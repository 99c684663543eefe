"""What rules and the scan raise about one event is one alert."""

import datetime as dt

import polars as pl
import pytest

from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Market, Partition
from tapewatch.market.tables.live import ALERTS
from tapewatch.streaming.detection.events import Events
from tapewatch.streaming.detection.findings import CHAMPION, SCAN, Finding, Source
from tapewatch.streaming.detection.open_alerts import AlertChange
from tapewatch.streaming.detection.rules.wording import stamp, time_from_ns

START = Partition(dt.date(2024, 6, 4), Market.STOCKS).session.regular_start + 60 * NS_PER_MINUTE
BIN = 5 * NS_PER_SECOND
SCANNING = Source(SCAN, "scan/3", 6.5)


def finding(minute: float, *, hours: float = 20.0, opening: bool = False, over: bool = False, kind: str = "price_jump"):
    at = START + int(minute * NS_PER_MINUTE)
    words = "" if over else "moved 8.0 usual minutes' moves in 10 seconds"
    return Finding("AAPL", kind, START if over else at, at + BIN, at + BIN, 1.5, hours, words, opening, over)


def rule(minute: float, *, name: str = "price_move", ended: float | None = None, opening: bool = False) -> AlertChange:
    at = START + int(minute * NS_PER_MINUTE)
    row = {
        "alert_id": f"stocks:{name}:AAPL:{stamp(at)}",
        "symbol": "AAPL",
        "rule": name,
        "severity": "warning",
        "start_time": time_from_ns(at),
        "end_time": None if ended is None else time_from_ns(START + int(ended * NS_PER_MINUTE)),
        "detected_time": time_from_ns(at),
        "value": 50.0,
        "baseline": 5.0,
        "multiple": 10.0,
        "peak": 50.0,
        "observations": 1,
        "message": "AAPL: price moved +50.0 bps",
    }
    return AlertChange(row, is_opening=opening, is_closing=ended is not None)


def at_minute(change: AlertChange) -> float:
    return (change.row["end_time"] - time_from_ns(START)).total_seconds() / 60


def events() -> Events:
    return Events(Market.STOCKS, clock=lambda: START)


def test_an_incident_alone_is_an_alert_with_its_level() -> None:
    found = events().of_model([finding(0, opening=True)], SCANNING)
    assert [change.is_opening for change in found] == [True]
    row = found[0].row
    ALERTS.check(pl.DataFrame([row], schema=ALERTS.schema))
    assert row["rule"] == "scan"
    assert row["alert_id"] == f"stocks:scan:AAPL:{stamp(START)}"
    assert (row["value"], row["baseline"], row["severity"]) == (20.0, 6.5, "info")
    assert row["message"] == "AAPL: price jump, 1 in 20 h: moved 8.0 usual minutes' moves in 10 seconds"


@pytest.mark.parametrize(("hours", "severity"), [(20, "info"), (100, "warning"), (2_000, "critical")])
def test_a_rarer_level_is_more_severe(hours: float, severity: str) -> None:
    assert events().of_model([finding(0, hours=hours, opening=True)], SCANNING)[0].row["severity"] == severity


def test_an_incident_grows_at_most_once_a_minute_and_at_once_with_another_name() -> None:
    all_of = events()
    all_of.of_model([finding(0, opening=True)], SCANNING)
    assert all_of.of_model([finding(0.5, hours=40)], SCANNING) == []
    grown = all_of.of_model([finding(1, hours=41)], SCANNING)
    assert [(c.row["peak"], c.is_opening, c.is_closing) for c in grown] == [(41, False, False)]
    named = all_of.of_model([finding(1.2, hours=50, kind="flash_crash")], SCANNING)
    assert named[0].row["message"].startswith("AAPL: flash crash, 1 in 50 h")
    over = all_of.of_model([finding(2, over=True)], SCANNING)
    assert [(c.is_closing, c.row["observations"]) for c in over] == [(True, 4)]
    assert at_minute(over[0]) == pytest.approx(2 + 5 / 60)


@pytest.mark.parametrize("ended", [None, 1.0])
def test_an_incident_joins_the_alert_of_a_rule(ended: float | None) -> None:
    all_of = events()
    assert all_of.of_rules([rule(0, opening=True)])[0].is_opening
    if ended is not None:
        assert all_of.of_rules([rule(0, ended=ended)])[0].is_closing
    joined = all_of.of_model([finding(2, opening=True)], SCANNING)
    assert [(c.is_opening, c.row["rule"], c.row["end_time"]) for c in joined] == [(False, "price_move", None)]
    assert joined[0].row["message"].startswith("AAPL: price moved +50.0 bps; scan: price jump, 1 in 20 h: moved 8.0")
    # It lasts until both are over.
    if ended is None:
        assert all_of.of_rules([rule(0, ended=3)]) == []
    over = all_of.of_model([finding(4, over=True)], SCANNING)
    assert [c.is_closing for c in over] == [True]
    assert at_minute(over[0]) == pytest.approx(4 + 5 / 60)


def test_an_alert_of_a_rule_joins_an_incident() -> None:
    all_of = events()
    all_of.of_model([finding(0, opening=True)], SCANNING)
    joined = all_of.of_rules([rule(1, opening=True), rule(1.5, name="volume_spike", opening=True)])
    assert {(c.is_opening, c.row["rule"], c.row["severity"]) for c in joined} == {(False, "scan", "warning")}
    assert joined[1].row["message"].count("; price moved +50.0 bps") == 2
    assert all_of.of_model([finding(2, over=True)], SCANNING) == []
    assert all_of.of_rules([rule(1, ended=3)]) == []
    over = all_of.of_rules([rule(1.5, name="volume_spike", ended=4)])
    assert [(c.is_closing, c.row["rule"], at_minute(c)) for c in over] == [(True, "scan", 4.0)]


def test_after_ten_minutes_it_is_another_event() -> None:
    all_of = events()
    all_of.of_rules([rule(0, opening=True)])
    all_of.of_rules([rule(0, ended=1)])
    assert all_of.of_model([finding(11.5, opening=True)], SCANNING)[0].is_opening
    all_of.of_model([finding(12, over=True)], SCANNING)
    assert all_of.of_rules([rule(23, opening=True)])[0].is_opening


def test_rules_do_not_join_each_other_and_faults_of_the_data_join_nothing() -> None:
    all_of = events()
    opened = all_of.of_rules([rule(0, opening=True), rule(0, name="volume_spike", opening=True)])
    assert [c.is_opening for c in opened] == [True, True]
    all_of = events()
    assert all_of.of_rules([rule(0, name="data_quality", opening=True)])[0].is_opening
    assert all_of.of_model([finding(1, opening=True)], SCANNING)[0].is_opening
    assert all_of.of_rules([rule(2, name="data_quality", opening=True)])[0].is_opening


def left_open() -> dict[str, object]:
    return events().of_model([finding(0, opening=True)], SCANNING)[0].row


def test_an_incident_that_an_earlier_process_left_open_goes_on_or_ends() -> None:
    all_of = events()
    all_of.resume([left_open()])
    assert all_of.tick(START + 2 * NS_PER_MINUTE) == []
    again = all_of.of_model([finding(4, hours=80, opening=True)], SCANNING)
    assert [(c.is_opening, c.row["alert_id"], c.row["peak"]) for c in again] == [(False, left_open()["alert_id"], 80)]
    assert all_of.tick(START + 20 * NS_PER_MINUTE) == []
    all_of = events()
    all_of.resume([left_open()])
    all_of.tick(START + 2 * NS_PER_MINUTE)
    over = all_of.tick(START + 13 * NS_PER_MINUTE)
    assert [(c.is_closing, at_minute(c)) for c in over] == [(True, 2.0)]
    all_of = events()
    all_of.resume([left_open()])
    next_day = all_of.tick(START + 1440 * NS_PER_MINUTE)
    assert [(c.is_closing, at_minute(c)) for c in next_day] == [(True, 0.0)]


def test_after_a_gap_the_same_event_is_not_announced_again() -> None:
    all_of = events()
    all_of.of_model([finding(0, opening=True)], SCANNING)
    assert all_of.of_model([finding(1, over=True)], SCANNING)[0].is_closing
    again = all_of.of_model([finding(5, opening=True)], SCANNING)
    assert [(c.is_opening, c.row["end_time"]) for c in again] == [(False, None)]


CHAMPION_SAYS = Source(CHAMPION, "ensemble/4", 6.5)


def minute_finding(minute: float, *, hours: float | None = 30.0, over: bool = False) -> Finding:
    """What the champion says at the end of a minute."""
    at = START + int(minute * NS_PER_MINUTE)
    end = at + NS_PER_MINUTE
    return Finding("AAPL", "volume_spike", at, end, end, 0.9, hours, "volume against the usual: 9", not over, over)


def test_the_champion_the_scan_and_a_rule_on_one_event_are_one_alert() -> None:
    all_of = events()
    assert all_of.of_model([finding(0.2, opening=True)], SCANNING)[0].is_opening
    joined = all_of.of_model([minute_finding(0)], CHAMPION_SAYS)
    assert [change.is_opening for change in joined] == [False]
    row = joined[0].row
    ALERTS.check(pl.DataFrame([row], schema=ALERTS.schema))
    assert (row["rule"], row["kind"], row["model"]) == ("scan", "price_jump", "scan/3, ensemble/4")
    assert row["message"].endswith("; champion: volume spike, 1 in 30 h: volume against the usual: 9")
    late = all_of.of_rules([rule(2, opening=True)])
    assert [(change.is_opening, change.row["model"]) for change in late] == [(False, "scan/3, ensemble/4")]
    # It lasts until the last of the three is over.
    assert all_of.of_model([finding(3, over=True)], SCANNING) == []
    assert all_of.of_rules([rule(2, ended=3)]) == []
    closed = all_of.of_model([minute_finding(3, over=True)], CHAMPION_SAYS)
    assert [change.is_closing for change in closed] == [True]
    assert at_minute(closed[0]) == pytest.approx(4)


def test_an_alert_of_the_champion_alone_has_model_kind_and_level_and_survives_a_restart() -> None:
    all_of = events()
    row = all_of.of_model([minute_finding(0, hours=100)], CHAMPION_SAYS)[0].row
    assert row["alert_id"] == f"stocks:champion:AAPL:{stamp(START)}"
    assert (row["value"], row["baseline"], row["severity"], row["model"]) == (100.0, 6.5, "warning", "ensemble/4")
    again = events()
    again.resume([row])
    moved = Source(CHAMPION, "ensemble/5", 6.5)
    grown = again.of_model([minute_finding(1, hours=2000)], moved)
    assert [(change.row["alert_id"], change.row["severity"]) for change in grown] == [(row["alert_id"], "critical")]
    assert grown[0].row["model"] == "ensemble/4, ensemble/5"


def test_a_model_without_hours_says_its_score() -> None:
    row = events().of_model([minute_finding(0, hours=None)], Source(CHAMPION, "isolation_forest/2", 0.6))[0].row
    assert (row["value"], row["baseline"], row["severity"]) == (0.9, 0.6, "warning")
    assert row["message"] == "AAPL: volume spike, score 0.9, alerts from 0.6: volume against the usual: 9"


def test_what_is_known_late_does_not_join_an_event_that_began_long_after() -> None:
    all_of = events()
    all_of.of_rules([rule(30, opening=True)])
    assert [change.is_opening for change in all_of.of_model([minute_finding(5)], CHAMPION_SAYS)] == [True]
    assert [change.is_closing for change in all_of.of_model([minute_finding(5, over=True)], CHAMPION_SAYS)] == [True]
    joined = all_of.of_model([minute_finding(29)], CHAMPION_SAYS)
    assert [(change.is_opening, change.row["rule"]) for change in joined] == [(False, "price_move")]
