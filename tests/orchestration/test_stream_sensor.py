"""The spool's sensor and its runs on a real instance: new batches, nothing new, a failed run, success."""

import datetime as dt
import json
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from assets.shared.partitions import MARKET_DAYS
from orchestration.definitions import build_definitions
from orchestration.home import end_lost_runs
from orchestration.stream_sensor import stream_spool_sensor
from resources.stores import SpoolResource
from tapewatch.bars.time_bars import minute_bars
from tapewatch.emulator.synthetic.market import Synthetic
from tapewatch.features.microstructure import microstructure
from tapewatch.market.instruments import NS_PER_SECOND, Market, Partition
from tapewatch.market.tables.live import GAPS
from tapewatch.market.tables.stream import STREAM_BATCHES, STREAM_QUOTES, STREAM_TRADES
from tapewatch.market.tables.tape import BARS, COVERAGE, MICROSTRUCTURE, TRADES
from tapewatch.settings import Settings
from tapewatch.store.database.database import Database
from tapewatch.store.lake.lake import Lake
from tapewatch.store.spool.files import SpoolFile, waiting_for
from tapewatch.store.spool.spool import SpoolWriter
from tapewatch.streaming.gaps.book import GapBook
from tests.support.streams import as_streamed, trades_at

DAY = dt.date(2024, 6, 4)
STOCKS, CRYPTO = Partition(DAY, Market.STOCKS), Partition(DAY, Market.CRYPTO)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return Settings(
        home=tmp_path, markets={"stocks": {"symbols": ("VOO",)}, "crypto": {"symbols": ("X:ADA-USD",)}}, _env_file=None
    )


def put(settings: Settings, partition: Partition = STOCKS, seconds: int = 0) -> None:
    at = partition.session.regular_start + seconds * NS_PER_SECOND
    with SpoolWriter(settings.spool_root, partition.market, "collector") as writer:
        writer.add_rows(STREAM_TRADES, trades_at([at], symbol="VOO", first_number=seconds + 1))


def tick(settings: Settings, instance: dg.DagsterInstance, cursor: str | None) -> dg.SensorResult:
    spool = SpoolResource(root=str(settings.spool_root))
    context = dg.build_sensor_context(instance=instance, cursor=cursor, resources={"spool": spool})
    result = stream_spool_sensor(context)
    assert isinstance(result, dg.SensorResult)
    return result


def execute(
    settings: Settings, instance: dg.DagsterInstance, request: dg.RunRequest, *, breaks: str | None = None
) -> dg.ExecuteInProcessResult:
    """Run a request as the daemon would; with `breaks` that folder of the lake cannot be written."""
    job = build_definitions(settings).resolve_job_def("ingest_stream")
    if breaks:
        in_the_way = settings.lake_root / breaks
        in_the_way.parent.mkdir(parents=True, exist_ok=True)
        in_the_way.write_text("in the way")
    try:
        return job.execute_in_process(
            instance=instance,
            partition_key=request.partition_key,
            run_config={**request.run_config, "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            tags={**request.tags, "dagster/run_key": request.run_key},
            raise_on_error=False,
        )
    finally:
        if breaks:
            in_the_way.unlink()


def some_time_later(cursor: str | None) -> str:
    """The cursor, changed as if every run had ended long ago."""
    entries = json.loads(cursor or "{}")
    return json.dumps({key: {**entry, "ended_at": 0} for key, entry in entries.items()})


def pending(
    settings: Settings, instance: dg.DagsterInstance, request: dg.RunRequest, *, by_the_daemon: bool = True
) -> str:
    """A run of the request that has not ended."""
    job = build_definitions(settings).resolve_job_def("ingest_stream")
    repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("orchestration.definitions"), "__repository__")
    run = instance.create_run_for_job(
        job,
        tags={"dagster/run_key": request.run_key},
        status=dg.DagsterRunStatus.STARTED,
        remote_job_origin=RemoteJobOrigin(repository, "ingest_stream") if by_the_daemon else None,
    )
    return run.run_id


def test_without_batches_there_is_no_run(home: Settings, instance: dg.DagsterInstance) -> None:
    result = tick(home, instance, None)
    assert not result.run_requests
    assert "0 batch(es) wait" in str(result.skip_reason)


