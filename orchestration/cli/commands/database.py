"""The operational database: upgrade, status, retention, backup, restore, move."""

from pathlib import Path
from typing import Annotated

import typer

from orchestration.errors import console, reports_errors
from tapewatch.settings import Settings

app = typer.Typer()
db = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")
app.add_typer(db, name="db", help="Look after the operational database: upgrade, status, retention, backup, move.")

YesOption = Annotated[bool, typer.Option("--yes", metavar="", help="do it; without, only what would be done is shown")]


@db.command()
@reports_errors
def upgrade() -> None:
    """Bring the schema up to date; a database that does not exist is made.

    Every command does so by itself when it opens the database. This one also
    turns to TimescaleDB what was made before the extension was installed.

    [dim]tapewatch db upgrade[/]
    """
    from orchestration.cli import databases  # noqa: PLC0415

    databases.upgrade(Settings().database, console)


@db.command()
@reports_errors
def status() -> None:
    """What the database is and holds: engine, revision, sizes, rows, oldest and newest of each table.

    [dim]tapewatch db status[/]
    """
    from rich.console import Console  # noqa: PLC0415

    from orchestration.cli import databases  # noqa: PLC0415

    databases.show_status(Settings().database, Console())


@db.command()
@reports_errors
def refresh() -> None:
    """Bring the hourly and daily bars of PostgreSQL up to the minute; SQLite and TimescaleDB do it by themselves.

    [dim]tapewatch db refresh[/]
    """
    from orchestration.cli import databases  # noqa: PLC0415

    databases.refresh(Settings().database, console)


@db.command()
@reports_errors
def retain(
    table: Annotated[
        list[str] | None, typer.Option(help="a table, as often as wanted; by default those that grow")
    ] = None,
    days: Annotated[int | None, typer.Option(min=1, help="how long rows are kept; by default each table's own")] = None,
    does_it: YesOption = False,
) -> None:
    """Delete what is older than it needs to be, by table. Shows what would go; --yes deletes it.

    Open alerts and gaps stay. Anomalies, labels and the audit are kept unless
    named with --table and --days. The audit tells what was deleted. The lake is
    not touched.

    [dim]tapewatch db retain
    tapewatch db retain --table bars --days 30 --yes[/]
    """
    from orchestration.cli import databases  # noqa: PLC0415

    databases.retain(Settings().database, console, tables=table or [], days=days, does_it=does_it)


@db.command()
@reports_errors
def backup(file: Annotated[Path, typer.Argument(help="the file to write: a zip of Parquet files")]) -> None:
    """Write everything the database holds to one file, as of one moment; collectors may go on writing.

    [dim]tapewatch db backup tapewatch-2024-06-03.zip[/]
    """
    from orchestration.cli import databases  # noqa: PLC0415

    databases.backup(Settings().database, console, file)


@db.command()
@reports_errors
def restore(
    file: Annotated[Path, typer.Argument(help="a file that `db backup` wrote, on either engine")],
    replaces: Annotated[
        bool, typer.Option("--replace", metavar="", help="delete what the database holds first")
    ] = False,
) -> None:
    """Fill the database from a backup, whole or not at all.

    [dim]tapewatch db restore tapewatch-2024-06-03.zip
    TAPEWATCH_DATABASE_URL=postgresql+psycopg2://… tapewatch db restore tapewatch-2024-06-03.zip[/]
    """
    from orchestration.cli import databases  # noqa: PLC0415

    databases.restore(Settings().database, console, file, replaces=replaces)


@db.command()
@reports_errors
def move(
    to: Annotated[
        str, typer.Option(envvar="TAPEWATCH_MOVE_TO", help="SQLAlchemy URL of an empty database, such as PostgreSQL's")
    ],
) -> None:
    """Copy the database to another, compare every row, and say how to go over to it.

    One transaction: a failure leaves the target empty. The database moved from is
    not changed; stop the collectors first, for what they write later stays
    behind. A password is kept off the command line by TAPEWATCH_MOVE_TO.

    [dim]tapewatch db move --to postgresql+psycopg2://tapewatch@localhost/tapewatch[/]
    """
    from orchestration.cli import databases  # noqa: PLC0415

    databases.move(Settings().database, to, console)
