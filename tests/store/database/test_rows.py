"""Upserts and reads on both engines: rows are read as written, and later rows replace earlier ones."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from tapewatch.market.instruments import Market, Partition
from tapewatch.market.schema import SchemaError, Table
from tapewatch.market.tables.live import ALERTS, GAPS, LIVE_BARS, LIVE_MICROSTRUCTURE, LIVE_QUARANTINE
from tapewatch.market.tables.tape import COVERAGE, TRADES
from tapewatch.store.database import upserts
from tapewatch.store.database.database import Database
from tapewatch.store.database.tables import SQL_TABLES, time_column
from tapewatch.store.database.upkeep import copying
from tests.support.live_frames import frames
from tests.support.live_rows import rows_of

MONDAY = Partition(dt.date(2024, 6, 3), Market.STOCKS)
TUESDAY = Partition(dt.date(2024, 6, 4), Market.STOCKS)
CRYPTO = Partition(dt.date(2024, 6, 3), Market.CRYPTO)
PLACE = ("market", "date")


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('sqlite') / 'tapewatch.db'}"
    else:
        url = request.getfixturevalue("server").database()
    with Database(url) as database:
        yield database


@pytest.fixture
def database(opened: Database) -> Database:
    _clear(opened)
    return opened


def _clear(database: Database) -> None:
    with database.engine.begin() as connection:
        copying.clear(connection)


def _bare(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    return frame.drop(PLACE).sort([pl.col(name).cast(pl.String) for name in table.key])


def _as_kept(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    text = pl.col(pl.String).str.replace_all("\x00", "\u2400", literal=True)
    categories = pl.col(pl.Categorical).cast(pl.String).str.replace_all("\x00", "\u2400", literal=True)
    frame = table.conform(frame.with_columns(text, categories))
    return frame.unique(table.key, keep="last").sort([pl.col(name).cast(pl.String) for name in table.key])


@pytest.mark.parametrize("table", SQL_TABLES, ids=lambda table: table.name)
def test_rows_of_every_table_come_back_whole(database: Database, table: Table) -> None:
    rows = rows_of(table, 300)
    assert database.upsert(table, MONDAY, rows) == rows.height
    found = database.read(table)
    assert found.schema == {"market": pl.String(), "date": pl.Date(), **table.schema}
    assert found["market"].unique().to_list() == ["stocks"]
    assert found["date"].unique().to_list() == [MONDAY.date]
    assert_frame_equal(_bare(found, table), _as_kept(rows, table), categorical_as_str=True)


@pytest.mark.parametrize("few", [0, 1_000], ids=["many", "few"])
@pytest.mark.parametrize("table", [ALERTS, LIVE_BARS, GAPS, LIVE_QUARANTINE], ids=lambda table: table.name)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_value_survives_both_ways_of_writing(
    database: Database, table: Table, few: int, data: st.DataObject
) -> None:
    rows = data.draw(frames(table))
    _clear(database)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upserts, "_FEW_ROWS", few)
        written = database.upsert(table, MONDAY, rows)
    expected = _as_kept(rows, table)
    assert written == expected.height
    assert_frame_equal(_bare(database.read(table), table), expected, categorical_as_str=True, check_exact=True)


@pytest.mark.parametrize("count", [3, 500])
def test_a_row_with_a_stored_key_replaces_the_stored_row(database: Database, count: int) -> None:
    first, second = rows_of(LIVE_BARS, count, seed=1), rows_of(LIVE_BARS, count, seed=2)
    database.upsert(LIVE_BARS, MONDAY, first)
    database.upsert(LIVE_BARS, MONDAY, second)
    assert_frame_equal(_bare(database.read(LIVE_BARS), LIVE_BARS), _as_kept(second, LIVE_BARS), categorical_as_str=True)


@pytest.mark.parametrize("few", [0, 1_000], ids=["many", "few"])
@pytest.mark.parametrize("table", [LIVE_BARS, LIVE_MICROSTRUCTURE], ids=lambda table: table.name)
def test_revisions_continue_from_the_stored_ones(
    database: Database, table: Table, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a restart of the count, equal content changes nothing and other content gets the next revision."""
    monkeypatch.setattr(upserts, "_FEW_ROWS", few)
    kept = rows_of(table, 6).with_columns(pl.lit(4, pl.Int32).alias("revision"))
    database.upsert(table, MONDAY, kept)
    anew = kept.with_columns(pl.lit(0, pl.Int32).alias("revision"), (pl.col("known_time") - dt.timedelta(minutes=1)))
    assert database.revise(table, MONDAY, anew) == kept.height
    assert_frame_equal(_bare(database.read(table), table), _as_kept(kept, table), categorical_as_str=True)
    values = pl.col("volume").fill_null(0) + 1
    database.revise(table, MONDAY, anew.with_columns(values, pl.lit(2, pl.Int32).alias("revision")))
    expected = kept.with_columns(values, pl.lit(5, pl.Int32).alias("revision"))
    assert_frame_equal(_bare(database.read(table), table), _as_kept(expected, table), categorical_as_str=True)
    database.revise(table, MONDAY, anew.with_columns(values + 1, pl.lit(9, pl.Int32).alias("revision")))
    assert database.read(table)["revision"].unique().to_list() == [9]


