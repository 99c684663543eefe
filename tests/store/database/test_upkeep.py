"""Retention, status, hourly and daily bars, use of TimescaleDB."""

import datetime as dt
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import sqlalchemy as sa
from polars.testing import assert_frame_equal

from tapewatch.market.instruments import Market, Partition
from tapewatch.market.schema import Table
from tapewatch.market.tables.accounts import ACCOUNTS
from tapewatch.market.tables.live import ALERTS, AUDIT, GAPS, LIVE_BARS
from tapewatch.market.tables.paper import PAPER
from tapewatch.market.tables.review import REVIEW
from tapewatch.market.tables.tape import COVERAGE
from tapewatch.store.database.database import Database, DatabaseError
from tapewatch.store.database.migrations import HEAD
from tapewatch.store.database.tables import SQL_TABLES, TIME_SERIES, key_columns, time_column
from tapewatch.store.database.upkeep import retention as sql_retention
from tapewatch.store.database.upkeep import rollups, timescale
from tapewatch.store.database.upkeep.status import status
from tapewatch.store.database.upkeep.timescale import FailingJob
from tests.support.live_rows import rows_of
from tests.support.postgres import PostgresServer

MONDAY = Partition(dt.date(2024, 6, 3), Market.STOCKS)
DAY_S = 86_400


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    is_sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path / 'tapewatch.db'}" if is_sqlite else request.getfixturevalue("server").database()
    with Database(url) as opened:
        yield opened


def spread(table: Table, count: int, apart_s: int) -> pl.DataFrame:
    """Rows at the given seconds after 3 June 2024 13:30."""
    rows = rows_of(table, count)
    later = pl.duration(seconds=pl.int_range(pl.len()) * (apart_s - 1))
    return rows.with_columns((pl.col(name) + later) for name in [time_column(table)] if name)


@pytest.mark.parametrize("table", [table for table in SQL_TABLES if time_column(table)], ids=lambda table: table.name)
def test_older_rows_are_deleted_and_the_others_kept(database: Database, table: Table) -> None:
    rows = spread(table, 40, DAY_S // 4)
    ended = {"alerts": {"end_time": pl.col("start_time")}, "gaps": {"status": pl.lit("healed")}}.get(table.name, {})
    database.upsert(table, MONDAY, rows.with_columns(**ended))
    limit = rows[time_column(table)][25]
    expiry = sql_retention.expired(database.engine, table, limit)
    assert (expiry.rows, expiry.oldest) == (25, rows[time_column(table)][0])
    assert sql_retention.delete(database.engine, expiry, "somebody") == 25
    kept = database.read(table, market=Market.STOCKS)
    assert kept.height == 15
    assert kept[time_column(table)].min() == limit
    audit = database.read(AUDIT, market="all")
    assert audit.select("actor", "action", "subject").rows() == [("somebody", "retain", table.name)]
    assert '"rows": 25' in audit["detail"][0]


def test_open_alerts_and_gaps_are_kept_at_any_age(database: Database) -> None:
    alerts = spread(ALERTS, 10, DAY_S).with_columns(
        end_time=pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.col("start_time"))
    )
    gaps = spread(GAPS, 10, DAY_S).with_columns(
        status=pl.Series([("open", "growing", "healed", "unhealable", "healed")[n % 5] for n in range(10)])
    )
    future = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
    for table, rows, gone in ((ALERTS, alerts, 5), (GAPS, gaps, 6)):
        database.upsert(table, MONDAY, rows)
        assert sql_retention.delete(database.engine, sql_retention.expired(database.engine, table, future), "x") == gone
    assert database.read(ALERTS)["end_time"].null_count() == 5
    assert database.read(GAPS)["status"].unique().sort().to_list() == ["growing", "open"]


def test_coverage_is_deleted_by_its_date(database: Database) -> None:
    for day in range(1, 6):
        database.upsert(COVERAGE, Partition(dt.date(2024, 6, day), Market.CRYPTO), rows_of(COVERAGE, 3))
    expiry = sql_retention.expired(database.engine, COVERAGE, dt.datetime(2024, 6, 4, 15, tzinfo=dt.UTC))
    assert sql_retention.delete(database.engine, expiry, "x") == 9
    assert database.read(COVERAGE)["date"].min() == dt.date(2024, 6, 4)


