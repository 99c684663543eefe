"""Connections, errors and statements for PostgreSQL, without a server."""

import datetime as dt
import time
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock, patch

import polars as pl
import psycopg2
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from tapewatch.market.instruments import Market, Partition
from tapewatch.market.schema import Table
from tapewatch.market.tables.live import ALERTS, LIVE_BARS
from tapewatch.store.database import database, upserts
from tapewatch.store.database.database import Database
from tapewatch.store.database.engine import (
    DatabaseError,
    _ping_if_idle,
    connect,
    is_transient,
    parse,
    refusal,
    transaction,
)
from tapewatch.store.database.rows import frame_of, keyed, selectable
from tapewatch.store.database.tables import UtcDateTime, key_columns
from tapewatch.store.database.upkeep import rollups, status, timescale
from tests.support.live_rows import rows_of

PASSWORD = "hidden"  # noqa: S105  # pragma: allowlist secret
URL = f"postgresql://tape:{PASSWORD}@localhost:1/tape"


class OperationalError(Exception):
    """An error of the driver by name."""

    def __init__(self, message: str, pgcode: str | None = None) -> None:
        super().__init__(message)
        self.pgcode = pgcode


@pytest.mark.parametrize(
    ("message", "code", "expected"),
    [
        ("the connection was closed", "08006", True),
        ("the disk is full", "53100", True),
        ("the server shuts down", "57P01", True),
        ("a deadlock", "40P01", True),
        ("a lock was not available", "55P03", True),
        ("another state of objects", "55000", False),
        ("a query was cancelled", "57014", False),
        ("a duplicate key", "23505", False),
        ("server closed the connection unexpectedly", None, True),
        ("could not connect to server: Connection refused", None, True),
        ('password authentication failed for user "tape"', None, False),
        ('database "tape" does not exist', None, False),
        ("no pg_hba.conf entry for host", None, False),
    ],
)
def test_errors_that_may_pass_are_transient(message: str, code: str | None, expected: bool) -> None:
    assert is_transient(OperationalError(message, code)) is expected


def test_other_errors_without_a_state_are_not_transient() -> None:
    assert is_transient(sa.exc.TimeoutError())
    assert not is_transient(ValueError("no driver's error"))
    other = type("ProgrammingError", (OperationalError,), {})
    assert not is_transient(other("the statement is wrong"))


def test_an_error_names_the_address_without_its_password() -> None:
    error = refusal(connect(parse(URL)), OperationalError(" out of memory ", "53200"))
    assert isinstance(error, DatabaseError)
    assert str(error) == "database postgresql+psycopg2://tape:***@localhost:1/tape: out of memory"
    assert error.is_transient


@pytest.mark.parametrize(("query", "timeout"), [("", 10), ("?connect_timeout=3", "3")])
def test_a_lost_server_is_given_up_within_a_minute_unless_the_url_says_otherwise(query: str, timeout: object) -> None:
    refused = psycopg2.OperationalError("no server")
    with (
        patch.object(psycopg2, "connect", side_effect=refused) as connecting,
        pytest.raises(sa.exc.OperationalError),
    ):
        connect(parse(URL + query)).connect()
    given = connecting.call_args.kwargs
    assert given["connect_timeout"] == timeout
    assert given["keepalives_idle"] + given["keepalives_interval"] * given["keepalives_count"] <= 60
    assert given["tcp_user_timeout"] <= 60_000
    assert given["application_name"] == "tapewatch"


@pytest.mark.parametrize(("idle_s", "pings"), [(None, 0), (0.1, 0), (1.5, 1)])
def test_only_an_idle_connection_is_pinged(idle_s: float | None, pings: int) -> None:
    dialect, record = MagicMock(), SimpleNamespace(info={})
    dialect.loaded_dbapi.Error = psycopg2.Error
    if idle_s is not None:
        record.info["tapewatch_used"] = time.monotonic() - idle_s
    _ping_if_idle(dialect, MagicMock(), record, None)
    assert dialect.do_ping.call_count == pings
    dialect.do_ping.side_effect = psycopg2.OperationalError("gone")
    if pings:
        with pytest.raises(sa.exc.DisconnectionError):
            _ping_if_idle(dialect, MagicMock(), record, None)


