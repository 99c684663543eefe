"""The lake's layout: what other readers make of it, and the move of a lake of an earlier Tapewatch."""

import datetime as dt
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

import duckdb
import fsspec
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from typer.testing import CliRunner
from upath import UPath

from orchestration.cli.app import app
from orchestration.home import prepare
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.schema import Table
from tapewatch.market.tables.derived import PROFILE
from tapewatch.market.tables.live import EVERY
from tapewatch.market.tables.tape import EVALUATION, QUARANTINE, TRADES, quarantine_of
from tapewatch.settings import Settings
from tapewatch.store.lake.lake import Lake, LakeError, LayoutError
from tapewatch.store.lake.migration import migrate
from tests.store.lake.test_lake import _trades
from tests.support.crash_points import Killed, killed_at

DAY = Partition(dt.date(2024, 6, 3), Market.STOCKS)
NEXT = Partition(dt.date(2024, 6, 4), Market.CRYPTO)
_LOADED = 1_717_500_000_123_456_789


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Two markets' days of trades."""
    lake = Lake(tmp_path / "lake")
    lake.write(TRADES, DAY, _trades({"AAPL": 3}))
    lake.write(TRADES, NEXT, _trades({"X:BTCUSD": 2}))
    return lake


@pytest.mark.parametrize("table", EVERY, ids=lambda table: f"{table.group}-{table.name}")
def test_no_column_has_the_name_of_a_partition_column(table: Table) -> None:
    assert not {"market", "date"} & set(table.schema)


def test_other_readers_see_market_and_date_unasked(lake: Lake) -> None:
    folder = lake.root / "tape" / "trades"
    expected = [("AAPL", "stocks", DAY.date)] * 3 + [("X:BTCUSD", "crypto", NEXT.date)] * 2

    def interrupted() -> Iterator[pl.DataFrame]:
        """Another day is being written while the readers read."""
        yield _trades({"AAPL": 150_000})
        assert [*Path(lake.root).rglob("*.tmp")], "there is a staged file, which no reader may see"
        polars = pl.scan_parquet(folder).select(pl.col("symbol").cast(pl.String), "market", "date").collect()
        assert polars.schema == {"symbol": pl.String(), "market": pl.String(), "date": pl.Date()}
        assert sorted(polars.rows()) == expected
        duck = duckdb.sql(f"FROM '{folder}/**/*.parquet'").select("symbol", "market", "date")
        assert [str(kind) for kind in duck.types] == ["VARCHAR", "VARCHAR", "DATE"]
        assert sorted(duck.fetchall()) == expected
        # Arrow makes every partition column a dictionary of text, and pandas a category of it.
        pandas = pd.read_parquet(folder, columns=["symbol", "market", "date"])
        rows = zip(pandas["symbol"], pandas["market"], pd.to_datetime(pandas["date"]).dt.date, strict=True)
        assert sorted(rows) == expected

    lake.write(TRADES, Partition(dt.date(2024, 6, 5), Market.STOCKS), interrupted())


def test_other_readers_read_one_partition_alone(lake: Lake) -> None:
    folder = lake.root / "tape" / "trades"
    unreadable = lake.path(TRADES, Partition(dt.date(2024, 6, 5), Market.STOCKS))
    unreadable.parent.mkdir()
    unreadable.write_bytes(b"no Parquet")
    is_monday = (pl.col("date") == DAY.date) & (pl.col("market") == "stocks")
    assert pl.scan_parquet(folder).filter(is_monday).collect().height == 3
    day = duckdb.sql(f"FROM '{folder}/*/*/*.parquet'").filter("date = DATE '2024-06-03' AND market = 'stocks'")
    assert day.count("*").fetchall() == [(3,)]
    assert len(pd.read_parquet(folder, filters=[("market", "=", "stocks"), ("date", "=", "2024-06-03")])) == 3


def test_a_folder_without_its_object_is_no_partition(lake: Lake) -> None:
    lake.remove(TRADES, DAY)
    assert lake.partitions(TRADES) == [NEXT]
    assert not lake.exists(TRADES, DAY)


