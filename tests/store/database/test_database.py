"""The operational database on both engines: rows are read as written, and a day is replaced whole."""

import datetime as dt
import threading
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa
from polars.testing import assert_frame_equal

from tapewatch.market.instruments import Market, Partition
from tapewatch.market.schema import SchemaError
from tapewatch.market.tables.derived import INCIDENTS
from tapewatch.market.tables.tape import ANOMALIES
from tapewatch.store.database.database import Database, DatabaseError
from tapewatch.store.database.tables import twin
from tests.support.anomalies import MINUTE, OPEN, event, events
from tests.support.postgres import postgres

MONDAY = Partition(OPEN.date(), Market.STOCKS)
TUESDAY = Partition(OPEN.date() + dt.timedelta(days=1), Market.STOCKS)
CRYPTO_MONDAY = Partition(OPEN.date(), Market.CRYPTO)


@pytest.fixture(scope="module")
def postgres_url() -> Iterator[str]:
    with postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'deep' / 'tapewatch.db'}"
    postgres = request.getfixturevalue("postgres_url")
    with Database(postgres) as database, database.engine.begin() as connection:
        connection.execute(sa.delete(twin(ANOMALIES)))
    return postgres


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    with Database(url) as database:
        yield database


def test_events_come_back_as_they_were_written(database: Database) -> None:
    frame = events(event(), event("MSFT", OPEN + MINUTE, kind="volume_spike"))
    assert database.replace_anomalies(MONDAY, frame) == 2
    assert_frame_equal(database.anomalies(), frame, categorical_as_str=True)
    ANOMALIES.check(database.anomalies())


def test_reading_an_empty_table_returns_an_empty_frame_of_its_schema(database: Database) -> None:
    assert database.anomalies().schema == ANOMALIES.schema
    assert database.anomalies().height == 0


def test_writing_a_day_twice_equals_once(database: Database) -> None:
    frame = events(event(), event("MSFT"))
    database.replace_anomalies(MONDAY, frame)
    database.replace_anomalies(MONDAY, frame)
    assert_frame_equal(database.anomalies(), frame, categorical_as_str=True)


def test_a_day_is_replaced_and_its_neighbours_stay(database: Database) -> None:
    crypto = event("X:BTC-USD")
    tomorrow = event("AAPL", OPEN + dt.timedelta(days=1))
    database.replace_anomalies(MONDAY, events(event("AAPL"), event("MSFT")))
    database.replace_anomalies(TUESDAY, events(tomorrow))
    database.replace_anomalies(CRYPTO_MONDAY, events(crypto))
    database.replace_anomalies(MONDAY, events(event("TSLA")))
    assert database.anomalies()["symbol"].cast(pl.String).to_list() == ["AAPL", "TSLA", "X:BTC-USD"]
    database.replace_anomalies(MONDAY, events())
    assert_frame_equal(database.anomalies(), events(tomorrow, crypto), categorical_as_str=True)


def test_two_markets_may_have_the_same_symbol(database: Database) -> None:
    database.replace_anomalies(MONDAY, events(event("ES")))
    database.replace_anomalies(Partition(OPEN.date(), Market.FUTURES), events(event("ES")))
    assert database.anomalies("ES").height == 2


def test_filters_by_symbol_and_half_open_range(database: Database) -> None:
    later = OPEN + 10 * MINUTE
    database.replace_anomalies(MONDAY, events(event("AAPL"), event("AAPL", later), event("MSFT", later)))
    assert database.anomalies("AAPL").height == 2
    assert database.anomalies(start=later).height == 2
    assert database.anomalies(end=later)["symbol"].cast(pl.String).to_list() == ["AAPL"]
    assert database.anomalies("AAPL", OPEN, later + MINUTE).height == 2
    in_new_york = later.astimezone(dt.timezone(dt.timedelta(hours=-4)))
    assert database.anomalies("AAPL", in_new_york, in_new_york + MINUTE).height == 1


def test_a_failed_write_leaves_the_day_as_it_was(database: Database) -> None:
    before = events(event())
    database.replace_anomalies(MONDAY, before)
    with pytest.raises(DatabaseError):
        database.replace_anomalies(MONDAY, pl.concat([before, before]))
    with pytest.raises(SchemaError, match="minutes"):
        database.replace_anomalies(MONDAY, events(event(minutes=0)))
    assert_frame_equal(database.anomalies(), before, categorical_as_str=True)


def test_a_time_without_a_zone_is_refused(database: Database) -> None:
    with pytest.raises(ValueError, match="no time zone"):
        database.anomalies(start=dt.datetime(2024, 6, 3))  # noqa: DTZ001


def test_all_of_several_writers_succeed(url: str) -> None:
    days = [Partition(OPEN.date() + dt.timedelta(days=n), Market.STOCKS) for n in range(6)]

    def write(day: Partition) -> None:
        with Database(url) as own:
            own.replace_anomalies(day, events(event(start=dt.datetime.combine(day.date, dt.time(14), dt.UTC))))

    threads = [threading.Thread(target=write, args=(day,)) for day in days]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Database(url) as database:
        assert database.anomalies().height == len(days)


def test_a_day_of_incidents_is_replaced_and_read(database: Database) -> None:
    row = {
        "symbol": "AAPL",
        "start_time": OPEN,
        "end_time": OPEN + MINUTE,
        "known_time": OPEN + MINUTE / 12,
        "kind": "price_jump",
        "surprise": 1.5,
        "hours": 20.0,
        "reasons": "[]",
        "model": "scan/1",
    }
    frame = INCIDENTS.conform(pl.DataFrame([row]))
    assert database.replace_day(INCIDENTS, MONDAY, frame) == 1
    assert database.replace_day(INCIDENTS, MONDAY, frame) == 1
    found = database.read(INCIDENTS, symbol="AAPL", start=OPEN, end=OPEN + MINUTE)
    assert_frame_equal(found.select(INCIDENTS.schema.names()), frame, categorical_as_str=True)
    assert database.replace_day(INCIDENTS, MONDAY, INCIDENTS.empty()) == 0
    assert database.read(INCIDENTS).is_empty()


def test_every_column_of_the_definition_is_in_the_sql_table() -> None:
    assert list(twin(ANOMALIES).columns.keys()) == ["market", "date", *ANOMALIES.schema]
    for column in ANOMALIES.columns:
        assert twin(ANOMALIES).c[column.name].nullable == column.is_nullable


def test_sqlite_readers_are_not_blocked_by_a_writer(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'tapewatch.db'}"
    with Database(url) as writer, Database(url) as reader:
        writer.replace_anomalies(MONDAY, events(event()))
        with writer.engine.begin() as connection:
            connection.execute(sa.delete(twin(ANOMALIES)))
            assert reader.anomalies().height == 1
        assert reader.anomalies().height == 0


def test_an_unreachable_database_is_named_without_its_password() -> None:
    with pytest.raises(DatabaseError, match=r"127\.0\.0\.1") as caught:
        Database("postgresql://someone:hunter2@127.0.0.1:1/tapewatch")  # pragma: allowlist secret
    assert "hunter2" not in str(caught.value)


def test_a_postgresql_url_means_psycopg2() -> None:
    with pytest.raises(DatabaseError, match=r"postgresql\+psycopg2"):
        Database("postgresql://127.0.0.1:1/tapewatch")
