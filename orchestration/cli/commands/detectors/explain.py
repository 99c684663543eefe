"""`tapewatch explain`."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from orchestration.errors import console, reports_errors
from tapewatch.settings import Settings

app = typer.Typer()


class DossierFormat(StrEnum):
    TEXT = "text"
    JSON = "json"


@app.command()
@reports_errors
def explain(
    alert_id: Annotated[
        str | None,
        typer.Argument(
            metavar="ALERT_ID",
            help="as `alerts` and `anomalies` list it with --format json; by default the latest anomaly",
            show_default=False,
        ),
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="write the dossier as a page")] = None,
    form: Annotated[DossierFormat, typer.Option("--format", help="how to print it")] = DossierFormat.TEXT,
) -> None:
    """Show why there was an alert, and make its score again from the lake.

    An ID names an alert (market:rule:symbol:time), an incident (market:incident:symbol:start)
    or an anomaly (market:anomaly:symbol:start, the start as 20240603T142500000000).

    [dim]tapewatch explain
    tapewatch explain stocks:anomaly:AAPL:20240603T142500000000
    tapewatch explain ALERT_ID --html dossier.html[/]
    """
    from orchestration.runs.detectors.explaining import dossiers, latest_anomaly  # noqa: PLC0415
    from tapewatch.reports.dossier.page import dossier_html, dossier_text  # noqa: PLC0415
    from tapewatch.reports.pages import write_page  # noqa: PLC0415

    settings = Settings()
    with dossiers(settings) as opened:
        dossier = opened.of(alert_id or latest_anomaly(settings))
    if html is not None:
        written = write_page(dossier_html(dossier), html.absolute())
        console.print(f"Dossier: {written}", soft_wrap=True, markup=False)
    sys.stdout.write((dossier.json() if form is DossierFormat.JSON else dossier_text(dossier)) + "\n")