def test_a_table_on_another_disk_is_staged_there(tmp_path: Path) -> None:
    elsewhere = tmp_path / "other disk"
    (elsewhere / "trades").mkdir(parents=True)
    lake = Lake(tmp_path / "lake")
    (tmp_path / "lake" / "tape").mkdir(parents=True)
    (tmp_path / "lake" / "tape" / "trades").symlink_to(elsewhere / "trades")

    def frames() -> Iterator[pl.DataFrame]:
        yield _trades({"AAPL": 150_000})
        assert [path.parent.parent for path in tmp_path.rglob("*.tmp")] == [elsewhere]

    lake.write(TRADES, DAY, frames())
    assert lake.rows(TRADES, DAY) == 150_000


def _made_old(root: UPath) -> None:
    """Rename a lake's objects as an earlier Tapewatch named them."""
    for path in list(root.glob("*/*/market=*/date=*/part.parquet")):
        old = path.parent.with_name(f"{path.parent.name}.parquet")
        old.write_bytes(path.read_bytes())
        path.unlink()
        if isinstance(path, Path):
            path.parent.rmdir()


def _old_lake(root: UPath) -> Lake:
    """A lake in the layout of before, with what a killed writer left and the page of a profile."""
    lake = Lake(root)
    for day in (DAY, NEXT):
        lake.write(TRADES, day, _trades({"AAPL": 3, "IBM": 2}))
        lake.write(quarantine_of(TRADES), day, QUARANTINE.empty())
    lake.write(EVALUATION, None, EVALUATION.empty())
    _made_old(root)
    page = root / PROFILE.group / PROFILE.name / "market=stocks" / "date=2024-06-03.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("a page")
    return lake


