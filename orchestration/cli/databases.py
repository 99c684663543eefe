"""The work and the output of `tapewatch db`."""

import datetime as dt
import getpass
import os
import shlex
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table as RichTable
from rich.text import Text
from upath import UPath

from tapewatch.store.database import schema
from tapewatch.store.database.database import Database
from tapewatch.store.database.engine import DatabaseError, transaction
from tapewatch.store.database.migrations import HEAD
from tapewatch.store.database.people.audit import record
from tapewatch.store.database.tables import SQL_TABLES
from tapewatch.store.database.upkeep import archive, moving, retention, rollups
from tapewatch.store.database.upkeep.copying import Listener
from tapewatch.store.database.upkeep.creation import create_databases
from tapewatch.store.database.upkeep.rollups import RETENTION_DAYS
from tapewatch.store.database.upkeep.status import status
from tapewatch.store.database.upkeep.timescale import FailingJob
from tapewatch.store.durable import is_local

_BY_NAME = {table.name: table for table in SQL_TABLES}


def create(url: str, output: Console, console: Console) -> None:
    """Make the databases of all parts on a PostgreSQL server; the variables to set go to `output`, the rest to `console`."""
    found = create_databases(url)
    for variable, (address, is_new) in found.items():
        console.print(f"{address.database} {'was made' if is_new else 'is there'}", soft_wrap=True, markup=False)
        line = f"{variable}={shlex.quote(address.render_as_string(hide_password=True))}"
        output.print(line, soft_wrap=True, markup=False, highlight=False)
    if any(address.password for address, _ in found.values()):
        console.print("Put the password in place of ***, or keep it in ~/.pgpass and leave it out.", soft_wrap=True)


def upgrade(url: str, console: Console) -> None:
    """Upgrade the schema and print both revisions."""
    with Database(url, upgrades=False) as database:
        before, after = schema.upgrade(database.engine)
        address = database.address
    what = "is current" if before == after else f"was upgraded from {before}" if before else "was made"
    console.print(f"{address} {what}: revision {after}", soft_wrap=True, markup=False)


def show_status(url: str, console: Console) -> None:
    """Print the facts of the database, and a row per table."""
    found = status(url)
    facts = RichTable.grid(padding=(0, 2))
    for name, value in (
        ("database", found.address),
        ("engine", found.engine),
        ("revision", _revision(found.revision)),
        ("TimescaleDB", found.timescale),
        *(("  jobs", line) for line in _jobs(found.failing_jobs)),
        ("size", decimal(found.size)),
    ):
        facts.add_row(name, Text(value))
    console.print(facts)
    tables = RichTable(box=SIMPLE_HEAD)
    for heading in ("table", "rows", "size", "oldest", "newest", "kept"):
        tables.add_column(heading, justify="right" if heading in ("rows", "size") else "left", no_wrap=True)
    for table in found.tables:
        days = RETENTION_DAYS.get(table.name)
        tables.add_row(
            table.name,
            f"{table.rows:,}",
            "" if table.size is None else decimal(table.size),
            _day(table.oldest),
            _day(table.newest),
            f"{days:,} days" if days else "for ever",
        )
    console.print(tables)


def refresh(url: str, console: Console) -> None:
    with Database(url) as database:
        rollups.refresh(database.engine)
        console.print(f"{database.address}: hourly and daily bars are up to date", soft_wrap=True, markup=False)


def retain(url: str, console: Console, *, tables: list[str], days: int | None, does_it: bool) -> None:
    """Show the rows that are too old, and delete them if `does_it`.

    Raises:
        DatabaseError: a table is unknown, or is kept for ever and no days were given, or the database fails.
    """
    now = dt.datetime.now(dt.UTC)
    kept = {name: _days(name, days) for name in tables or RETENTION_DAYS}
    with Database(url) as database:
        expiries = [
            retention.expired(database.engine, _BY_NAME[name], now - dt.timedelta(days=long))
            for name, long in kept.items()
        ]
        _show_expiries(console, expiries, kept)
        if not any(expiry.rows for expiry in expiries):
            console.print("Nothing is older than its limit.")
        elif not does_it:
            console.print("Nothing was deleted: repeat with --yes to delete these rows.")
        else:
            deleted = sum(retention.delete(database.engine, e, _actor()) for e in expiries if e.rows)
            rollups.refresh(database.engine)
            console.print(f"{deleted:,} rows deleted; the audit log records it.")


