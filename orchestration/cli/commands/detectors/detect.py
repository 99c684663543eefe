"""`tapewatch detect`: score days with a trained detector."""

import json
from typing import Annotated, Any

import typer

from orchestration.cli.commands.options import (
    FirstOption,
    FlatFilesOption,
    LastOption,
    MarketOption,
    settings_with,
)
from orchestration.cli.listing import Column, Field, Format, Listing, counted, time_field
from orchestration.errors import console, reports_errors
from tapewatch.market.rarity import level_in_words

app = typer.Typer()


def _words(row: dict[str, Any]) -> str:
    reasons = json.loads(row["reasons"])
    return str(reasons[0]["words"]) if reasons else ""


def _level(row: dict[str, Any]) -> str:
    return level_in_words(row["hours"])


INCIDENTS = Listing(
    counted("incident"),
    columns=(
        Column("symbol"),
        Column("known, UTC", lambda row: f"{row['known_time']:%Y-%m-%d %H:%M:%S}"),
        Column("kind", lambda row: row["kind"].replace("_", " ")),
        Column("level", _level, is_number=True),
        Column("reason", _words, folds=True),
    ),
    fields=(
        Field("symbol"),
        # The CSV's start is the moment at which the alert could be known.
        time_field("start", "known_time"),
        time_field("end", "end_time"),
        Field("kind"),
        Field("score", lambda row: round(row["surprise"], 6)),
        Field("level", _level),
        Field("model"),
        Field("reasons", lambda row: json.loads(row["reasons"]), in_csv=False),
    ),
    is_boxed=False,
)


@app.command()
@reports_errors
def detect(
    market: MarketOption,
    first: FirstOption,
    last: LastOption,
    flat_files: FlatFilesOption = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME/VERSION",
            help="a registered scan or ensemble, such as scan/3 or ensemble/2; by default the champion of the scan",
        ),
    ] = None,
    form: Annotated[
        Format, typer.Option("--format", help="CSV has the columns symbol, start, end, kind, score, level, model")
    ] = Format.TABLE,
) -> None:
    """Load days and score them with the champion, without training.

    `start` is the moment at which an alert could be known. Days that the lake
    holds are not fetched again, and days that the detector scored are only
    listed. Train a detector first, with `tapewatch run`. The scan reads bins of
    five seconds, an ensemble whole minutes.

    [dim]tapewatch detect --market stocks --from 2024-06-10 --to 2024-06-14
    tapewatch detect --market stocks --from 2024-06-10 --to 2024-06-10 --model ensemble/1
    tapewatch detect -m crypto --from 2024-06-10 --to 2024-06-10 --format csv > incidents.csv[/]
    """
    from orchestration.runs.detectors.detection import detected  # noqa: PLC0415

    found = detected(settings_with(flat_files), market, first.date(), last.date(), console, model=model)
    INCIDENTS.show(found.to_dicts(), form)
