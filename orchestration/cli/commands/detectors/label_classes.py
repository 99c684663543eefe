"""`tapewatch labels classes`: the list of classes that labels may be of."""

from typing import Annotated

import typer
from rich.markup import escape

from orchestration.cli.listing import Column, Field, Format, Listing
from orchestration.errors import console, reports_errors
from tapewatch.settings import Settings

classes = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")
_Name = Annotated[str, typer.Argument(metavar="CLASS", help="as `list` shows it")]
LISTING = Listing(
    lambda rows: f"{len(rows)} classes",
    columns=(
        Column("class", lambda row: row["name"]),
        Column("offered", lambda row: "yes" if row["is_offered"] else "no"),
        Column("built in", lambda row: "yes" if row["is_built_in"] else ""),
        Column("description", lambda row: escape(row["description"] or ""), folds=True),
    ),
    fields=tuple(map(Field, ("name", "is_offered", "is_built_in", "description"))),
)


@classes.command(name="list")
@reports_errors
def list_(form: Annotated[Format, typer.Option("--format", help="how to print them")] = Format.TABLE) -> None:
    """List the classes, those that are no longer offered among them."""
    from tapewatch.store.database.database import Database  # noqa: PLC0415
    from tapewatch.store.database.people import label_classes  # noqa: PLC0415

    with Database(Settings().database) as database:
        found = label_classes.classes(database)
    rows = [
        {"name": c.name, "is_offered": c.is_offered, "is_built_in": c.is_built_in, "description": c.description}
        for c in found
    ]
    LISTING.show(rows, form)


@classes.command()
@reports_errors
def add(
    names: Annotated[list[str], typer.Argument(metavar="CLASS...", help="lower-case letters, digits and underscores")],
    description: Annotated[str | None, typer.Option(help="what belongs to it")] = None,
) -> None:
    """Add classes, or offer retired ones again.

    [dim]tapewatch labels classes add layered_book --description "orders put in and taken out together"[/]
    """
    for name in names:
        _set(name, is_offered=True, description=description)
        console.print(f"{name}: offered", markup=False)


@classes.command()
@reports_errors
def retire(name: _Name) -> None:
    """Offer a class no more; labels of it stay.

    [dim]tapewatch labels classes retire quote_stuffing[/]
    """
    _set(name, is_offered=False)
    console.print(f"{name}: no longer offered", markup=False)


def _set(name: str, *, is_offered: bool, description: str | None = None) -> None:
    from orchestration.runs.labels.labelling import user  # noqa: PLC0415
    from tapewatch.store.database.database import Database  # noqa: PLC0415
    from tapewatch.store.database.people.label_classes import set_class  # noqa: PLC0415

    with Database(Settings().database) as database:
        set_class(database, name, is_offered=is_offered, description=description, actor=user())