def test_anomalies_incidents_labels_verdicts_and_audit_are_kept_for_ever() -> None:
    assert {table.name for table in SQL_TABLES} - set(rollups.RETENTION_DAYS) == {
        "anomalies",
        "incidents",
        "labels",
        "alert_verdicts",
        "api_keys",
        "model_history",
        "audit",
        *(table.name for table in (*PAPER, *REVIEW)),
        *(table.name for table in ACCOUNTS),
    }


def test_the_status_describes_database_and_tables(database: Database) -> None:
    database.upsert(LIVE_BARS, MONDAY, rows_of(LIVE_BARS, 500))
    database.upsert(COVERAGE, MONDAY, rows_of(COVERAGE, 3))
    found = status(database.url.render_as_string(hide_password=False))
    assert found.revision == HEAD
    assert found.size > 100_000
    tables = {table.name: table for table in found.tables}
    assert set(tables) == {table.name for table in SQL_TABLES}
    assert tables["bars"].rows == 500
    assert tables["bars"].oldest == dt.datetime(2024, 6, 3, 13, 30, tzinfo=dt.UTC)
    assert tables["coverage"].newest == MONDAY.date
    assert (tables["alerts"].rows, tables["alerts"].oldest) == (0, None)
    size = tables["bars"].size
    assert size is None or size > 40_000
    assert found.engine.startswith(("SQLite 3.", "PostgreSQL "))


def test_the_status_makes_no_database(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match=r"there is no database at .*absent\.db yet"):
        status(f"sqlite:///{tmp_path / 'absent.db'}")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "empty.db").touch()
    assert status(f"sqlite:///{tmp_path / 'empty.db'}").tables == ()
    assert status(f"sqlite:///{tmp_path / 'empty.db'}").revision is None


def _minutes(count: int) -> pl.DataFrame:
    rng = np.random.default_rng(11)
    frame = pl.concat(
        rows_of(LIVE_BARS, count).with_columns(
            symbol=pl.lit(symbol),
            clock=pl.lit("1m"),
            time=dt.datetime(2024, 6, 3, 13, 30, tzinfo=dt.UTC) + pl.duration(minutes=pl.int_range(pl.len())),
            open=pl.Series(rng.random(count) + 10),
            close=pl.Series(rng.random(count) + 10),
            # The first hour has few prices, the second none, so that an hour's volume is not the volume of its prices.
            vwap=pl.Series([10.0 + n if (n % 5 and n > 90) or n == 3 else None for n in range(count)]),
        )
        for symbol in ("AAPL", "MSFT")
    )
    return LIVE_BARS.conform(frame)


