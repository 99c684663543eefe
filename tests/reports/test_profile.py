"""The profile of a day against direct counts of the tape, and the page in a real browser."""

import datetime as dt
import re
from pathlib import Path

import polars as pl
import pytest

from tapewatch.bars.coverage import coverage
from tapewatch.bars.time_bars import minute_bars, reconcile
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.derived import PROFILE
from tapewatch.market.tables.tape import BARS, COVERAGE, DELIVERED_BARS, QUARANTINE, QUOTES, TRADES, quarantine_of
from tapewatch.reports.profile_page import render_profile, tables_of
from tapewatch.reports.tape_profile import TapeProfile, field_rows, profile_day, profile_days
from tapewatch.store.lake.lake import Lake, MissingPartitionError
from tests.support.browser import browser_page
from tests.support.recorded import recorded_quotes, recorded_trades
from tests.support.tapes import DAY, random_tape, stock_session

PARTITION = Partition(DAY, Market.STOCKS)
SESSION = PARTITION.session


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(tmp_path_factory.mktemp("lake"))
    trades, quotes = random_tape(5)
    bars = reconcile(minute_bars(trades, stock_session()), DELIVERED_BARS.empty())
    lake.write(TRADES, PARTITION, trades)
    lake.write(QUOTES, PARTITION, quotes)
    lake.write(BARS, PARTITION, bars)
    lake.write(COVERAGE, PARTITION, coverage(trades, quotes, bars, stock_session()))
    refused = [
        {"source": "file", "line": line, "reason": f"price: {line}.5 is no number", "raw": "x"} for line in (2, 7)
    ]
    lake.write(quarantine_of(TRADES), PARTITION, QUARANTINE.conform(pl.DataFrame(refused)))
    return lake


@pytest.fixture(scope="module")
def profile(lake: Lake) -> TapeProfile:
    return profile_day(lake, PARTITION)


def test_counts_match_the_tape(lake: Lake, profile: TapeProfile) -> None:
    trades, quotes = lake.read(TRADES, PARTITION), lake.read(QUOTES, PARTITION)
    same = ["symbol", "time", "price", "size", "exchange", "conditions"]
    repeats = profile.repeats.filter(pl.col("table") == "trades")
    assert repeats["rows"].sum() == trades.height
    assert repeats["repeated"].sum() == trades.height - trades.select(same).unique().height
    both = quotes.filter((pl.col("bid_price") > 0) & (pl.col("ask_price") > 0))
    crossed = both.filter(pl.col("bid_price") > pl.col("ask_price")).height
    assert profile.repeats.filter(pl.col("table") == "quotes")["crossed"].sum() == crossed > 0
    assert profile.conditions["trades"].sum() == trades.height
    assert profile.refused.select("table", "rows").rows() == [("trades", 2)]


def test_revised_and_compared_bars_are_counted(lake: Lake, profile: TapeProfile, tmp_path: Path) -> None:
    bars = lake.read(BARS, PARTITION)
    assert profile.revisions["bars"].sum() == bars.height
    assert profile.revisions["compared"].sum() == 0
    other = Lake(tmp_path)
    is_first = pl.int_range(pl.len()) == 0
    compared = bars.with_columns(
        revision=pl.when(is_first).then(2).otherwise(0).cast(pl.Int32), is_volume_equal=is_first, is_price_equal=True
    )
    other.write(BARS, PARTITION, compared)
    found = profile_day(other, PARTITION).revisions.drop("date", "market", "symbol").sum().row(0)
    assert found == (bars.height, 1, bars.height, 1, bars.height)


def test_every_field_has_a_row(lake: Lake, profile: TapeProfile) -> None:
    fields = {(row["table"], row["column"]): row for row in profile.columns.to_dicts()}
    assert set(fields) == {(table.name, name) for table in (TRADES, QUOTES, BARS) for name in table.schema}
    trades = lake.read(TRADES, PARTITION)
    assert fields["trades", "price"]["minimum"] == f"{trades['price'].min():,.10g}"
    assert fields["trades", "trf_id"]["nulls"] == trades.height
    assert fields["trades", "symbol"]["distinct"] == 2
    PROFILE.check(field_rows(profile))


def test_half_hours_and_conditions_add_up_to_the_day(profile: TapeProfile, lake: Lake) -> None:
    assert profile.half_hours["volume"].sum() == pytest.approx(lake.read(BARS, PARTITION)["volume"].sum())
    average = profile.conditions.filter(pl.col("conditions") == "2").row(0, named=True)
    assert average["allows"] == "volume"
    assert (average["buys"], average["sells"]) == (0, 0)


