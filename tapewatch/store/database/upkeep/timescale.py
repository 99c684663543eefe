"""Statements for TimescaleDB 2.x, and whether it is installed.

Time series become hypertables with compression and retention, hourly bars a continuous aggregate. The Apache edition is not
used: it has no compression, policies or continuous aggregates.
"""

import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tapewatch.store.database.tables import TIME_SERIES, key_columns, time_column

CHUNK = "7 days"
COMPRESS_AFTER = "14 days"
_KNOWN = "timescaledb_is_installed"
#: The first release that can replace or delete rows of a compressed chunk. Older ones do not compress.
_CHANGES_COMPRESSED = (2, 11)


def is_installed(connection: Connection) -> bool:
    """Whether this database has the extension in the Community edition; queried once per connection."""
    if connection.dialect.name != "postgresql":
        return False
    if _KNOWN not in connection.info:
        is_there = connection.scalar(sa.text(INSTALLED_VERSION)) is not None
        connection.info[_KNOWN] = is_there and not is_apache(connection)
    return bool(connection.info[_KNOWN])


def is_apache(connection: Connection) -> bool:
    """Whether the extension is the Apache edition."""
    return str(connection.scalar(sa.text("SELECT current_setting('timescaledb.license', true)"))) == "apache"


def can_compress(version: str) -> bool:
    """Whether this version can change compressed rows, so that compression is used."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2]) >= _CHANGES_COMPRESSED


INSTALLED_VERSION = "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'"
AVAILABLE_VERSION = "SELECT default_version FROM pg_available_extensions WHERE name = 'timescaledb'"


def hypertables(connection: Connection) -> set[str]:
    """Names of the tables that are hypertables."""
    if not is_installed(connection):
        return set()
    rows = connection.execute(
        sa.text(
            "SELECT hypertable_name FROM timescaledb_information.hypertables WHERE hypertable_schema = current_schema()"
        )
    )
    return {str(name) for (name,) in rows}


def arrangement(already: set[str], retention_days: dict[str, int], version: str) -> Iterator[str]:
    """Statements that make the time series hypertables, but for those that are (`already`); they may run in a transaction.

    The older form of `create_hypertable` adds no columnstore policy, so the one added here is the only one.
    """
    for table in TIME_SERIES:
        time = time_column(table)
        if table.name in already:
            continue
        yield (
            f"SELECT create_hypertable('{table.name}', '{time}', chunk_time_interval => INTERVAL '{CHUNK}', "
            "create_default_indexes => FALSE, migrate_data => TRUE, if_not_exists => TRUE)"
        )
        if can_compress(version):
            segments = ", ".join(name for name in key_columns(table) if name != time)
            yield (
                f"ALTER TABLE {table.name} SET (timescaledb.compress, timescaledb.compress_segmentby = '{segments}', "
                f"timescaledb.compress_orderby = '{time}')"
            )
            yield f"SELECT add_compression_policy('{table.name}', INTERVAL '{COMPRESS_AFTER}', if_not_exists => TRUE)"
        if (days := retention_days.get(table.name)) is not None:
            yield f"SELECT add_retention_policy('{table.name}', INTERVAL '{days} days', if_not_exists => TRUE)"


#: Without data, since with data it cannot run in a transaction. Reading adds the rows of hours after the last one refreshed; a
#: change in an hour before it shows after the next refresh.
CONTINUOUS_HOURS = (
    "CREATE MATERIALIZED VIEW IF NOT EXISTS bars_hourly "
    "WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS {select} WITH NO DATA"
)
HOUR = "time_bucket(INTERVAL '1 hour', time)"
FIRST_OPEN, LAST_CLOSE = "first(open, time)", "last(close, time)"
#: The refresh window ends before retention begins, so that the hours of dropped rows stay; it still covers late heals.
_SPARED_DAYS = 10
#: Hours that still change are left to reading: once refreshed, an hour shows no later rows until the next refresh.
_REFRESHED_UNTIL = "INTERVAL '1 hour'"
REFRESHED_EVERY = "INTERVAL '30 minutes'"


def refresh_policy(retention_days: int) -> str:
    """Refresh changed hours, as far back as no chunk is dropped."""
    return (
        f"SELECT add_continuous_aggregate_policy('bars_hourly', start_offset => INTERVAL '{retention_days - _SPARED_DAYS} days', "
        f"end_offset => {_REFRESHED_UNTIL}, schedule_interval => {REFRESHED_EVERY}, if_not_exists => TRUE)"
    )


def refresh(retention_days: int | None) -> str:
    """Refresh the policy's window now, or with None all hours up to its end; outside a transaction only."""
    start = "NULL" if retention_days is None else f"now() - INTERVAL '{retention_days - _SPARED_DAYS} days'"
    return f"CALL refresh_continuous_aggregate('bars_hourly', {start}, now() - {_REFRESHED_UNTIL})"


@dataclass(frozen=True, slots=True)
class FailingJob:
    """A job of TimescaleDB whose last run failed. `succeeded` is the UTC time of its last success, if any."""

    name: str
    failures: int
    succeeded: str | None
    error: str | None


def failing_jobs(connection: Connection) -> list[FailingJob]:
    """The jobs whose last run failed, with the last error where this version keeps errors (from 2.9 on).

    The telemetry job is left out: it fails where the server has no internet, and nothing depends on it.
    """
    keeps_errors = connection.scalar(sa.text("SELECT to_regclass('timescaledb_information.job_errors')")) is not None
    rows = connection.execute(sa.text(_FAILING_JOBS.format(error=_LAST_ERROR if keeps_errors else "NULL")))
    return [FailingJob(str(name), int(failures), succeeded, error) for name, failures, succeeded, error in rows]


_LAST_ERROR = (
    "(SELECT err_message FROM timescaledb_information.job_errors AS errors "
    "WHERE errors.job_id = jobs.job_id ORDER BY finish_time DESC LIMIT 1)"
)
_FAILING_JOBS = """SELECT application_name, total_failures,
    CASE WHEN isfinite(last_successful_finish)
        THEN to_char(last_successful_finish AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') END,
    {error}
FROM timescaledb_information.jobs AS jobs JOIN timescaledb_information.job_stats AS stats USING (job_id)
WHERE last_run_status = 'Failed' AND proc_name <> 'policy_telemetry' ORDER BY job_id"""


#: Set only if it exists: versions before 2.14 do not have it, and PostgreSQL refuses unknown names of an extension.
_UNLIMITED = (
    "SELECT set_config(name, '0', true) FROM pg_settings "
    "WHERE name = 'timescaledb.max_tuples_decompressed_per_dml_transaction'"
)


def lift_decompression_limit(connection: Connection) -> None:
    """Let this transaction rewrite any number of compressed rows; by default a bulk upsert fails at 100,000."""
    if is_installed(connection):
        connection.exec_driver_sql(_UNLIMITED)


def drop_chunks(table: str, before: dt.datetime) -> str:
    """Drop whole chunks that end before a time; DELETE removes the remaining older rows."""
    return f"SELECT drop_chunks('{table}', older_than => TIMESTAMPTZ '{before.isoformat()}')"


def size(table: str) -> str:
    """Bytes of a hypertable with its chunks and indexes."""
    return f"SELECT hypertable_size('{table}')"
