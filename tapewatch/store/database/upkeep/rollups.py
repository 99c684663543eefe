"""Hourly and daily bars that the database computes from minute bars: `bars_hourly` and `bars_daily`.

SQLite has views. PostgreSQL has materialised views, as of the last refresh. With TimescaleDB the hours are a continuous
aggregate, and the days a view of it. `vwap_volume` is the volume of the bars that have a vwap, by which their mean is weighed.

A day is the market's (`date`), not UTC's. A revision that alters `bars` first drops both views and calls `arrange` at its end.
"""

from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from tapewatch.store.database.engine import transaction
from tapewatch.store.database.upkeep import timescale

#: Days that rows are kept by default. Rows of other tables are kept for ever.
RETENTION_DAYS = {
    "bars": 400,
    "information_bars": 400,
    "microstructure": 400,
    "market_microstructure": 400,
    "microstructure_more": 400,
    "indicators": 400,
    "cross_asset": 400,
    # A row a pair of symbols.
    "correlations": 30,
    "regimes": 400,
    "seasonality": 400,
    "shadow_minutes": 400,
    "quarantine": 90,
    "alerts": 1095,
    "gaps": 1095,
    "coverage": 3650,
}
VIEWS = ("bars_daily", "bars_hourly")

_SUMS = """max(high) AS high, min(low) AS low, {close} AS close, sum(volume) AS volume,
    sum(vwap * {weight}) / nullif(sum({weight}), 0) AS vwap, sum({weight}) AS vwap_volume,
    CAST(sum(transactions) AS BIGINT) AS transactions, CAST({minutes} AS BIGINT) AS minutes"""
_POSTGRES_HOURS = """SELECT market, date, symbol, {hour} AS hour, {open} AS open, {sums}
FROM bars WHERE clock = '1m' GROUP BY 1, 2, 3, 4"""
_POSTGRES_DAYS = """SELECT market, date, symbol, (array_agg(open ORDER BY hour))[1] AS open, {sums}
FROM bars_hourly GROUP BY 1, 2, 3"""
_MINUTE_WEIGHT = "CASE WHEN vwap IS NULL THEN 0 ELSE volume END"
_LAST_CLOSE = "(array_agg(close ORDER BY {time} DESC))[1]"
_SQLITE = """CREATE VIEW IF NOT EXISTS {name} AS
WITH ranked AS (
    SELECT *, {minutes} AS counted, {weight} AS weight{bucket},
        row_number() OVER (PARTITION BY {group} ORDER BY {time}) AS from_first,
        row_number() OVER (PARTITION BY {group} ORDER BY {time} DESC) AS from_last
    FROM {source}
)
SELECT {columns}, max(CASE WHEN from_first = 1 THEN open END) AS open, {sums}
FROM ranked GROUP BY {columns}"""


def arrange(connection: Connection) -> None:
    """Create the views, and hypertables if TimescaleDB is installed, also if that happened later; twice equals once."""
    for statement in _statements(connection):
        connection.exec_driver_sql(statement)


def _statements(connection: Connection) -> Iterator[str]:
    if connection.dialect.name == "sqlite":
        yield from sqlite_statements()
    elif not timescale.is_installed(connection):
        yield from postgres_statements()
    else:
        already = timescale.hypertables(connection)
        if "bars" not in already:
            # Materialised views from before the extension was installed.
            yield from (f"DROP MATERIALIZED VIEW IF EXISTS {name}" for name in VIEWS)
        version = str(connection.scalar(sa.text(timescale.INSTALLED_VERSION)))
        yield from timescale.arrangement(already, RETENTION_DAYS, version)
        yield from timescale_statements()


