"""The feed, marks of a chart, order flow, correlations and health, on a small home with known values."""

import datetime as dt
import io
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from dashboard.reading import flow, health, markets
from dashboard.reading.export import exported
from dashboard.reading.features import against_normal
from dashboard.reading.happenings import feed, marks, reasons
from tapewatch.features.cross_asset.correlations import correlations
from tapewatch.labels.people.human import HumanLabel
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.features import CORRELATIONS
from tapewatch.market.tables.live import GAPS, LIVE_BARS, LIVE_MICROSTRUCTURE
from tapewatch.market.tables.tape import COVERAGE, MICROSTRUCTURE
from tapewatch.store.database.database import Database
from tapewatch.store.database.people.human_labels import add_labels
from tapewatch.store.database.people.verdicts import give_verdict
from tapewatch.store.lake.lake import Lake
from tests.support.live_rows import rows_of
from tests.support.panels import bars_of_market
from tests.support.tapes import stock_session
from tests.support.watched_home import BURST, DAY, FAR, HOSTILE, INCIDENT, NEAR, START, live_bars

HOUR = dt.timedelta(hours=1)
#: Of the tape.
END = START + dt.timedelta(minutes=25)


def test_the_feed_holds_alerts_and_incidents_with_the_newest_verdict(database: Database) -> None:
    assert set(feed(database)["id"]) == {NEAR, FAR, INCIDENT}
    give_verdict(database, INCIDENT, verdict="confirmed", author="ann")
    give_verdict(database, INCIDENT, verdict="dismissed", author="ben")
    row = feed(database, alert_id=INCIDENT).row(0, named=True)
    assert (row["verdict"], row["severity"], row["source"]) == ("dismissed", "critical", "incident")
    assert row["message"] == "AAPL: volume spike, 1 in 2,000 h: 20 times the usual size"
    assert reasons(database, row)[0]["words"] == "20 times the usual size"
    assert feed(database, symbol="MSFT")["id"].to_list() == [FAR]
    assert feed(database, alert_id=NEAR)["id"].to_list() == [NEAR]
    assert feed(database, alert_id="stocks:incident:AAPL:no time").is_empty()
    assert feed(database, start=BURST[1]).is_empty()


def test_a_chart_marks_alerts_incidents_and_labels_of_its_symbol(lake: Lake, database: Database) -> None:
    label = HumanLabel(Market.STOCKS, "AAPL", *BURST, "volume_spike", "ann", 0.5)
    add_labels(database, [label], actor="ann", source="test")
    found = marks(lake, database, Market.STOCKS, "AAPL", START, START + HOUR)
    assert sorted(found["source"]) == ["alert", "incident", "label"]
    assert found["end_time"].to_list() == [BURST[1]] * 3


def test_minutes_are_the_lakes_and_then_the_live_ones(lake: Lake, database: Database) -> None:
    stored = lake.read(MICROSTRUCTURE, DAY, symbols=["AAPL"])
    live = stored.tail(2).with_columns(
        pl.col("event_time", "known_time").dt.offset_by("1m"), volume=7.0, revision=pl.lit(0, pl.Int32)
    )
    database.upsert(LIVE_MICROSTRUCTURE, DAY, LIVE_MICROSTRUCTURE.conform(live))
    rows = flow.minutes(lake, database, Market.STOCKS, "AAPL", START, START + 12 * HOUR)
    wanted = stored.filter(pl.col("event_time") >= START).height + 1
    assert rows.height == wanted
    assert rows["event_time"].is_unique().all()


def test_flows_sum_what_was_bought_and_sold(lake: Lake, database: Database) -> None:
    rows = flow.minutes(lake, database, Market.STOCKS, "AAPL", START, START + HOUR)
    sums = flow.flows(rows, most=7)
    assert sums.height <= 7
    assert sums["buy"].sum() == pytest.approx(rows["buy_volume"].sum())
    first = sums.row(0, named=True)
    assert first["imbalance"] == pytest.approx((first["buy"] - first["sell"]) / (first["buy"] + first["sell"]))


def test_thinning_keeps_the_extremes() -> None:
    times = pl.Series("event_time", np.arange(50_000) * 60_000_000_000).cast(pl.Datetime("ns", "UTC"))
    values = np.random.default_rng(1).normal(size=50_000)
    values[[777, 31_000]] = 99.0, -99.0
    line = flow.thinned(pl.DataFrame({"event_time": times, "x": values}), "x", 800)
    assert line.height <= 800
    assert (line["x"].max(), line["x"].min()) == (99.0, -99.0)
    assert line["event_time"].is_sorted()


def test_correlations_equal_those_of_numpy(lake: Lake, database: Database) -> None:
    matrix = flow.correlations(lake, database, Market.STOCKS, ["AAPL", "MSFT"], END, 20)
    own = [
        flow.minutes(lake, database, Market.STOCKS, symbol, START, END)["return_bps"].drop_nulls().tail(20)
        for symbol in ("AAPL", "MSFT")
    ]
    assert matrix["symbol"].to_list() == ["AAPL", "MSFT"]
    np.testing.assert_allclose(matrix.select("AAPL", "MSFT").to_numpy(), np.corrcoef(*own), atol=1e-12)