def test_days_outside_dagsters_partitions_do_not_block_others(home: Settings, instance: dg.DagsterInstance) -> None:
    today = dt.datetime.now(dt.UTC).date()
    for days in (-20_000, -1, 0, 1, 5):
        folder = home.spool_root / "crypto" / str(today + dt.timedelta(days=days))
        folder.mkdir(parents=True)
        Path(SpoolFile.at(folder, "collector", 1, STREAM_TRADES.name).path).touch()
    asked = [request.partition_key for request in tick(home, instance, None).run_requests]
    assert asked == [f"{today + dt.timedelta(days=days)}|crypto" for days in (-1, 0, 1)]
    assert all(MARKET_DAYS.has_partition_key(key) for key in asked)


def test_new_batches_get_one_run_per_partition_and_wait_while_it_is_under_way(
    home: Settings, instance: dg.DagsterInstance
) -> None:
    put(home)
    put(home, seconds=1)
    put(home, CRYPTO)
    first = tick(home, instance, None)
    assert [request.partition_key for request in first.run_requests] == [str(CRYPTO), str(STOCKS)]
    again = tick(home, instance, first.cursor)
    assert [request.run_key for request in again.run_requests] == [request.run_key for request in first.run_requests]
    for request in first.run_requests:
        pending(home, instance, request)
    put(home, seconds=2)
    busy = tick(home, instance, again.cursor)
    assert not busy.run_requests
    assert "2 run(s) under way" in str(busy.skip_reason)


def test_a_run_that_was_killed_with_the_platform_is_requested_again_after_a_restart(
    home: Settings, instance: dg.DagsterInstance
) -> None:
    put(home)
    first = tick(home, instance, None)
    (lost,) = first.run_requests
    pending(home, instance, lost)
    typed = pending(home, instance, dg.RunRequest(run_key="typed by somebody"), by_the_daemon=False)
    busy = tick(home, instance, first.cursor)
    assert not busy.run_requests
    end_lost_runs(instance)
    failed = tick(home, instance, busy.cursor)
    (again,) = tick(home, instance, some_time_later(failed.cursor)).run_requests
    assert again.partition_key == lost.partition_key
    assert again.run_key != lost.run_key
    assert instance.get_run_by_id(typed).status is dg.DagsterRunStatus.STARTED


def test_the_pause_of_a_day_is_proportional_to_its_last_run(home: Settings, instance: dg.DagsterInstance) -> None:
    put(home)
    through = tick(home, instance, None).run_requests[0].run_config["ops"]["tape__stream_batches"]["config"]["through"]
    put(home, seconds=1)
    asked = []
    # Two minutes too early (the machine may be slow), or just late enough.
    for took_s, ended_s_ago in ((200, 480), (200, 610), (200, -50), (4000, 3480), (4000, 3610), (0, 0)):
        entry = {
            "merged": through,
            "through": through,
            "attempt": 0,
            "took_s": took_s,
            "ended_at": time.time() - ended_s_ago,
        }
        asked.append(len(tick(home, instance, json.dumps({str(STOCKS): entry})).run_requests))
    # A quarter of the time, an hour at most, and no pause if the clock was set back.
    assert asked == [0, 1, 1, 0, 1, 1]