@pytest.mark.parametrize("table", [LIVE_BARS, LIVE_MICROSTRUCTURE], ids=lambda table: table.name)
def test_remove_deletes_only_the_given_keys(database: Database, table: Table) -> None:
    rows = rows_of(table, 10).unique(table.key)
    for place in (MONDAY, CRYPTO):
        database.upsert(table, place, rows)
    gone = rows.head(3).select(table.key)
    assert database.remove(table, MONDAY, pl.concat([gone, gone])) == 3
    assert database.remove(table, MONDAY, gone.clear()) == 0
    assert database.read(table, market="crypto").height == rows.height
    left = _bare(database.read(table, market="stocks"), table)
    assert_frame_equal(left, _as_kept(rows[3:], table), categorical_as_str=True)


@pytest.mark.parametrize("count", [3, 500])
def test_the_last_row_of_a_repeated_key_is_stored(database: Database, count: int) -> None:
    first, second = rows_of(LIVE_BARS, count, seed=1), rows_of(LIVE_BARS, count, seed=2)
    assert database.upsert(LIVE_BARS, MONDAY, pl.concat([first, second])) == count
    assert_frame_equal(_bare(database.read(LIVE_BARS), LIVE_BARS), _as_kept(second, LIVE_BARS), categorical_as_str=True)


def test_keys_that_differ_by_less_than_a_microsecond_are_the_same(database: Database) -> None:
    bar = rows_of(LIVE_BARS, 1)
    later = bar.with_columns(pl.col("time").cast(pl.Int64).add(999).cast(bar.schema["time"]), volume=pl.lit(5.0))
    assert database.upsert(LIVE_BARS, MONDAY, pl.concat([bar, later])) == 1
    assert database.read(LIVE_BARS)["volume"].to_list() == [5.0]


def test_rows_of_markets_are_separate(database: Database) -> None:
    bars = rows_of(LIVE_BARS, 10)
    database.upsert(LIVE_BARS, MONDAY, bars)
    database.upsert(LIVE_BARS, CRYPTO, bars)
    assert database.read(LIVE_BARS).height == 20
    assert database.read(LIVE_BARS, market=Market.CRYPTO)["market"].unique().to_list() == ["crypto"]


