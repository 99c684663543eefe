"""The event log of command-line runs: it holds what Dagster's own holds, and others see it at once."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.event_log import SqliteEventLogStorage

from orchestration.event_log import HeldEventLog
from orchestration.home import instance
from tapewatch.settings import Settings


@dg.asset
def table(context: dg.AssetExecutionContext) -> None:
    context.add_output_metadata({"rows": 3})


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.delenv("TAPEWATCH_DAGSTER_POSTGRES_URL", raising=False)
    return Settings(home=tmp_path / "home", _env_file=None)


@pytest.fixture
def opened(settings: Settings) -> Iterator[dg.DagsterInstance]:
    with instance(settings) as found:
        yield found


def history(settings: Settings) -> Path:
    return settings.dagster_home / "history" / "runs"


@pytest.mark.long
def test_dagsters_own_log_reads_the_same_events(settings: Settings) -> None:
    with instance(settings) as opened:
        assert isinstance(opened.event_log_storage, HeldEventLog)
        done = dg.materialize([table], instance=opened)
        events = opened.all_logs(done.run_id)
        assert (history(settings) / "index.db-wal").stat().st_size > 0
    assert not list(history(settings).glob("*-wal")), "closed at the end"
    read = SqliteEventLogStorage(str(history(settings)))
    assert read.get_logs_for_run(done.run_id) == events
    assert len(events) > 5
    assert read.get_asset_records([table.key])[0].asset_entry.last_run_id == done.run_id


def test_an_open_page_is_notified_of_each_event(settings: Settings, opened: dg.DagsterInstance) -> None:
    """The page's process watches the run's file, which only the journal would change."""
    job = dg.Definitions(assets=[table], jobs=[dg.define_asset_job("job")]).resolve_job_def("job")
    run = opened.create_run_for_job(job)
    page, ended = SqliteEventLogStorage(str(history(settings))), threading.Event()
    seen: list[str] = []
    opened.report_engine_event("first", run)

    def see(entry: dg.EventLogEntry, _cursor: str) -> None:
        seen.append(entry.message.strip())
        if seen[-1] == "last":
            ended.set()

    page.watch(run.run_id, None, see)
    try:
        opened.report_engine_event("last", run)
        assert ended.wait(180)
    finally:
        page.dispose()
    assert seen[-2:] == ["first", "last"]


@pytest.mark.long
def test_a_kill_loses_no_event(settings: Settings) -> None:
    code = f"""
import os, signal
import dagster as dg
from orchestration.home import instance
from tapewatch.settings import Settings

with instance(Settings(home={str(settings.home)!r}, _env_file=None)) as opened:
    opened.report_runless_asset_event(dg.AssetMaterialization("kept"))
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, env={**os.environ, "PYTHONPATH": str(Path.cwd())})
    assert done.returncode == -signal.SIGKILL
    with instance(settings) as opened:
        assert opened.get_latest_materialization_event(dg.AssetKey("kept")) is not None


def test_storage_that_the_owner_chose_stays(settings: Settings, tmp_path: Path) -> None:
    settings.dagster_home.mkdir(parents=True)
    own = f"storage:\n  sqlite:\n    base_dir: {tmp_path / 'elsewhere'}\n"
    (settings.dagster_home / "dagster.yaml").write_text(own)
    with instance(settings) as opened:
        assert type(opened.event_log_storage) is SqliteEventLogStorage
        opened.report_runless_asset_event(dg.AssetMaterialization("there"))
    with closing(sqlite3.connect(tmp_path / "elsewhere" / "history" / "runs" / "index.db")) as database:
        assert database.execute("SELECT count(*) FROM event_logs").fetchone() == (1,)