def test_statements_of_an_upsert() -> None:
    key = 'ON CONFLICT ("market", "symbol", "clock", "time") DO UPDATE SET "date" = excluded."date"'
    width = len(LIVE_BARS.columns) + 2
    one = upserts.values_statement(LIVE_BARS)
    assert one.count("?") == width
    assert key in one
    assert '"revision" = excluded."revision"' in one
    assert "WHERE" not in one
    two = upserts.values_statement(LIVE_BARS, 2, "%s", revises=True)
    assert two.count("%s") == 2 * width
    assert two.count("(%s") == 2
    assert '"revision" = greatest(excluded."revision", "bars"."revision" + 1)' in two
    assert '"bars"."close" IS DISTINCT FROM excluded."close"' in two
    assert '"bars"."known_time" IS DISTINCT' not in two
    assert '"revision" = max(' in upserts.values_statement(LIVE_BARS, revises=True)
    merge = upserts.merge_statement(LIVE_BARS, revises=True)
    assert "FROM staging_bars ON CONFLICT" in merge
    assert "greatest(" in merge
    assert "greatest(" not in upserts.merge_statement(LIVE_BARS)


def test_postgresql_gives_times_as_whole_microseconds() -> None:
    query = sa.select(*selectable(ALERTS, "postgresql")).compile(
        dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True}
    )
    assert "CAST(EXTRACT(epoch FROM alerts.start_time) * 1000000 AS BIGINT)" in str(query)
    assert "alerts.message" in str(query)
    moment = dt.datetime(2024, 3, 5, 14, 30, 0, 123456, tzinfo=dt.UTC)
    values = dict.fromkeys(ALERTS.schema) | {"start_time": int(moment.timestamp()) * 1_000_000 + 123456}
    read = frame_of(ALERTS, [("stocks", moment.date(), *values.values())], "postgresql")  # type: ignore[list-item]
    assert read["start_time"].to_list() == [moment]
    assert read["date"].to_list() == [moment.date()]
    assert read.schema == pl.Schema({"market": pl.String(), "date": pl.Date(), **ALERTS.schema})


def connection_of(installed: str | None, available: str | None, *, edition: str = "timescale", chunked: bool = True):
    answers = {
        timescale.INSTALLED_VERSION: installed,
        timescale.AVAILABLE_VERSION: available,
        "SELECT current_setting('timescaledb.license', true)": edition,
    }
    made = SimpleNamespace(dialect=SimpleNamespace(name="postgresql"), info={})
    made.scalar = lambda query: answers[str(query)]
    made.execute = lambda _: [("bars",)] if chunked else []
    return made


@pytest.mark.parametrize(
    ("connection", "words"),
    [
        (connection_of("2.17.0", "2.17.0"), "2.17.0, in use"),
        (connection_of("2.17.0", "2.17.0", chunked=False), "2.17.0: `tapewatch db upgrade` uses it"),
        (connection_of("2.17.0", "2.17.0", edition="apache"), "2.17.0, Apache edition: not used"),
        (connection_of(None, "2.17.0"), "on the server: `CREATE EXTENSION timescaledb`"),
        (connection_of(None, None), "not on the server"),
    ],
)
def test_the_status_says_whether_timescaledb_is_used(connection: object, words: str) -> None:
    assert status._timescale(connection).startswith(words)  # type: ignore[arg-type]


def test_times_of_the_driver_become_aware_utc() -> None:
    moment = dt.datetime(2024, 3, 5, 14, 30, tzinfo=dt.UTC)
    in_new_york = moment.astimezone(dt.timezone(dt.timedelta(hours=-5)))
    for given in (moment.replace(tzinfo=None), moment, in_new_york):
        read = UtcDateTime().process_result_value(given, postgresql.dialect())
        assert (read, read and read.tzinfo) == (moment, dt.UTC)
    assert UtcDateTime().process_result_value(None, postgresql.dialect()) is None


