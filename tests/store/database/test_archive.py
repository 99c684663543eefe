"""Backup, restore and move on either engine: all rows are copied, or nothing changes."""

import datetime as dt
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa

from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.live import ALERTS, LIVE_BARS, LIVE_QUARANTINE
from tapewatch.store.database.database import Database, DatabaseError
from tapewatch.store.database.engine import transaction
from tapewatch.store.database.tables import SQL_TABLES
from tapewatch.store.database.upkeep import copying
from tapewatch.store.database.upkeep.archive import backup, restore
from tapewatch.store.database.upkeep.moving import move
from tests.support.live_rows import rows_of

MONDAY = Partition(dt.date(2024, 6, 3), Market.STOCKS)
CRYPTO = Partition(dt.date(2024, 6, 3), Market.CRYPTO)
ROWS = 45
New = Callable[[str], Database]
on_both = pytest.mark.parametrize("engine", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
between = pytest.mark.parametrize(
    ("one", "other"),
    [
        ("sqlite", "sqlite"),
        *(
            pytest.param(one, other, marks=pytest.mark.slow)
            for one, other in (("sqlite", "postgresql"), ("postgresql", "sqlite"), ("postgresql", "postgresql"))
        ),
    ],
)


@pytest.fixture
def new(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[New]:
    opened: list[Database] = []

    def make(engine: str) -> Database:
        is_sqlite = engine == "sqlite"
        url = (
            f"sqlite:///{tmp_path / f'{len(opened)}.db'}" if is_sqlite else request.getfixturevalue("server").database()
        )
        opened.append(Database(url))
        return opened[-1]

    yield make
    for database in opened:
        database.close()


def fill(database: Database) -> None:
    for table in SQL_TABLES:
        for place in (MONDAY, CRYPTO):
            database.upsert(table, place, rows_of(table, ROWS))


def content(database: Database) -> dict[str, object]:
    with copying.snapshot(database.engine) as connection:
        return {
            table.name: [frame.rows() for frame in copying.batches(connection, table, by_key=True)]
            for table in SQL_TABLES
        }


@pytest.mark.long
@between
def test_a_backup_of_one_is_restored_into_another(new: New, one: str, other: str, tmp_path: Path) -> None:
    source, target = new(one), new(other)
    fill(source)
    seen: list[tuple[str, int, int]] = []
    written = backup(source, tmp_path / "deep" / "er" / "backup.zip", lambda *step: seen.append(step))
    assert written == {table.name: 2 * ROWS for table in SQL_TABLES}
    assert seen == [(table.name, 2 * ROWS, 2 * ROWS) for table in SQL_TABLES]
    assert restore(target, tmp_path / "deep" / "er" / "backup.zip") == written
    assert content(target) == content(source)
    assert [path.name for path in (tmp_path / "deep" / "er").iterdir()] == ["backup.zip"]


@pytest.mark.long
@on_both
def test_a_database_with_rows_is_replaced_only_on_request(new: New, engine: str, tmp_path: Path) -> None:
    source, target = new("sqlite"), new(engine)
    fill(source)
    backup(source, tmp_path / "backup.zip")
    target.upsert(ALERTS, MONDAY, rows_of(ALERTS, 7, seed=1))
    before = content(target)
    with pytest.raises(DatabaseError, match=r"is not empty: alerts \(7 rows\)\. --replace"):
        restore(target, tmp_path / "backup.zip")
    assert content(target) == before
    restore(target, tmp_path / "backup.zip", replace=True)
    assert content(target) == content(source)


@on_both
def test_a_damaged_backup_changes_nothing(new: New, engine: str, tmp_path: Path) -> None:
    source, target = new("sqlite"), new(engine)
    fill(source)
    file = tmp_path / "backup.zip"
    backup(source, file)
    target.upsert(ALERTS, MONDAY, rows_of(ALERTS, 7, seed=1))
    before = content(target)
    whole = file.read_bytes()
    middle = len(whole) // 2
    for damaged in (whole[:middle], whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :], b"", b"text"):
        file.write_bytes(damaged)
        with pytest.raises(DatabaseError, match=r"backup\.zip"):
            restore(target, file, replace=True)
        assert content(target) == before
    with pytest.raises(DatabaseError, match="no such file"):
        restore(target, tmp_path / "absent.zip")


@pytest.mark.long
@on_both
def test_a_backup_that_lacks_rows_is_refused(new: New, engine: str, tmp_path: Path) -> None:
    source, target = new("sqlite"), new(engine)
    fill(source)
    file, short = tmp_path / "backup.zip", tmp_path / "short.zip"
    backup(source, file)
    with zipfile.ZipFile(file) as archive, zipfile.ZipFile(short, "w") as copy:
        for name in archive.namelist():
            copy.writestr(name, archive.read("labels.parquet" if name == "gaps.parquet" else name))
    with pytest.raises(ValueError, match="gaps"):
        restore(target, short)
    with zipfile.ZipFile(file) as archive, zipfile.ZipFile(short, "w") as copy:
        for name in archive.namelist():
            text = archive.read(name)
            copy.writestr(name, text.replace(b'"labels": 90', b'"labels": 91') if name == "manifest.json" else text)
    with pytest.raises(DatabaseError, match="labels should have 91 rows and has 90"):
        restore(target, short)
    assert set(map(len, content(target).values())) == {0}


def test_a_backup_of_a_newer_tapewatch_is_refused(new: New, tmp_path: Path) -> None:
    file = tmp_path / "backup.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("manifest.json", json.dumps({"format": 1, "revision": "9999", "rows": {}}))
    with pytest.raises(DatabaseError, match="was made at revision 9999"):
        restore(new("sqlite"), file)


@pytest.mark.long
@between
def test_a_move_brings_every_row(new: New, one: str, other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "ROWS_A_BATCH", 40)  # so that a table takes several batches
    source, target = new(one), new(other)
    fill(source)
    before = content(source)
    seen: list[tuple[str, int, int]] = []
    assert move(source, target, compared=lambda *step: seen.append(step)) == {t.name: 2 * ROWS for t in SQL_TABLES}
    assert content(target) == before == content(source)
    assert seen[:3] == [("anomalies", 40, 90), ("anomalies", 80, 90), ("anomalies", 90, 90)]
    with pytest.raises(DatabaseError, match="is not empty: anomalies"):
        move(source, target)


@on_both
def test_a_move_that_fails_leaves_the_target_empty(new: New, engine: str) -> None:
    source, target = new("sqlite"), new(engine)
    fill(source)
    with source.engine.begin() as connection:
        # Tables are copied in an order of which this is the last.
        connection.execute(sa.text("UPDATE quarantine SET received_time = 'yesterday' WHERE market = 'crypto'"))
    with pytest.raises(DatabaseError, match=r"quarantine holds a value that cannot be read: .*yesterday"):
        move(source, target)
    assert set(map(len, content(target).values())) == {0}


@on_both
def test_a_row_that_differs_is_found_and_named(new: New, engine: str) -> None:
    source, target = new("sqlite"), new(engine)
    for database in (source, target):
        fill(database)
    with copying.snapshot(source.engine) as old, copying.snapshot(target.engine) as same:
        assert copying.compare(old, same, LIVE_BARS) == 2 * ROWS
    changes = {
        "UPDATE quarantine SET raw = 'other' WHERE market = 'stocks' AND entry_id = 'entry_id 7'": "entry_id=entry_id 7",
        "DELETE FROM quarantine WHERE market = 'stocks' AND entry_id = 'entry_id 9'": "lacks market=stocks, entry_id=entry_id 9",
    }
    for change, named in changes.items():
        with target.engine.begin() as connection:
            connection.execute(sa.text(change))
        with (
            copying.snapshot(source.engine) as old,
            copying.snapshot(target.engine) as changed,
            pytest.raises(DatabaseError, match=named),
        ):
            copying.compare(old, changed, LIVE_QUARANTINE)
        target.upsert(LIVE_QUARANTINE, MONDAY, rows_of(LIVE_QUARANTINE, ROWS))


@pytest.mark.long
@on_both
def test_a_backup_is_of_one_moment(new: New, engine: str, tmp_path: Path) -> None:
    database = new(engine)
    fill(database)
    before = content(database)

    def write_meanwhile(table: str, *_: int) -> None:
        if table == "anomalies":
            database.upsert(LIVE_QUARANTINE, Partition(MONDAY.date, Market.FOREX), rows_of(LIVE_QUARANTINE, 9))

    backup(database, tmp_path / "backup.zip", write_meanwhile)
    target = new("sqlite")
    restore(target, tmp_path / "backup.zip")
    assert content(target) == before != content(database)


@pytest.mark.long
def test_each_step_reports_the_rows_so_far_and_all_rows(
    new: New, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "ROWS_A_BATCH", 60)
    source, file = new("sqlite"), tmp_path / "backup.zip"
    fill(source)
    expected = [(table.name, done, 2 * ROWS) for table in SQL_TABLES for done in (60, 2 * ROWS)]
    heard: dict[str, list[tuple[str, int, int]]] = {name: [] for name in ("backup", "restore", "copy", "compare")}
    backup(source, file, lambda *step: heard["backup"].append(step))
    restore(new("sqlite"), file, listener=lambda *step: heard["restore"].append(step))
    move(
        source,
        new("sqlite"),
        lambda *step: heard["copy"].append(step),
        lambda *step: heard["compare"].append(step),
    )
    assert heard == dict.fromkeys(heard, expected)


@pytest.mark.slow
def test_postgresql_takes_each_row_once_however_many_batches_a_transaction_writes(new: New) -> None:
    target, rows = new("postgresql"), rows_of(LIVE_BARS, 200)
    placed = rows.select(pl.lit("stocks").alias("market"), pl.lit(MONDAY.date).alias("date"), pl.all())
    counts = sa.text("SELECT n_tup_ins, n_tup_upd FROM pg_stat_xact_user_tables WHERE relname = 'bars'")
    with transaction(target.engine) as connection:
        for start in range(0, 200, 50):
            copying.write(connection, LIVE_BARS, placed.slice(start, 50))
        assert connection.execute(counts).one() == (200, 0)