def _rolled_up(bars: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    has_price = pl.col("vwap").is_not_null()
    return (
        bars.sort("time")
        .group_by(by, maintain_order=True)
        .agg(
            pl.col("open").first(),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col("close").last(),
            pl.col("volume").sum(),
            vwap=((pl.col("vwap") * pl.col("volume")).sum() / pl.col("volume").filter(has_price).sum()).fill_nan(None),
            transactions=pl.col("transactions").sum(),
            minutes=pl.len().cast(pl.Int64),
        )
        .sort(by)
    )


def test_hourly_and_daily_bars_follow_from_the_minutes(database: Database) -> None:
    bars = _minutes(200).with_columns(pl.col("symbol").cast(pl.String))
    database.upsert(LIVE_BARS, MONDAY, bars)
    # Bars of seconds and of other markets do not count.
    database.upsert(LIVE_BARS, MONDAY, bars.with_columns(clock=pl.lit("1s"), volume=pl.lit(1e9)))
    rollups.refresh(database.engine)
    names = "open, high, low, close, volume, vwap, transactions, minutes"
    with database.engine.connect() as connection:
        hours = connection.execute(sa.text(f"SELECT symbol, {names} FROM bars_hourly ORDER BY symbol, hour")).all()  # noqa: S608
        days = connection.execute(sa.text(f"SELECT symbol, {names} FROM bars_daily ORDER BY symbol")).all()  # noqa: S608
    by_hour = _rolled_up(bars.with_columns(hour=pl.col("time").dt.truncate("1h")), ["symbol", "hour"])
    expected = by_hour.drop("hour")
    assert_frame_equal(pl.DataFrame(hours, schema=expected.schema, orient="row"), expected)
    expected_days = _rolled_up(bars, ["symbol"])
    assert_frame_equal(pl.DataFrame(days, schema=expected_days.schema, orient="row"), expected_days)


def test_a_day_without_a_mean_price_has_no_vwap(database: Database) -> None:
    database.upsert(LIVE_BARS, MONDAY, _minutes(60).with_columns(vwap=pl.lit(None, pl.Float64)))
    rollups.refresh(database.engine)
    with database.engine.connect() as connection:
        days = connection.execute(sa.text("SELECT vwap, vwap_volume FROM bars_daily")).all()
    assert days == [(None, 0), (None, 0)]


def test_without_the_extension_nothing_uses_it(database: Database) -> None:
    with database.engine.connect() as connection:
        assert not timescale.is_installed(connection)
        assert timescale.hypertables(connection) == set()
        timescale.lift_decompression_limit(connection)
        rollups.arrange(connection)


def test_with_the_extension_every_table_of_the_tape_becomes_a_hypertable_once() -> None:
    statements = list(timescale.arrangement(set(), rollups.RETENTION_DAYS, "2.17.2"))
    for table in TIME_SERIES:
        time = time_column(table)
        mine = [statement for statement in statements if re.search(rf"\b{table.name}\b", statement)]
        made, compressed, compression, retention = mine
        assert made.startswith(
            f"SELECT create_hypertable('{table.name}', '{time}', chunk_time_interval => INTERVAL '7 days'"
        )
        assert f"timescaledb.compress_orderby = '{time}'" in compressed
        assert "add_compression_policy" in compression
        assert f"{rollups.RETENTION_DAYS[table.name]} days" in retention
        # A unique key of a hypertable includes the time; the rows of one key are compressed together.
        assert time in key_columns(table)
    assert not any("WITH (tsdb.hypertable" in statement for statement in statements)
    assert list(timescale.arrangement({table.name for table in TIME_SERIES}, {}, "2.17.2")) == []


@pytest.mark.parametrize(("version", "compresses"), [("2.10.3", False), ("2.11.0", True), ("2.9.1-dev", False)])
def test_nothing_is_compressed_if_compressed_rows_cannot_be_replaced(version: str, *, compresses: bool) -> None:
    statements = list(timescale.arrangement(set(), rollups.RETENTION_DAYS, version))
    assert any("compress" in statement for statement in statements) == compresses
    assert sum("retention" in statement for statement in statements) == len(TIME_SERIES)


def test_a_continuous_aggregate_is_made_without_data_and_unsupported_functions() -> None:
    hours, policy, days = rollups.timescale_statements()
    assert hours.endswith("WITH NO DATA")
    assert "start_offset => INTERVAL '390 days'" in policy
    assert "time_bucket(INTERVAL '1 hour', time)" in hours
    assert "{" not in hours + policy + days
    assert not re.search(r"FILTER|ORDER BY|DISTINCT|OVER", hours)
    assert days.startswith("CREATE OR REPLACE VIEW bars_daily")


def test_a_refresh_leaves_hours_that_still_change_and_hours_whose_minutes_are_gone() -> None:
    # An hour that is refreshed while it lasts would show none of its later bars until the next refresh.
    until = "now() - INTERVAL '1 hour')"
    assert (
        timescale.refresh(400)
        == f"CALL refresh_continuous_aggregate('bars_hourly', now() - INTERVAL '390 days', {until}"
    )
    assert timescale.refresh(None) == f"CALL refresh_continuous_aggregate('bars_hourly', NULL, {until}"


@pytest.mark.slow
@pytest.mark.parametrize("keeps_errors", [True, False])
def test_the_jobs_that_fail_are_found(server: PostgresServer, *, keeps_errors: bool) -> None:
    """Tables with the columns of the extension's views replace them."""
    views = """
        CREATE SCHEMA timescaledb_information;
        CREATE TABLE timescaledb_information.jobs (job_id int, application_name name, proc_name name);
        CREATE TABLE timescaledb_information.job_stats (job_id int, last_successful_finish timestamptz, last_run_status text,
            total_failures bigint);
        INSERT INTO timescaledb_information.jobs VALUES (1, 'Telemetry Reporter [1]', 'policy_telemetry'),
            (1000, 'Retention Policy [1000]', 'policy_retention'), (1001, 'Columnstore Policy [1001]', 'policy_compression'),
            (1002, 'Refresh Continuous Aggregate Policy [1002]', 'policy_refresh_continuous_aggregate');
        INSERT INTO timescaledb_information.job_stats VALUES (1, '-infinity', 'Failed', 9), (1000, now(), 'Success', 2),
            (1001, '-infinity', 'Failed', 3), (1002, '2024-06-03 12:30+00', 'Failed', 1)
    """
    errors = """
        CREATE TABLE timescaledb_information.job_errors (job_id int, finish_time timestamptz, err_message text);
        INSERT INTO timescaledb_information.job_errors VALUES (1001, '2024-06-03', 'disk full'), (1001, '2024-06-02', 'old')
    """
    with Database(server.database()) as database, database.engine.begin() as connection:
        for statement in (views + (f";{errors}" if keeps_errors else "")).split(";\n"):
            connection.exec_driver_sql(statement)
        assert timescale.failing_jobs(connection) == [
            FailingJob("Columnstore Policy [1001]", 3, None, "disk full" if keeps_errors else None),
            FailingJob("Refresh Continuous Aggregate Policy [1002]", 1, "2024-06-03 12:30", None),
        ]


@pytest.mark.slow
def test_postgresql_can_parse_the_statements_for_timescaledb(server: PostgresServer) -> None:
    """Functions with the extension's names and arguments replace it, so that PostgreSQL parses and resolves each call."""
    stand_ins = """
        CREATE FUNCTION create_hypertable(relation regclass, time_column_name name, chunk_time_interval interval,
            create_default_indexes boolean, migrate_data boolean, if_not_exists boolean) RETURNS int LANGUAGE sql AS 'SELECT 1';
        CREATE FUNCTION add_compression_policy(hypertable regclass, compress_after interval, if_not_exists boolean)
            RETURNS int LANGUAGE sql AS 'SELECT 1';
        CREATE FUNCTION add_retention_policy(relation regclass, drop_after interval, if_not_exists boolean)
            RETURNS int LANGUAGE sql AS 'SELECT 1';
        CREATE FUNCTION add_continuous_aggregate_policy(continuous_aggregate regclass, start_offset interval, end_offset interval,
            schedule_interval interval, if_not_exists boolean) RETURNS int LANGUAGE sql AS 'SELECT 1';
        CREATE FUNCTION drop_chunks(relation regclass, older_than timestamptz) RETURNS int LANGUAGE sql AS 'SELECT 1';
        CREATE PROCEDURE refresh_continuous_aggregate(continuous_aggregate regclass, window_start timestamptz,
            window_end timestamptz) LANGUAGE sql AS 'SELECT 1';
        CREATE FUNCTION hypertable_size(hypertable regclass) RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint';
        CREATE FUNCTION time_bucket(bucket_width interval, ts timestamptz) RETURNS timestamptz LANGUAGE sql IMMUTABLE
            AS 'SELECT date_trunc(''hour'', ts, ''UTC'')';
        CREATE FUNCTION first_of(value double precision[], other double precision, at timestamptz) RETURNS double precision[]
            LANGUAGE sql IMMUTABLE AS 'SELECT coalesce(value, ARRAY[other])';
        CREATE AGGREGATE first(double precision, timestamptz) (sfunc = first_of, stype = double precision[]);
        CREATE AGGREGATE last(double precision, timestamptz) (sfunc = first_of, stype = double precision[])
    """
    hours, policy, days = rollups.timescale_statements()
    with Database(server.database()) as database, database.engine.begin() as connection:
        for statement in stand_ins.split(";\n"):
            connection.exec_driver_sql(statement)
        rollups.drop_views(connection)
        plain = re.sub(r"WITH \(timescaledb[^)]*\)", "", hours)
        plain = plain.replace("first(open, time)", "(first(open, time))[1]").replace(
            "last(close, time)", "(last(close, time))[1]"
        )
        for statement in (
            plain,
            policy,
            days,
            timescale.drop_chunks("bars", dt.datetime(2024, 6, 3, tzinfo=dt.UTC)),
            timescale.refresh(400),
            timescale.refresh(None),
        ):
            connection.exec_driver_sql(statement)
        connection.exec_driver_sql(timescale.size("bars"))
        # The extension counts as installed; its own settings are not set.
        connection.info["timescaledb_is_installed"] = True
        timescale.lift_decompression_limit(connection)
        assert not timescale.is_apache(connection)
        for statement in timescale.arrangement(set(), rollups.RETENTION_DAYS, "2.17.2"):
            if statement.startswith("SELECT"):
                connection.exec_driver_sql(statement)
        assert connection.scalar(sa.text(timescale.AVAILABLE_VERSION)) is None