def sqlite_statements() -> Iterator[str]:
    """Views of SQLite."""
    yield _SQLITE.format(
        name="bars_hourly",
        minutes="1",
        weight=_MINUTE_WEIGHT,
        bucket=", substr(time, 1, 13) || ':00:00.000000' AS hour",
        group="market, date, symbol, substr(time, 1, 13)",
        time="time",
        source="bars WHERE clock = '1m'",
        columns="market, date, symbol, hour",
        sums=_sqlite_sums(),
    )
    yield _SQLITE.format(
        name="bars_daily",
        minutes="minutes",
        weight="vwap_volume",
        bucket="",
        group="market, date, symbol",
        time="hour",
        source="bars_hourly",
        columns="market, date, symbol",
        sums=_sqlite_sums(),
    )


def _sqlite_sums() -> str:
    last = "max(CASE WHEN from_last = 1 THEN close END)"
    return _SUMS.format(close=last, minutes="sum(counted)", weight="weight")


def postgres_statements() -> Iterator[str]:
    """Materialised views, with the unique index that lets readers in during a refresh."""
    hours = _POSTGRES_HOURS.format(
        hour="date_trunc('hour', time, 'UTC')",
        open="(array_agg(open ORDER BY time))[1]",
        sums=_SUMS.format(close=_LAST_CLOSE.format(time="time"), minutes="count(*)", weight=_MINUTE_WEIGHT),
    )
    yield f"CREATE MATERIALIZED VIEW IF NOT EXISTS bars_hourly AS {hours}"
    yield "CREATE UNIQUE INDEX IF NOT EXISTS pk_bars_hourly ON bars_hourly (market, symbol, hour, date)"
    yield f"CREATE MATERIALIZED VIEW IF NOT EXISTS bars_daily AS {_days()}"
    yield "CREATE UNIQUE INDEX IF NOT EXISTS pk_bars_daily ON bars_daily (market, symbol, date)"


def timescale_statements() -> Iterator[str]:
    """A continuous aggregate of hours, its refresh, and days over it."""
    hours = _POSTGRES_HOURS.format(
        hour=timescale.HOUR,
        open=timescale.FIRST_OPEN,
        sums=_SUMS.format(close=timescale.LAST_CLOSE, minutes="count(*)", weight=_MINUTE_WEIGHT),
    )
    yield timescale.CONTINUOUS_HOURS.format(select=hours)
    yield timescale.refresh_policy(RETENTION_DAYS["bars"])
    yield f"CREATE OR REPLACE VIEW bars_daily AS {_days()}"


def _days() -> str:
    last = _LAST_CLOSE.format(time="hour")
    return _POSTGRES_DAYS.format(sums=_SUMS.format(close=last, minutes="sum(minutes)", weight="vwap_volume"))


def drop_views(connection: Connection) -> None:
    """Drop both views before `bars` is altered."""
    for name in VIEWS:
        kind = "VIEW" if connection.dialect.name == "sqlite" or not _is_materialised(connection, name) else None
        connection.exec_driver_sql(f"DROP {kind or 'MATERIALIZED VIEW'} IF EXISTS {name}")


def _is_materialised(connection: Connection, name: str) -> bool:
    # A continuous aggregate is listed as a plain view. Views of before the extension was installed are materialised, both.
    is_aggregate = name == "bars_hourly" and timescale.is_installed(connection)
    return is_aggregate or name in sa.inspect(connection).get_materialized_view_names()


def refresh(engine: Engine, *, everything: bool = False) -> None:
    """Refresh hourly and daily bars where the engine stores them; readers are not locked out.

    Args:
        everything: also what is older than minutes are kept, after all rows were replaced. On TimescaleDB this removes the hours
            of minutes that are gone.

    Raises:
        DatabaseError: the database refuses.
    """
    if engine.dialect.name == "postgresql":
        # A continuous aggregate can be refreshed only outside a transaction.
        with transaction(engine.execution_options(isolation_level="AUTOCOMMIT")) as connection:
            _refresh(connection, everything=everything)


def _refresh(connection: Connection, *, everything: bool) -> None:
    if timescale.is_installed(connection):
        connection.exec_driver_sql(timescale.refresh(None if everything else RETENTION_DAYS["bars"]))
        return
    for name in reversed(VIEWS):
        connection.exec_driver_sql(f"REFRESH MATERIALIZED VIEW CONCURRENTLY {name}")