def test_the_burst_drives_volume_beyond_its_usual_range(lake: Lake, database: Database) -> None:
    rows = lake.read(MICROSTRUCTURE, DAY)
    longer = pl.concat([rows, rows.with_columns(pl.col("event_time", "known_time").dt.offset_by("2h"))]).sort(
        "symbol", "event_time"
    )
    lake.write(MICROSTRUCTURE, DAY, longer)
    found = against_normal(lake, database, Market.STOCKS, "AAPL", *BURST)
    assert found["beyond"].is_sorted(descending=True)
    row = found.filter(pl.col("feature") == "volume_ratio").row(0, named=True)
    inside = longer.filter(pl.col("symbol").cast(pl.String) == "AAPL", pl.col("event_time").is_between(*BURST))
    assert row["value"] == pytest.approx(inside["volume_ratio"].max())
    assert row["high"] < row["value"]
    assert against_normal(lake, database, Market.FOREX, "C:EUR-USD", *BURST).is_empty()


def test_markets_with_bars_of_the_lake_or_of_the_present(lake: Lake, database: Database) -> None:
    now = dt.datetime.now(dt.UTC).replace(second=0, microsecond=0)
    database.upsert(LIVE_BARS, Partition(now.date(), Market.CRYPTO), live_bars("X:BTC-USD", now, [1.0]))
    assert markets.symbols(lake, database) == {Market.STOCKS: ["AAPL", "MSFT"], Market.CRYPTO: ["X:BTC-USD"]}
    assert markets.zone_name(Market.STOCKS, is_utc=False) == "America/New_York"
    assert health.newest_bars(database).rows() == [("crypto", now)]


def test_health_shows_open_gaps_of_any_age_and_the_share_of_complete_symbols(lake: Lake, database: Database) -> None:
    old = rows_of(GAPS, 3).with_columns(status=pl.Series(["open", "healed", "growing"]))
    database.upsert(GAPS, DAY, old)
    assert health.gaps(database, dt.datetime.now(dt.UTC))["status"].sort().to_list() == ["growing", "open"]
    table = rows_of(COVERAGE, 4).with_columns(
        symbol=pl.Series(["A", "B", "C", "D"]), is_complete=pl.Series([True, True, True, False])
    )
    lake.write(COVERAGE, DAY, COVERAGE.conform(table))
    assert health.coverage(lake, Market.STOCKS).select("symbols", "complete").rows() == [(4, 0.75)]
    assert health.disk(lake.root.parent).total > 0


def test_no_spreadsheet_runs_what_is_exported() -> None:
    rows = pl.DataFrame({"note": ["=1+1", "@cmd", "-2", "plain", None, HOSTILE], "x": [-1.0, 2, 3, 4, 5, 6]})
    text = exported(rows, "csv").decode()
    assert pl.read_csv(io.StringIO(text))["note"].to_list() == ["'=1+1", "'@cmd", "'-2", "plain", None, HOSTILE]
    assert pl.read_csv(io.StringIO(text))["x"][0] == -1.0
    assert pl.read_parquet(io.BytesIO(exported(rows, "parquet"))).equals(rows)


@pytest.mark.parametrize("is_live", [False, True])
def test_a_stored_matrix_is_read_where_it_has_the_moment(tmp_path: Path, database: Database, is_live: bool) -> None:
    day, session = Partition(dt.date(2024, 3, 5), Market.STOCKS), stock_session()
    lake, names = Lake(tmp_path), ["S0", "S2", "S1"]
    rows = correlations(bars_of_market(session, 4, 200), session)
    if is_live:
        database.upsert(CORRELATIONS, day, rows)
    else:
        lake.write(CORRELATIONS, day, rows)
    end = dt.datetime.fromtimestamp(session.regular_start / 1e9, dt.UTC) + dt.timedelta(minutes=120)
    at = rows.filter(pl.col("event_time") == end - dt.timedelta(minutes=1)).with_columns(
        pl.selectors.categorical().cast(pl.String)
    )
    assert at.height == 12
    matrix = flow.correlations(lake, database, Market.STOCKS, names, end + dt.timedelta(minutes=3), 60)
    assert matrix["symbol"].to_list() == names == matrix.columns[1:]
    for row in matrix.iter_rows(named=True):
        for other in names:
            pair = at.filter(pl.col("symbol") == row["symbol"], pl.col("other") == other)["correlation_60m"]
            assert row[other] == (1.0 if other == row["symbol"] else pair.item())
    # Another window, a symbol that it lacks, or a moment after its end: computed from the minutes, of which there are none.
    for symbols, later, window in ((names, 3, 120), ([*names, "S9"], 3, 60), (names, 300, 60)):
        found = flow.correlations(lake, database, Market.STOCKS, symbols, end + dt.timedelta(minutes=later), window)
        assert found.height == 0
