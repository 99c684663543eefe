"""`tapewatch alerts`."""

import datetime as dt
from typing import Annotated

import typer
from rich.markup import escape

from orchestration.cli.commands.options import time_option
from orchestration.cli.listing import Column, Field, Format, Listing, counted, time_field, time_span
from orchestration.errors import reports_errors
from tapewatch.market.instruments import Market
from tapewatch.market.tickers import normalise, spellings
from tapewatch.settings import Settings

app = typer.Typer()
#: Findings of one alert that the table shows; CSV and JSON have all.
_SHOWN = 3
_STYLES = {"critical": "bold red", "warning": "yellow", "info": ""}


def _seen(message: str) -> str:
    """The first findings of a message, and how many more there are."""
    findings = message.split("; ")
    more = len(findings) - _SHOWN
    return "; ".join(findings[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")


LISTING = Listing(
    counted("alert"),
    columns=(
        Column("from, to; UTC", lambda row: time_span(row, "lasts")),
        Column("market, rule", lambda row: f"{row['market']}\n{row['rule'].replace('_', ' ')}"),
        Column("severity"),
        Column("what was seen", lambda row: escape(_seen(row["message"])), folds=True),
    ),
    fields=(
        *map(Field, ("market", "symbol", "rule", "severity")),
        time_field("start", "start_time"),
        time_field("end", "end_time"),
        time_field("detected", "detected_time"),
        *map(Field, ("value", "baseline", "multiple", "peak", "observations", "message", "kind", "model", "alert_id")),
    ),
    style=lambda row: _STYLES[row["severity"]],
)


@app.command()
@reports_errors
def alerts(
    since: Annotated[dt.datetime | None, time_option("alerts that begin at this day or minute (UTC) or later")] = None,
    market: Annotated[Market | None, typer.Option("--market", "-m", help="one market; by default all")] = None,
    symbol: Annotated[str | None, typer.Option(help="one symbol, such as AAPL or X:BTC-USD")] = None,
    is_open: Annotated[bool, typer.Option("--open", metavar="", help="only alerts that have not ended")] = False,
    form: Annotated[
        Format,
        typer.Option("--format", help="CSV has the columns market, symbol, rule, severity, start, end, detected, …"),
    ] = Format.TABLE,
) -> None:
    """List the alerts of the live stream and of daily bars, oldest first.

    [dim]tapewatch alerts --since 2024-06-03 --market stocks
    tapewatch alerts --open
    tapewatch alerts --format csv > alerts.csv[/]
    """
    from tapewatch.market.tables.live import ALERTS  # noqa: PLC0415
    from tapewatch.store.database.database import Database  # noqa: PLC0415

    wanted = (
        spellings(symbol) if symbol and market is None else [normalise(symbol, market)] if symbol and market else []
    )
    with Database(Settings().database) as database:
        found = database.read(
            ALERTS,
            market=market,
            start=since.replace(tzinfo=dt.UTC) if since else None,
            where={**({"end_time": None} if is_open else {}), **({"symbol": wanted} if symbol else {})},
        )
    LISTING.show(found.to_dicts(), form)
