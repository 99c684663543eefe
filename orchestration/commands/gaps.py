"""How whole the tape is: gaps, their healing, and the certificate of each symbol's day."""

import datetime as dt
import sys
from typing import Annotated

import typer
from rich.console import Console

from orchestration.commands.options import DATE, Format
from orchestration.errors import console, reports_errors
from tapewatch.market.instruments import Market
from tapewatch.settings import Settings

app = typer.Typer()
_Market = Annotated[Market | None, typer.Option("--market", "-m", help="one market; all where none is named")]


@app.command()
@reports_errors
def gaps(
    market: _Market = None,
    date: Annotated[dt.datetime | None, typer.Option(formats=DATE, help="those that begin on this day, UTC")] = None,
    status: Annotated[str | None, typer.Option(help="growing, open, healed or unhealable")] = None,
    form: Annotated[
        Format, typer.Option("--format", help="CSV has columns market, symbol, channel, cause, start, end, …")
    ] = (Format.TABLE),
) -> None:
    """List the stretches that a stream did not deliver, and what became of them.

    [dim]tapewatch gaps --status open
    tapewatch gaps --market crypto --format csv > gaps.csv[/]
    """
    from orchestration import gap_listing as listing  # noqa: PLC0415
    from tapewatch.market.live_tables import GAPS  # noqa: PLC0415
    from tapewatch.store.database import Database  # noqa: PLC0415
    from tapewatch.streaming.gaps import STATUSES  # noqa: PLC0415

    if status is not None and status not in STATUSES:
        raise typer.BadParameter(f"{status!r} is none of {', '.join(STATUSES)}", param_hint="--status")
    start = date.replace(tzinfo=dt.UTC) if date else None
    with Database(Settings().database) as database:
        found = database.read(
            GAPS,
            market=market,
            start=start,
            end=start + dt.timedelta(days=1) if start else None,
            where={"status": status} if status else None,
        )
    match form:
        case Format.CSV:
            sys.stdout.write(listing.as_csv(found, listing.GAP_COLUMNS, listing.gap_fields))
        case Format.JSON:
            sys.stdout.write(listing.as_json(found, listing.gap_fields))
        case Format.TABLE:
            Console().print(listing.gap_table(found))


@app.command()
@reports_errors
def coverage(
    market: _Market = None,
    date: Annotated[
        dt.datetime | None, typer.Option(formats=DATE, help="one market day; all where none is named")
    ] = None,
    form: Annotated[
        Format, typer.Option("--format", help="CSV has columns symbol, date, expected, received, healed, missing")
    ] = Format.TABLE,
) -> None:
    """Say for each symbol and day how many minutes were expected, received, healed, and are missing.

    [dim]tapewatch coverage --market stocks --date 2024-06-03
    tapewatch coverage --format csv > coverage.csv[/]
    """
    from orchestration import gap_listing as listing  # noqa: PLC0415
    from tapewatch.market.tables import COVERAGE  # noqa: PLC0415
    from tapewatch.store.database import Database  # noqa: PLC0415

    with Database(Settings().database) as database:
        found = database.read(COVERAGE, market=market, where={"date": date.date()} if date else None)
    found = found.sort("date", "market", "symbol")
    match form:
        case Format.CSV:
            sys.stdout.write(listing.as_csv(found, listing.COVERAGE_COLUMNS, listing.coverage_fields))
        case Format.JSON:
            sys.stdout.write(listing.as_json(found, listing.coverage_fields))
        case Format.TABLE:
            Console().print(listing.coverage_table(found))


@app.command()
@reports_errors
def heal(
    market: _Market = None,
    keep_on: Annotated[
        bool, typer.Option("--loop", help="go on until Ctrl-C, as `tapewatch stream` has it done")
    ] = False,
) -> None:
    """Fill the open gaps from REST or the flat files, now; the next ingest run merges what came.

    [dim]tapewatch heal
    tapewatch heal --market stocks[/]
    """
    from orchestration.healing import EVERY_S, healer_of  # noqa: PLC0415
    from orchestration.supervision import StopSignals  # noqa: PLC0415
    from tapewatch.store.database import Database  # noqa: PLC0415

    settings = Settings()
    with Database(settings.database) as database:
        healer = healer_of(settings, database)
        summary = healer.heal_once(dt.datetime.now(dt.UTC), market=market, patiently=False)
        console.print(
            f"{len(summary.healed)} gap(s) healed with {summary.rows:,} row(s), {len(summary.failed)} failed, "
            f"{len(summary.unhealable)} cannot be healed, {len(summary.waiting)} wait for the source; see `tapewatch gaps`"
        )
        if keep_on:
            with StopSignals() as stop:
                healer.run(stop, every_s=EVERY_S)
    if summary.failed:
        raise typer.Exit(1)