def test_an_empty_day_is_refused(lake: Lake) -> None:
    with pytest.raises(MissingPartitionError, match="materialize it first"):
        profile_day(lake, Partition(DAY.replace(day=6), Market.STOCKS))


def test_a_market_with_bars_only_has_a_page(tmp_path: Path, lake: Lake) -> None:
    bare = Lake(tmp_path)
    bare.write(BARS, PARTITION, lake.read(BARS, PARTITION))
    page = render_profile(profile_day(bare, PARTITION), title="bars alone")
    assert "How much it moves" in page
    assert "Condition codes" not in page


def test_a_market_without_trades_is_profiled_by_its_quotes(tmp_path: Path, lake: Lake) -> None:
    bare = Lake(tmp_path)
    bare.write(QUOTES, PARTITION, lake.read(QUOTES, PARTITION))
    profile = profile_day(bare, PARTITION)
    quotes = lake.read(QUOTES, PARTITION).with_columns(pl.col("symbol").cast(pl.String))
    sound = quotes.filter((pl.col("bid_price") > 0) & (pl.col("ask_price") >= pl.col("bid_price")))
    regular = sound.filter(
        pl.col("time").to_physical().is_between(SESSION.regular_start, SESSION.regular_end, closed="left")
    )
    closes = regular.group_by("symbol", pl.col("time").dt.truncate("1m")).agg(
        close=((pl.col("bid_price") + pl.col("ask_price")) / 2).sort_by("time", "sequence_number").last().log()
    )
    expected = closes.sort("time").group_by("symbol").agg(percent=100 * (pl.col("close").diff() ** 2).sum().sqrt())
    found = profile.volatility.sort("symbol")
    assert found["close_to_close"].to_list() == pytest.approx(expected.sort("symbol")["percent"].to_list())
    assert profile.half_hours["quotes"].sum() > 0
    page = render_profile(profile, title="quotes alone")
    assert "this market reports no volume" in page
    assert "prices are midpoints of bid and ask" in page
    assert "realised, 5 s" not in page


def test_ranges_cover_all_days_and_an_empty_column_has_no_value(lake: Lake, tmp_path: Path) -> None:
    other = Lake(tmp_path)
    next_day = Partition(DAY + dt.timedelta(days=1), Market.STOCKS)
    trades = lake.read(TRADES, PARTITION).with_columns(time=pl.col("time") + dt.timedelta(days=1))
    other.write(TRADES, next_day, trades.with_columns(price=pl.col("price") * 1000))
    both = profile_days([profile_day(lake, PARTITION), profile_day(other, next_day)])
    (fields,) = ({field["name"]: field for field in t["fields"]} for t in tables_of(both) if t["name"] == "trades")
    assert fields["price"]["minimum"] == f"{trades['price'].min():,.10g}"
    assert fields["price"]["maximum"] == f"{trades['price'].max() * 1000:,.10g}"  # type: ignore[operator]
    assert (fields["trf_id"]["filled"], fields["trf_id"]["distinct"]) == (0, 0)


@pytest.mark.slow
def test_the_page_in_a_browser(profile: TapeProfile, tmp_path: Path) -> None:
    path = tmp_path / "profile.html"
    path.write_text(render_profile(profile_days([profile]), title="The tape of stocks"), encoding="utf-8")
    faults: list[str] = []
    with browser_page() as page:
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(path.as_uri())
        page.wait_for_selector(".js-plotly-plot .main-svg")
        assert page.locator(".js-plotly-plot").count() >= 5
        assert page.locator(".modebar").count() == 0
        text = re.sub(r"\s+", " ", page.inner_text("main"))
    assert faults == []
    for part in (
        "Average Price Trade",
        "How complete the tape is",
        "price: … is no number",
        "Rogers and Satchell",
        "high and low, volume",
    ):
        assert part in text


@pytest.mark.long
@pytest.mark.real_tape
def test_crossed_and_locked_quotes_of_a_recorded_day_are_counted(market_data: Path, tmp_path: Path) -> None:
    day = Partition(DAY.replace(year=2013, month=10, day=7), Market.STOCKS)
    lake = Lake(tmp_path)
    lake.write(TRADES, day, recorded_trades(market_data, day.date).sort(TRADES.sort))
    lake.write(QUOTES, day, recorded_quotes(market_data, day.date).sort(QUOTES.sort))
    quotes = profile_day(lake, day).repeats.filter(pl.col("table") == "quotes").sort("symbol")
    assert quotes["crossed"].to_list() == [95, 0, 43]
    assert quotes["locked"].to_list() == [13_882, 4_723, 325]
