"""The challenger beside the champion: what is counted, and what it comes to."""

import datetime as dt
import json

import polars as pl

from tapewatch.market.tables.live import SHADOW_MINUTES
from tapewatch.market.tables.tape import TIME
from tapewatch.streaming.detection.shadow import Shadow, shadow_report

START = dt.datetime(2024, 6, 4, 14, tzinfo=dt.UTC)


def said(**minutes: set[int]) -> pl.DataFrame:
    """Two hours of symbols; the flagged minutes of each."""
    return pl.DataFrame(
        [
            {"symbol": symbol, "event_time": START + dt.timedelta(minutes=at), "is_flagged": at in flagged}
            for symbol, flagged in minutes.items()
            for at in range(120)
        ],
        schema={"symbol": pl.String, "event_time": TIME, "is_flagged": pl.Boolean},
    )


def test_agreement_and_alerts_gained_and_lost_worked_out_by_hand() -> None:
    shadow = Shadow("ensemble/4", "ensemble/5")
    champion = said(A={10, 11, 50}, B={90})
    challenger = said(A={12, 13, 100}, B=set())
    rows = shadow.add(champion, challenger)
    SHADOW_MINUTES.check(rows)
    assert rows.height == 120
    assert (shadow.scored, shadow.agreed) == (240, 233)
    report = shadow_report(rows)
    # A's first alerts are about one event; the champion alone has two more, the challenger one.
    assert (report.hours, report.symbol_minutes) == (2.0, 240)
    assert report.agreement == 233 / 240
    assert (report.champion_alerts, report.challenger_alerts) == (3, 2)
    assert (report.gained, report.lost) == (1, 2)
    empty = shadow_report(rows.clear())
    assert (empty.hours, empty.agreement, empty.gained) == (0.0, None, 0)


def test_a_minute_that_comes_again_is_counted_once() -> None:
    shadow = Shadow("ensemble/4", "ensemble/5")
    first = shadow.add(said(A={10}, B={10}), said(A={10}, B=set()))
    late = said(A=set(), B={10}).filter(pl.col("event_time") == START + dt.timedelta(minutes=119))
    again = shadow.add(late, late.filter(pl.col("symbol") == "A"))
    assert again["symbols"].to_list() == [2]
    merged = pl.concat([first, again]).unique(SHADOW_MINUTES.key, keep="last")
    assert shadow_report(merged) == shadow_report(first)
    tenth = first.filter(pl.col("event_time") == START + dt.timedelta(minutes=10))
    assert json.loads(tenth["by_champion"][0]) == ["A", "B"]
    assert json.loads(tenth["by_challenger"][0]) == ["A"]