@pytest.mark.slow
def test_the_cursor_moves_on_success_only(home: Settings, instance: dg.DagsterInstance) -> None:
    put(home)
    first = tick(home, instance, None)
    (asked,) = first.run_requests
    assert not execute(home, instance, asked, breaks="tape").success
    assert len(waiting_for(home.spool_root, STOCKS)) == 1
    failed = tick(home, instance, first.cursor)
    assert not failed.run_requests
    entry = json.loads(failed.cursor)[str(STOCKS)]
    assert entry["failures"] == 1
    assert "merged" not in entry
    put(home, seconds=1)
    second = tick(home, instance, some_time_later(failed.cursor))
    (retry,) = second.run_requests
    # Merged and then killed: no batch waits, but bars and all that depends on them are still to be computed.
    assert not execute(home, instance, retry, breaks="tape/bars").success
    assert not waiting_for(home.spool_root, STOCKS)
    failed = tick(home, instance, second.cursor)
    assert not failed.run_requests
    assert json.loads(failed.cursor)[str(STOCKS)]["failures"] == 2
    second = tick(home, instance, some_time_later(failed.cursor))
    (last,) = second.run_requests
    assert [r.run_key for r in tick(home, instance, second.cursor).run_requests] == [last.run_key]
    assert execute(home, instance, last).success
    done = tick(home, instance, second.cursor)
    assert not done.run_requests
    through = last.run_config["ops"]["tape__stream_batches"]["config"]["through"]
    assert json.loads(done.cursor)[str(STOCKS)]["merged"] == through
    assert Lake(home.lake_root).rows(TRADES, STOCKS) == 2
    assert Lake(home.lake_root).read(COVERAGE, STOCKS)["trades"].to_list() == [2]
    put(home, seconds=2)
    third = tick(home, instance, some_time_later(done.cursor))
    assert len({r.run_key for r in (asked, retry, last, *third.run_requests)}) == 4


@pytest.mark.slow
def test_a_streamed_day_becomes_the_same_bars_and_features_and_a_certificate(
    home: Settings, instance: dg.DagsterInstance
) -> None:
    day = Synthetic(4).day("VOO", DAY)
    with SpoolWriter(home.spool_root, Market.STOCKS, "collector") as writer:
        for part in (day.trades[::2], day.trades[1::2]):
            writer.add_rows(STREAM_TRADES, as_streamed(part))
            writer.flush()
        writer.add_rows(STREAM_QUOTES, as_streamed(day.quotes, STREAM_QUOTES))
    with Database(home.database) as database:
        gap = GapBook(database, home.home / "gaps.jsonl", Market.STOCKS)
        start = STOCKS.session.regular_start
        gap.open(
            "disconnect", start_ns=start, end_ns=start + 90 * NS_PER_SECOND, now_ns=time.time_ns() - 2 * 86_400 * 10**9
        )
    (request,) = tick(home, instance, None).run_requests
    result = execute(home, instance, request)
    assert result.success
    lake, session = Lake(home.lake_root), STOCKS.session
    trades, quotes = (frame.with_columns(pl.col("time").dt.truncate("1ms")) for frame in (day.trades, day.quotes))
    trades = trades.sort("time", "sequence_number")
    built = minute_bars(trades, session)
    bars = lake.read(BARS, STOCKS)
    assert bars.select(built.columns).equals(built)
    assert set(bars["source"].cast(pl.String)) == {"trades"}
    assert lake.read(MICROSTRUCTURE, STOCKS).equals(microstructure(trades, quotes, session))
    assert lake.read(STREAM_BATCHES, STOCKS)["added"].sum() == day.trades.height + day.quotes.height
    (row,) = lake.read(COVERAGE, STOCKS).to_dicts()
    assert (row["missing_minutes"], row["open_gaps"], row["is_complete"]) == (2, 1, False)
    with Database(home.database) as database:
        assert database.read(COVERAGE, market=Market.STOCKS).select(COVERAGE.schema.names()).to_dicts() == [row]
        assert database.read(GAPS).height == 1
    checks = {check.check_name: check.passed for check in result.get_asset_check_evaluations()}
    assert not checks["no_old_gaps"]
    events = instance.fetch_materializations(dg.AssetKey(["tape", "trades"]), limit=1).records
    assert events[0].asset_materialization.metadata["rows"].value == day.trades.height


@pytest.mark.slow
def test_a_tick_with_ten_thousand_waiting_files_is_quick(home: Settings, instance: dg.DagsterInstance) -> None:
    for partition in (STOCKS, CRYPTO):
        folder = home.spool_root / partition.market / str(partition.date)
        folder.mkdir(parents=True)
        for number in range(5000):
            Path(SpoolFile.at(folder, "collector", number, STREAM_TRADES.name).path).touch()
    began = time.process_time()
    result = tick(home, instance, None)
    assert time.process_time() - began < 5
    assert [r.run_config["ops"]["tape__stream_batches"]["config"]["through"] for r in result.run_requests] == [
        {"collector": 4999}
    ] * 2