def _files(root: UPath) -> dict[str, bytes]:
    return {str(path).removeprefix(str(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def old(tmp_path: Path) -> Lake:
    lake = _old_lake(UPath(tmp_path / "lake"))
    (tmp_path / "lake/tape/trades/market=stocks/.date=2024-06-03.parquet.0.tmp").write_bytes(b"half")
    return lake


def test_a_lake_of_before_is_refused_in_one_line(old: Lake, tmp_path: Path) -> None:
    asks = (
        lambda: old.exists(TRADES, DAY),
        lambda: old.partitions(TRADES),
        lambda: old.partitions(TRADES, Market.CRYPTO),
        lambda: old.read(TRADES, DAY),
        lambda: old.scan(TRADES, DAY),
        lambda: old.rows(TRADES, DAY),
        lambda: old.write(TRADES, DAY, _trades({"A": 1}), allow_shrink=True),
        old.check_layout,
        lambda: prepare(Settings(home=tmp_path, _env_file=None)),
    )
    for ask in asks:
        with pytest.raises(LayoutError, match=f"run `tapewatch lake migrate {old.root}` once") as refused:
            ask()
        assert "\n" not in str(refused.value)
    assert old.read(EVALUATION).height == 0, "tables without partitions lie where they lay"


def test_check_names_the_command_among_its_findings(old: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAPEWATCH_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "400")
    result = CliRunner().invoke(app, ["check"])
    assert result.exit_code == 1
    (line,) = (line for line in result.stdout.splitlines() if "│ lake " in line)
    assert "✗" in line
    assert f"run `tapewatch lake migrate {old.root}` once" in line
    assert "│ database" in result.stdout, "the other parts are checked all the same"


def test_the_command_moves_a_lake_and_twice_equals_once(
    old: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAPEWATCH_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    stamps = {
        path.parent.parent.name: path.stat().st_mtime_ns for path in Path(old.root).rglob("date=2024-06-03.parquet")
    }
    result = CliRunner().invoke(app, ["lake", "migrate"])
    assert (result.exit_code, result.stdout) == (0, f"{old.root}: 4 objects moved\n"), result.output
    assert old.partitions(TRADES) == [DAY, NEXT]
    assert old.read(TRADES, NEXT).equals(_trades({"AAPL": 3, "IBM": 2}))
    assert old.symbols(TRADES, DAY) == {"AAPL": 3, "IBM": 2}
    assert old.page(PROFILE, DAY).read_text() == "a page"
    moved = {
        path.parents[2].name: path.stat().st_mtime_ns for path in Path(old.root).rglob("date=2024-06-03/part.parquet")
    }
    assert moved == stamps, "the time of a load decides what counts as loaded"
    assert not list(Path(old.root).rglob("*.tmp"))
    old.check_layout()
    before = _files(old.root)
    again = CliRunner().invoke(app, ["lake", "migrate", str(old.root)])
    assert again.stdout == f"{old.root}: nothing to move\n"
    assert _files(old.root) == before


def test_a_lake_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LakeError, match="there is no lake at"):
        migrate(tmp_path / "none")


def test_a_partition_in_both_layouts_is_refused(old: Lake) -> None:
    folder = Path(old.root) / "tape/trades/market=stocks/date=2024-06-03"
    folder.mkdir()
    shutil.copy(folder.with_name("date=2024-06-03.parquet"), folder / "part.parquet")
    with pytest.raises(LakeError, match=r"date=2024-06-03.parquet and .*/part.parquet hold the same partition"):
        migrate(old.root)
    with pytest.raises(LayoutError):
        old.write(TRADES, DAY, _trades({"A": 1}), allow_shrink=True)


def test_killed_and_resumed_equals_undisturbed(old: Lake, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(old.root, source)
    with killed_at(None) as disk:
        migrate(old.root)
    undisturbed, moments = _files(old.root), disk.moments
    assert moments > 8
    for moment in range(moments):
        root = UPath(tmp_path / f"killed-{moment}")
        shutil.copytree(source, root)
        with killed_at(moment), suppress(Killed):
            migrate(root)
        rows = sum(1 for path in Path(root).rglob("*.parquet"))
        assert rows == 5, "no object is lost or doubled on the way"
        migrate(root)
        assert _files(root) == undisturbed, moment


def test_on_an_object_store_a_load_keeps_its_time_and_a_kill_is_resumed(tmp_path: Path) -> None:
    root = UPath(f"memory://{tmp_path.name}/lake")
    lake = _old_lake(root)
    with pytest.raises(LayoutError, match="tapewatch lake migrate memory://"):
        lake.partitions(TRADES)
    loaded = dt.datetime.fromtimestamp(_LOADED // 10**9, dt.UTC)
    for path in root.glob("tape/quarantine_trades/*/*.parquet"):
        MemoryFileSystem.store[path.path].modified = loaded
    kept = {path: fsspec.core.url_to_fs(str(path))[0].cat(path.path) for path in root.rglob("*.parquet")}
    assert len(kept) == 5
    store = type(root.fs)

    def dies(*_: object, **__: object) -> None:
        raise Killed

    # Copied but not deleted: both objects are there, and the old one still counts.
    with patch.object(store, "_rm", dies), patch.object(store, "rm_file", dies), suppress(Killed):
        migrate(root)
    assert len([*root.rglob("*.parquet")]) == 6
    with pytest.raises(LayoutError):
        lake.write(TRADES, DAY, _trades({"A": 1}), allow_shrink=True)
    assert migrate(root) == 4
    assert len([*root.rglob("*.parquet")]) == 5
    for day in (DAY, NEXT):
        assert lake.read(TRADES, day).equals(_trades({"AAPL": 3, "IBM": 2}))
        assert lake.read(quarantine_of(TRADES), day).equals(QUARANTINE.empty())
        assert lake.written_ns(quarantine_of(TRADES), day) == _LOADED // 10**9 * 10**9
    assert lake.page(PROFILE, DAY).read_text() == "a page"
    assert migrate(root) == 0
    lake.write(quarantine_of(TRADES), DAY, QUARANTINE.empty())
    assert lake.written_ns(quarantine_of(TRADES), DAY) > _LOADED, "a new load has a time of its own"
    with lake.path(TRADES, DAY).open("rb") as stream:
        assert pq.read_metadata(stream).num_rows == 5