def test_times_for_the_driver_are_utc_and_naive_only_without_zones() -> None:
    in_new_york = dt.datetime(2024, 3, 5, 9, 30, tzinfo=dt.timezone(dt.timedelta(hours=-5)))
    bound = UtcDateTime().process_bind_param(in_new_york, postgresql.dialect())
    assert (bound, bound and bound.tzinfo) == (in_new_york, dt.UTC)
    naive = UtcDateTime().process_bind_param(in_new_york, sqlite.dialect())
    assert naive == dt.datetime(2024, 3, 5, 14, 30)  # noqa: DTZ001 - naive is what is asked
    with pytest.raises(ValueError, match="has no time zone"):
        UtcDateTime().process_bind_param(naive, postgresql.dialect())


@pytest.mark.parametrize(
    ("table", "count", "revises", "expected"),
    [
        (ALERTS, 1, False, True),
        (ALERTS, 2, False, False),
        (ALERTS, 40, False, False),
        (LIVE_BARS, 1, False, False),
        (LIVE_BARS, 1, True, False),
        (LIVE_BARS, 40, True, False),
    ],
)
def test_only_a_single_row_outside_the_time_series_needs_no_transaction(
    tmp_path: Path, table: Table, count: int, *, revises: bool, expected: bool
) -> None:
    """Other writes are several statements on PostgreSQL, which must succeed or fail together."""
    partition = Partition(dt.date(2024, 6, 3), Market.STOCKS)
    with (
        Database(f"sqlite:///{tmp_path / 'tapewatch.db'}") as opened,
        patch.object(database, "transaction", wraps=transaction) as begun,
    ):
        (opened.revise if revises else opened.upsert)(table, partition, rows_of(table, count))
    assert [call.kwargs["is_one_statement"] for call in begun.call_args_list] == [expected]


@pytest.mark.parametrize(("table", "calls"), [(LIVE_BARS, 1), (ALERTS, 0)])
def test_the_limit_of_decompressed_rows_is_lifted_for_time_series_only(table: Table, calls: int) -> None:
    connection = MagicMock()
    connection.dialect.name = "postgresql"
    rows = keyed(table, Partition(dt.date(2024, 6, 3), Market.STOCKS), rows_of(table, 3))
    for write in (
        lambda: upserts.upsert(connection, table, rows),
        lambda: upserts.remove(connection, table, rows.select(key_columns(table))),
    ):
        with patch.object(upserts, "lift_decompression_limit") as lift:
            write()
        assert lift.call_count == calls


@pytest.mark.parametrize(
    ("dialect", "has_timescale", "materialised"),
    [
        ("sqlite", False, set()),
        ("postgresql", False, {"bars_hourly", "bars_daily"}),
        ("postgresql", True, {"bars_hourly"}),
        # The extension was installed after the views were made.
        ("postgresql", True, {"bars_hourly", "bars_daily"}),
    ],
)
def test_each_view_is_dropped_as_what_it_is(*, dialect: str, has_timescale: bool, materialised: set[str]) -> None:
    connection = MagicMock()
    connection.dialect.name = dialect
    found = SimpleNamespace(get_materialized_view_names=lambda: sorted(materialised))
    with (
        patch.object(timescale, "is_installed", return_value=has_timescale),
        patch.object(rollups.sa, "inspect", return_value=found),
    ):
        rollups.drop_views(connection)
    dropped = [call.args[0] for call in connection.exec_driver_sql.call_args_list]
    assert dropped == [
        f"DROP {'MATERIALIZED VIEW' if name in materialised else 'VIEW'} IF EXISTS {name}"
        for name in ("bars_daily", "bars_hourly")
    ]


@pytest.mark.parametrize(("count", "copies"), [(1, 0), (30, 0), (31, 1)])
def test_postgresql_gets_up_to_thirty_rows_in_one_statement_and_more_by_copy(count: int, copies: int) -> None:
    connection = MagicMock()
    connection.dialect.name = "postgresql"
    rows = keyed(ALERTS, Partition(dt.date(2024, 6, 3), Market.STOCKS), rows_of(ALERTS, count))
    with patch.object(upserts, "_copy_and_merge") as copy:
        upserts.upsert(connection, ALERTS, rows)
    assert (copy.call_count, connection.exec_driver_sql.call_count) == (copies, 1 - copies)