def backup(url: str, console: Console, place: str, *, overwrites: bool) -> None:
    """Back up to a file or an object store's address, with a progress bar for each table.

    Raises:
        DatabaseError: the database cannot be read, or the file cannot be written or exists.
    """
    target = UPath(place)
    try:
        with _file_of(target) as file:
            if not is_local(target) and not overwrites and target.exists():
                raise DatabaseError(f"{place} exists: name another file, or replace it with --force")
            with Database(url) as database, _bars(console) as bars:
                rows = archive.backup(database, file, bars("backing up"), overwrites=overwrites)
            size = file.stat().st_size
            if not is_local(target):
                target.fs.put_file(str(file), target.path)
    except OSError as error:
        raise DatabaseError(
            f"{place} cannot be written: {error}. Name a file in a writable folder or bucket"
        ) from error
    console.print(f"{place}: {sum(rows.values()):,} rows, {decimal(size)}", soft_wrap=True, markup=False)


def restore(url: str, console: Console, place: str, *, replaces: bool) -> None:
    """Restore from a file or an object store's address, and record it in the audit log.

    Raises:
        DatabaseError: there is no such object, or the backup cannot be restored.
    """
    source = UPath(place)
    with _file_of(source) as file:
        if not is_local(source):
            try:
                source.fs.get_file(source.path, str(file))
            except OSError as error:
                raise DatabaseError(f"{place} cannot be read: {error}") from error
        _restore(url, console, file, replaces=replaces)


@contextmanager
def _file_of(place: UPath) -> Iterator[Path]:
    """The file itself, or for an object of a store a temporary file of the same name."""
    if is_local(place):
        yield Path(place.path)
        return
    with tempfile.TemporaryDirectory(prefix="tapewatch-backup-") as folder:
        yield Path(folder) / place.name


def _restore(url: str, console: Console, file: Path, *, replaces: bool) -> None:
    with Database(url) as database:
        with _bars(console) as bars:
            rows = archive.restore(database, file, replace=replaces, listener=bars("restoring"))
        with transaction(database.engine) as connection:
            record(connection, _actor(), "restore", file.name, {"rows": rows, "replaced": replaces})
        console.print(f"{database.address}: {sum(rows.values()):,} rows restored", soft_wrap=True, markup=False)


def move(url: str, to: str, console: Console) -> None:
    """Move with progress bars, then print how to switch."""
    with Database(url) as source, Database(to) as target:
        if source.url == target.url:
            raise DatabaseError(f"database {source.address} is the one to move from: name another with --to")
        with _bars(console) as bars:
            rows = moving.move(source, target, bars("copying"), bars("comparing"))
        console.print(
            f"{sum(rows.values()):,} rows are in {target.address}, each compared with its original.\n"
            "To switch, set TAPEWATCH_DATABASE_URL to that address and restart all processes.",
            soft_wrap=True,
            markup=False,
        )


def _days(name: str, days: int | None) -> int:
    if name not in _BY_NAME:
        raise DatabaseError(f"there is no table {name!r}: the database has {', '.join(_BY_NAME)}")
    long = days if days is not None else RETENTION_DAYS.get(name)
    if long is None:
        raise DatabaseError(f"{name} is kept for ever: say with --days how long to keep it instead")
    return long


def _show_expiries(console: Console, expiries: list[retention.Expiry], kept: dict[str, int]) -> None:
    shown = RichTable()
    for heading in ("table", "limit, days", "rows older", "oldest, UTC"):
        shown.add_column(heading, justify="right" if heading in ("limit, days", "rows older") else "left")
    for expiry in expiries:
        name = expiry.table.name
        shown.add_row(name, f"{kept[name]:,}", f"{expiry.rows:,}", _minute(expiry.oldest))
    console.print(shown)


@contextmanager
def _bars(console: Console) -> Iterator[Callable[[str], Listener]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=console) as progress:

        def show(verb: str, table: str, done: int, rows: int) -> None:
            line = f"{verb} {table}"
            if line not in tasks:
                tasks[line] = progress.add_task(line, total=rows)
            progress.update(tasks[line], completed=done)

        yield lambda verb: partial(show, verb)


def _actor() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"  # a container may run as a user without a name


def _revision(revision: str | None) -> str:
    if revision is None:
        return f"none yet; this Tapewatch is at {HEAD}: `tapewatch db upgrade`"
    return f"{revision}, current" if revision == HEAD else f"{revision}; this Tapewatch is at {HEAD}"


def _jobs(failing: tuple[FailingJob, ...] | None) -> Iterator[str]:
    if failing is not None and not failing:
        yield "none failed in its last run"
    for job in failing or ():
        since = f"last success {job.succeeded} UTC" if job.succeeded else "never succeeded"
        yield f"{job.name} failed: {job.error or 'see the log of PostgreSQL'} ({job.failures:,} failures, {since})"


def _minute(moment: dt.datetime | dt.date | None) -> str:
    if moment is None:
        return ""
    return f"{moment:%Y-%m-%d %H:%M}" if isinstance(moment, dt.datetime) else f"{moment:%Y-%m-%d}"


def _day(moment: dt.datetime | dt.date | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d}"
