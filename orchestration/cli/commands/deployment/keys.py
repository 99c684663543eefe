"""`tapewatch keys`: API keys of the scoring service."""

import datetime as dt
import getpass
from typing import Annotated, Any

import typer

from orchestration.cli.listing import Column, Field, Format, Listing, counted, time_field
from orchestration.errors import console, reports_errors
from tapewatch.settings import Settings

app = typer.Typer()
keys = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")
app.add_typer(keys, name="keys", help="API keys of the scoring service: create, list, rotate, revoke.")

_KeyId = Annotated[str, typer.Argument(help="the key's id, as `tapewatch keys list` shows it")]


def _state(row: dict[str, Any]) -> str:
    expires = row["expires_time"]
    if expires is None:
        return "valid"
    return f"{'expired' if expires <= dt.datetime.now(dt.UTC) else 'valid until'} {expires:%Y-%m-%d %H:%M}"


LISTING = Listing(
    counted("key"),
    columns=(
        Column("id", lambda row: row["key_id"]),
        Column("name"),
        Column("scopes", lambda row: row["scopes"].replace(",", ", "), folds=True),
        Column("created, UTC", lambda row: f"{row['created_time']:%Y-%m-%d %H:%M}"),
        Column("state, UTC", _state),
    ),
    fields=(
        *map(Field, ("key_id", "name", "scopes")),
        time_field("created", "created_time"),
        time_field("expires", "expires_time"),
        Field("requests_per_minute"),
    ),
)


@keys.command()
@reports_errors
def create(
    name: Annotated[str, typer.Argument(help="the program that will use it")],
    scopes: Annotated[str, typer.Option("--scopes", help="score, explain, feedback, admin; by commas")] = "score",
    days: Annotated[int | None, typer.Option("--days", min=1, help="days until it expires; by default never")] = None,
    rate: Annotated[
        int | None, typer.Option("--rate", min=1, help="requests a minute; by default the service's")
    ] = None,
) -> None:
    """Make a key and print it, once.

    [dim]tapewatch keys create desk --scopes score,explain --days 90[/]
    """
    from tapewatch.accounts.keys import create_key  # noqa: PLC0415
    from tapewatch.store.database.database import Database  # noqa: PLC0415

    wanted = [scope.strip() for scope in scopes.split(",") if scope.strip()]
    lifetime = None if days is None else dt.timedelta(days=days)
    with Database(Settings().database) as database:
        key, text = create_key(
            database, name, wanted, actor=getpass.getuser(), lifetime=lifetime, requests_per_minute=rate
        )
    _show(text, f"Key {key.key_id} of {key.name} allows {', '.join(key.scopes)}. It is shown this once.")


@keys.command("list")
@reports_errors
def list_(form: Annotated[Format, typer.Option("--format")] = Format.TABLE) -> None:
    """List the keys, also expired ones; secrets are not stored."""
    from tapewatch.market.tables.live import API_KEYS  # noqa: PLC0415
    from tapewatch.store.database.database import Database  # noqa: PLC0415

    with Database(Settings().database) as database:
        LISTING.show(database.read(API_KEYS).drop("secret_hash").to_dicts(), form)


@keys.command()
@reports_errors
def rotate(
    key_id: _KeyId,
    hours: Annotated[float, typer.Option("--overlap-hours", min=0, help="how long the old key stays valid")] = 24.0,
) -> None:
    """Make a key in place of another and print it, once."""
    from tapewatch.accounts.keys import rotate_key  # noqa: PLC0415
    from tapewatch.store.database.database import Database  # noqa: PLC0415

    with Database(Settings().database) as database:
        key, text = rotate_key(database, key_id, actor=getpass.getuser(), overlap=dt.timedelta(hours=hours))
    _show(text, f"Key {key.key_id} replaces {key_id}, which ends in {hours:g} hours. It is shown this once.")


@keys.command()
@reports_errors
def revoke(key_id: _KeyId) -> None:
    """Refuse a key from now on; a running service follows within two seconds."""
    from tapewatch.accounts.keys import revoke_key  # noqa: PLC0415
    from tapewatch.store.database.database import Database  # noqa: PLC0415

    with Database(Settings().database) as database:
        key = revoke_key(database, key_id, actor=getpass.getuser())
    console.print(f"Key {key.key_id} of {key.name} is revoked.", markup=False)


def _show(text: str, note: str) -> None:
    console.print(note, markup=False, soft_wrap=True)
    # On standard output alone, so that a script can take it.
    typer.echo(text)