def test_coverage_is_stored_by_day(database: Database) -> None:
    rows = rows_of(COVERAGE, 5)
    for day in (MONDAY, TUESDAY, TUESDAY):
        database.upsert(COVERAGE, day, rows)
    assert database.read(COVERAGE).height == 10
    noon = dt.datetime(2024, 6, 4, 12, tzinfo=dt.UTC)
    assert database.read(COVERAGE, start=noon)["date"].unique().to_list() == [TUESDAY.date]
    midnight = dt.datetime(2024, 6, 4, tzinfo=dt.UTC)
    assert database.read(COVERAGE, end=midnight)["date"].unique().to_list() == [MONDAY.date]


def test_an_empty_frame_opens_no_transaction(database: Database) -> None:
    assert database.upsert(ALERTS, MONDAY, ALERTS.empty()) == 0
    assert database.read(ALERTS).schema == {"market": pl.String(), "date": pl.Date(), **ALERTS.schema}


@pytest.mark.parametrize("table", [table for table in SQL_TABLES if time_column(table)], ids=lambda table: table.name)
def test_ranges_are_half_open_and_the_order_is_that_of_time(database: Database, table: Table) -> None:
    rows = rows_of(table, 40)
    database.upsert(table, MONDAY, rows)
    time = time_column(table)
    assert time is not None
    moments = rows[time].to_list()
    found = database.read(table, start=moments[10], end=moments[30])
    assert found[time].to_list() == moments[10:30]
    newest = database.read(table, newest_first=True, limit=3)
    assert newest[time].to_list() == moments[:-4:-1]


def test_where_selects_values_nulls_and_any_of_several(database: Database) -> None:
    rows = rows_of(GAPS, 60).with_columns(status=pl.Series([("open", "growing", "healed")[n % 3] for n in range(60)]))
    database.upsert(GAPS, MONDAY, rows)
    assert database.read(GAPS, where={"status": "open"}).height == 20
    assert database.read(GAPS, where={"status": ["open", "growing"]}).height == 40
    unhealed = database.read(GAPS, where={"healed_time": None})
    assert unhealed.height == rows["healed_time"].null_count() > 0
    both = database.read(GAPS, where={"status": "open", "healed_time": None, "date": MONDAY.date})
    assert both.height == rows.filter(pl.col("status") == "open", pl.col("healed_time").is_null()).height
    gap = rows["gap_id"][7]
    assert database.read(GAPS, where={"gap_id": gap})["gap_id"].to_list() == [gap]


def test_symbols_are_found(database: Database) -> None:
    bars = rows_of(LIVE_BARS, 70)
    database.upsert(LIVE_BARS, MONDAY, bars)
    symbol = bars["symbol"].cast(pl.String)[0]
    assert database.read(LIVE_BARS, symbol=symbol)["symbol"].cast(pl.String).unique().to_list() == [symbol]


def test_rows_that_do_not_fit_are_refused_with_their_fault(database: Database) -> None:
    bars = rows_of(LIVE_BARS, 3)
    with pytest.raises(SchemaError, match="volume: NaN"):
        database.upsert(LIVE_BARS, MONDAY, bars.with_columns(volume=float("nan")))
    with pytest.raises(SchemaError, match="close"):
        database.upsert(LIVE_BARS, MONDAY, bars.drop("close"))
    with pytest.raises(ValueError, match="tape/trades is not kept in the database; it keeps anomalies"):
        database.upsert(TRADES, MONDAY, TRADES.empty())
    with pytest.raises(ValueError, match="bars has no column colour; it has market, date, symbol"):
        database.read(LIVE_BARS, where={"colour": "red"})
    with pytest.raises(ValueError, match="no time zone"):
        database.read(LIVE_BARS, start=dt.datetime(2024, 6, 3))  # noqa: DTZ001
    assert database.read(LIVE_BARS).height == 0


def test_an_unreadable_url_is_refused_with_the_way_out(tmp_path: Path) -> None:
    for url in ("nonsense", "mysql://host/name", "postgresql+asyncpg://host/name"):
        with pytest.raises(RuntimeError, match=r"sqlite:///FILE or postgresql\+psycopg2"):
            Database(url)
