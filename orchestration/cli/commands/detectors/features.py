"""`tapewatch features`: the catalogue of features."""

from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from orchestration.cli.listing import Column, Field, Format, Listing, counted
from orchestration.errors import output, reports_errors

if TYPE_CHECKING:
    from tapewatch.features.definitions.definition import Definition

app = typer.Typer()

_FIELDS = (
    Field("table", lambda each: each.table.name),
    *(
        Field(name, lambda each, name=name: getattr(each, name))
        for name in ("name", "version", "unit", "window", "warm_up", "inputs", "source", "nulls", "description")
    ),
)


def _meaning(definition: "Definition") -> str:
    unit = f" ({definition.unit})" if definition.unit else ""
    return escape(definition.description + unit)


FEATURES = Listing(
    lambda rows: f"{rows[0].table.name}: {counted('feature')(rows)}",
    columns=(
        Column("name", lambda each: each.name),
        Column("meaning", _meaning, folds=True),
    ),
    fields=_FIELDS,
    is_boxed=False,
)


@app.command()
@reports_errors
def features(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="a feature to explain, or a table whose features to list")
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="CSV and JSON have every field")] = Format.TABLE,
) -> None:
    """List the features of every table, or explain one: source, window, warm-up, nulls.

    The warm-up is how many rows, its own included, a value depends on;
    values from an earlier start are the same.

    [dim]tapewatch features
    tapewatch features indicators
    tapewatch features vpin
    tapewatch features --format csv > features.csv[/]
    """
    from tapewatch.features.catalog import DEFINITIONS  # noqa: PLC0415 - imports the columns' libraries

    found = [each for each in DEFINITIONS if name in (None, each.name, each.table.name)]
    if not found:
        tables = ", ".join(sorted({each.table.name for each in DEFINITIONS}))
        raise typer.BadParameter(f"no feature or table is named {name!r}: tables are {tables}", param_hint="NAME")
    if len(found) == 1 and form is Format.TABLE:
        _explain(found[0])
        return
    if form is not Format.TABLE:
        FEATURES.show(found, form)
        return
    for _, rows in groupby(found, key=lambda each: each.table.name):
        FEATURES.show(list(rows), form)


def _season(definition: "Definition") -> str:
    """The column with the deviation from the time of day, or why there is none."""
    from tapewatch.features.definitions.seasonality import left_out  # noqa: PLC0415 - imports the columns' libraries

    reason = left_out(definition)
    return f"{definition.name}_deviation of seasonality" if reason is None else f"none: {reason}"


def _explain(definition: "Definition") -> None:
    console = output()
    console.print(f"{definition.name}: {definition.description}", markup=False, highlight=False)
    lines = {
        "table": definition.table.name,
        "version": definition.version,
        "unit": definition.unit or "none",
        "window": definition.window,
        "warm-up": definition.warm_up_words,
        "inputs": definition.inputs,
        "source": definition.source,
        "null": definition.nulls,
        "season": _season(definition),
    }
    for name, value in lines.items():
        console.print(f"  {name:<8} {value}", markup=False, highlight=False)
