"""The run report: its content, self-contained, and in a real browser."""

import datetime as dt
import re
from pathlib import Path

import polars as pl
import pytest

from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.derived import INCIDENTS
from tapewatch.market.tables.tape import ANOMALIES, BARS, EVALUATION
from tapewatch.reports.run_report import CHARTS, TOP_EVENTS, render, write_report
from tests.support.anomalies import OPEN, event, events
from tests.support.browser import browser_page
from tests.support.made_up_run import bars, detections, summary, truth

MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def page() -> str:
    return render(summary())


def body(html: str) -> str:
    return html[html.index("<body>") :]


def test_shows_what_each_detector_found_on_unseen_days(page: str) -> None:
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body(page)))
    assert "Isolation Forest, unseen days 2 of 4" in text
    assert "scan, unseen days 3 of 4" in text
    # In the tape, and found, delay of each; the rule's last.
    assert "price jump 2 2 90 s 2 9 s 1" in text
    assert "quote stuffing 2 0 1 40 s 0" in text
    assert "false alerts in 390 minutes of a symbol 1.25 0.75" in text


def test_shows_incidents_with_level_and_reasons(page: str) -> None:
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body(page)))
    assert "quote stuffing 1 in 10,000 h a reason of quote_stuffing" in text
    assert "incidents: 4" in text
    assert "The rarest incidents" not in body(render(summary(incidents=INCIDENTS.empty())))


def test_shows_steps_model_and_reasons(page: str) -> None:
    for part in ("tape/trades", "12.4 s", "isolation_forest", "AAPL", "return bps", "-84.5", "not known"):
        assert part in body(page), part


def test_fetches_nothing(page: str) -> None:
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=", page)
    assert page.count("<script>") >= 1
    assert len(page) < 10 * MEGABYTE


def test_the_number_of_charts_is_limited() -> None:
    symbols = [f"S{n:02d}" for n in range(CHARTS + 4)]
    many = events(*(event(symbol, score=0.6 + n / 100) for n, symbol in enumerate(symbols)))
    frames = pl.concat(bars(symbol, Market.STOCKS, n) for n, symbol in enumerate(symbols))
    page = render(summary(bars=frames, anomalies=many, truth=None))
    assert page.count('class="card chart"') == CHARTS
    assert "S11, Monday" in page, "the highest score is shown"
    assert "S00, Monday" not in page
    assert len(page) < 10 * MEGABYTE


def test_lists_only_the_strongest_events() -> None:
    starts = [OPEN + dt.timedelta(minutes=n) for n in range(TOP_EVENTS + 5)]
    many = events(*(event(start=start, score=0.6 + n / 1000) for n, start in enumerate(starts)))
    assert body(render(summary(anomalies=many))).count('<div class="reasons">') == TOP_EVENTS


def test_a_run_that_found_nothing_says_so() -> None:
    page = body(render(summary(anomalies=ANOMALIES.empty(), truth=None)))
    assert "No minute reached the threshold" in page
    assert 'class="card chart"' not in page


def test_an_outage_without_bars_can_be_marked() -> None:
    gap = (pl.col("time") < OPEN) | (pl.col("time") >= OPEN + dt.timedelta(minutes=5))
    page = render(summary(bars=bars("AAPL", Market.STOCKS, 1).filter(gap), anomalies=events(event(kind="feed_outage"))))
    assert "feed outage" in page


def test_futures_are_charted_on_the_day_of_their_session() -> None:
    """Their symbols look like those of stocks, and their day begins in the evening before."""
    day = Partition(OPEN.date(), Market.FUTURES)
    start = dt.datetime.fromtimestamp(day.session.day_start // 10**9, dt.UTC) + dt.timedelta(minutes=30)
    assert start.date() < day.date
    page = render(
        summary(
            partitions=[day],
            bars=bars("ESZ9", Market.FUTURES, 1),
            anomalies=events(event("ESZ9", start, kind="price_jump")),
            truth=None,
        )
    )
    assert f"ESZ9, Monday {day.date}" in page


def test_an_index_has_no_empty_chart_of_its_volume() -> None:
    made = bars("I:SPX", Market.INDICES, 1)
    days = {"partitions": [Partition(OPEN.date(), Market.INDICES)], "anomalies": events(event("I:SPX")), "truth": None}
    with_volume, without = (
        body(render(summary(bars=rows, **days))) for rows in (made, made.with_columns(volume=pl.lit(0.0)))
    )
    assert '"text":"volume"' in with_volume
    assert '"text":"volume"' not in without
    assert 'class="card chart"' in without


def test_a_run_that_could_not_be_judged_or_lacks_a_day_says_so() -> None:
    page = body(render(summary(evaluation=EVALUATION.empty(), absent=[Partition(OPEN.date(), Market.FOREX)])))
    assert "The detector was not judged" in page
    assert f"no tape of {OPEN.date()} (forex)" in page
    assert "not judged" not in body(render(summary()))


def test_values_are_escaped() -> None:
    page = render(summary(title="<b>&", model={"note": "<script>alert(1)</script>"}))
    assert "<script>alert(1)" not in page
    assert "&lt;b&gt;&amp;" in page


def test_the_report_is_written_into_a_new_folder(tmp_path: Path) -> None:
    path = write_report(summary(), tmp_path / "reports" / "run.html")
    assert path.read_text(encoding="utf-8").endswith("</html>")
    assert [p.name for p in path.parent.iterdir()] == ["run.html"]


def test_the_frames_of_these_tests_have_the_schemas_of_the_tables() -> None:
    BARS.check(bars("AAPL", Market.STOCKS, 1))
    ANOMALIES.check(detections())
    assert truth().height == 8


@pytest.mark.slow
def test_a_browser_draws_every_chart_without_a_network_or_an_error(tmp_path: Path) -> None:
    path = write_report(summary(), tmp_path / "run.html")
    errors: list[str] = []
    requests: list[str] = []
    with browser_page() as page:
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        charts, marks = (page.locator(f".chart .{layer}") for layer in ("boxlayer", "scatterlayer .points path"))
        # The charts are drawn one after the other.
        charts.nth(1).wait_for(state="attached")
        marks.nth(8).wait_for(state="attached")
        assert marks.count() == 9
    assert not errors
    assert requests == [path.as_uri()]
