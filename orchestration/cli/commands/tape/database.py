"""`tapewatch db`: maintenance of the operational database."""

from types import ModuleType
from typing import Annotated

import typer

from orchestration.errors import console, output, reports_errors
from tapewatch.settings import Settings

app = typer.Typer()
db = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")
app.add_typer(
    db,
    name="db",
    help="Maintain the operational database: create, upgrade, status, refresh, retain, backup, restore, move.",
)

YesOption = Annotated[bool, typer.Option("--yes", metavar="", help="delete the rows; without it they are only counted")]


def _work() -> ModuleType:
    from orchestration.cli import databases  # noqa: PLC0415 - slow to import

    return databases


@db.command()
@reports_errors
def create(
    postgresql: Annotated[
        str,
        typer.Option(
            "--postgresql",
            envvar="TAPEWATCH_CREATE_AT",
            metavar="URL",
            help="server, user and name of the database to make",
        ),
    ],
) -> None:
    """Make the databases of Tapewatch, Dagster and MLflow on a PostgreSQL server, and print the variables to set.

    Each needs its own: NAME, NAME_dagster and NAME_mlflow. Those that exist are
    kept. To keep a password off the command line, set TAPEWATCH_CREATE_AT.

    [dim]tapewatch db create --postgresql postgresql://tapewatch@localhost/tapewatch >> .env[/]
    """
    _work().create(postgresql, output(), console)


@db.command()
@reports_errors
def upgrade() -> None:
    """Upgrade the schema, or create the database if it does not exist.

    Every command does so when it opens the database. This one also converts
    tables to TimescaleDB that were created before the extension was installed.

    [dim]tapewatch db upgrade[/]
    """
    _work().upgrade(Settings().database, console)


@db.command()
@reports_errors
def status() -> None:
    """Show the engine, revision and size of the database, and the rows, oldest and newest time of each table.

    On TimescaleDB it also names the jobs whose last run failed.

    [dim]tapewatch db status[/]
    """
    _work().show_status(Settings().database, output())


@db.command()
@reports_errors
def refresh() -> None:
    """Update the hourly and daily bars that PostgreSQL and TimescaleDB store.

    TimescaleDB does so itself every 30 minutes. SQLite needs no update.

    [dim]tapewatch db refresh[/]
    """
    _work().refresh(Settings().database, console)


@db.command()
@reports_errors
def retain(
    table: Annotated[
        list[str] | None,
        typer.Option(help="a table; may be given several times; by default every table with a limit of its own"),
    ] = None,
    days: Annotated[
        int | None, typer.Option(min=1, help="age in days up to which rows are kept; by default each table's limit")
    ] = None,
    does_it: YesOption = False,
) -> None:
    """Count the rows older than their table's limit; with --yes, delete them.

    Open alerts and gaps stay. Anomalies, labels and the audit log are kept for
    ever unless named with --table and --days. The audit log records what was
    deleted. The lake is not touched.

    [dim]tapewatch db retain
    tapewatch db retain --table bars --days 30 --yes[/]
    """
    _work().retain(Settings().database, console, tables=table or [], days=days, does_it=does_it)


@db.command()
@reports_errors
def backup(
    file: Annotated[str, typer.Argument(help="the file to write, or s3://…: a zip of Parquet files")],
    overwrites: Annotated[bool, typer.Option("--force", metavar="", help="replace the file if it exists")] = False,
) -> None:
    """Write the whole database to one file, as of one moment; collectors may keep running.

    [dim]tapewatch db backup tapewatch-2024-06-03.zip
    tapewatch db backup s3://bucket/backups/2024-06-03.zip[/]
    """
    _work().backup(Settings().database, console, file, overwrites=overwrites)


@db.command()
@reports_errors
def restore(
    file: Annotated[str, typer.Argument(help="a file or s3://… that `db backup` wrote, from SQLite or PostgreSQL")],
    replaces: Annotated[
        bool, typer.Option("--replace", metavar="", help="first delete all rows of the database")
    ] = False,
) -> None:
    """Load a backup into the database, whole or not at all.

    [dim]tapewatch db restore tapewatch-2024-06-03.zip
    TAPEWATCH_DATABASE_URL=postgresql+psycopg2://… tapewatch db restore tapewatch-2024-06-03.zip[/]
    """
    _work().restore(Settings().database, console, file, replaces=replaces)


@db.command()
@reports_errors
def move(
    to: Annotated[
        str, typer.Option(envvar="TAPEWATCH_MOVE_TO", help="SQLAlchemy URL of an empty database, usually PostgreSQL")
    ],
) -> None:
    """Copy the database to another one, compare every row, and show how to switch to it.

    It is one transaction: a failure leaves the target empty. The source is not
    changed. Stop the collectors first: rows that they write later are not copied.
    To keep a password off the command line, set TAPEWATCH_MOVE_TO.

    [dim]tapewatch db move --to postgresql+psycopg2://tapewatch@localhost/tapewatch[/]
    """
    _work().move(Settings().database, to, console)
