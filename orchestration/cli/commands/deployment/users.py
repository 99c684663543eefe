"""`tapewatch users`: the accounts of the dashboard."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestration.cli.listing import Column, Format, Listing, counted, time_field
from orchestration.cli.listing import Field as ListedField
from orchestration.errors import console, output, reports_errors
from tapewatch.settings import Settings

if TYPE_CHECKING:
    from tapewatch.store.database.database import Database

app = typer.Typer()
users = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")
app.add_typer(users, name="users", help="Manage the accounts of the dashboard: add, list, role, password, lock, totp.")

_NameArgument = Annotated[str, typer.Argument(help="login name", metavar="NAME")]
_OffOption = Annotated[bool, typer.Option("--off", metavar="", help="undo it")]
_ROLES = "viewer, user, manager or admin"
LISTING = Listing(
    counted("account"),
    columns=(
        Column("name"),
        Column("role"),
        Column("login"),
        Column("made, UTC", lambda row: f"{row['created_time']:%Y-%m-%d %H:%M}"),
    ),
    fields=(*map(ListedField, ("name", "role", "login")), time_field("created", "created_time")),
)


@users.command()
@reports_errors
def add(
    name: _NameArgument,
    role: Annotated[str, typer.Option(help=_ROLES)] = "viewer",
    oidc: Annotated[
        bool, typer.Option("--oidc", metavar="", help="only the provider of identities logs this e-mail address in")
    ] = False,
    hash_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="a file with a password hash to take over: Argon2id or pbkdf2_sha256$…; - for stdin"
        ),
    ] = None,
) -> None:
    """Make an account, and print its one-time password.

    A viewer sees the dashboard; a user also labels, judges alerts and exports; a
    manager also changes settings; an admin also manages accounts.

    [dim]tapewatch users add ada --role user
    tapewatch users add ada@example.org --oidc --role manager[/]
    """
    with _accounts() as (database, actor):
        from tapewatch.accounts.users import add_user  # noqa: PLC0415 - of the extra

        stored = None if hash_file is None else _read(hash_file)
        secret = add_user(database, name, role, actor=actor, password_hash=stored, has_password=not oidc)
    console.print(f"{name} may log in as {role}", soft_wrap=True, markup=False)
    _show_secret(secret)


@users.command(name="list")
@reports_errors
def list_(form: Annotated[Format, typer.Option("--format", help="table, csv or json")] = Format.TABLE) -> None:
    """List the accounts.

    [dim]tapewatch users list
    tapewatch users list --format json[/]
    """
    with _accounts() as (database, _):
        from tapewatch.accounts.users import list_users  # noqa: PLC0415

        found = [
            {"name": user.name, "role": user.role, "login": user.login, "created_time": user.created_time}
            for user in list_users(database)
        ]
    LISTING.show(found, form)


@users.command()
@reports_errors
def role(name: _NameArgument, role: Annotated[str, typer.Argument(help=_ROLES, metavar="ROLE")]) -> None:
    """Give an account another role; open pages follow at their next step.

    [dim]tapewatch users role ada manager[/]
    """
    with _accounts() as (database, actor):
        from tapewatch.accounts.users import set_role  # noqa: PLC0415

        set_role(database, name, role, actor=actor)
    console.print(f"{name} is {role} now", soft_wrap=True, markup=False)


@users.command()
@reports_errors
def password(name: _NameArgument) -> None:
    """Give an account a new one-time password, and end its sessions and tokens.

    [dim]tapewatch users password ada[/]
    """
    with _accounts() as (database, actor):
        from tapewatch.accounts.users import reset_password  # noqa: PLC0415

        secret = reset_password(database, name, actor=actor)
    _show_secret(secret)


@users.command()
@reports_errors
def lock(name: _NameArgument, off: _OffOption = False) -> None:
    """Close an account and end its sessions and tokens; with --off open it again, also after too many failed logins.

    [dim]tapewatch users lock ada
    tapewatch users lock ada --off[/]
    """
    with _accounts() as (database, actor):
        from tapewatch.accounts.users import set_locked  # noqa: PLC0415

        set_locked(database, name, locked=not off, actor=actor)
    console.print(f"{name} is {'open' if off else 'locked'}", soft_wrap=True, markup=False)


@users.command()
@reports_errors
def totp(name: _NameArgument, off: _OffOption = False) -> None:
    """Set up a second factor here, as the account page does; with --off remove it, such as after a lost phone.

    It prints the QR code, asks for a code of the authenticator, and prints the
    recovery codes.

    [dim]tapewatch users totp ada
    tapewatch users totp ada --off[/]
    """
    with _accounts() as (database, actor):
        from tapewatch.accounts.users import remove_totp  # noqa: PLC0415

        if off:
            remove_totp(database, name, actor=actor)
            console.print(f"{name} has no second factor now", soft_wrap=True, markup=False)
        else:
            _enrol(database, name, actor)


def _enrol(database: "Database", name: str, actor: str) -> None:
    import segno  # noqa: PLC0415 - of the extra

    from tapewatch.accounts import totp  # noqa: PLC0415
    from tapewatch.accounts.sealing import Seal, key_file  # noqa: PLC0415
    from tapewatch.accounts.users import expect_user  # noqa: PLC0415

    expect_user(database, name)
    secret, out = totp.new_secret(), output()
    segno.make(totp.address_of(secret, name), micro=False).terminal(compact=True)
    out.print(f"Scan this with an authenticator, or enter the secret {secret}", soft_wrap=True, markup=False)
    code = typer.prompt("Code that it shows")
    codes = totp.enrol(database, Seal.of_file(key_file(Settings().home)), name, secret, code, actor=actor)
    out.print("Recovery codes, each for one login without the authenticator:", *codes, sep="\n", markup=False)


def _show_secret(secret: str | None) -> None:
    if secret is not None:
        console.print("One-time password, to be changed at the first login; it is shown this once:", soft_wrap=True)
        sys.stdout.write(f"{secret}\n")


def _read(file: Path) -> str:
    return (sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")).strip()


@contextmanager
def _accounts() -> "Iterator[tuple[Database, str]]":
    """The database, and who runs the command. Raises a ServiceError if the extra is not installed."""
    from orchestration.processes.dashboard import actor, expect_packages  # noqa: PLC0415 - slow to import
    from tapewatch.store.database.database import Database  # noqa: PLC0415

    expect_packages()
    with Database(Settings().database) as database:
        yield database, actor()
