"""`tapewatch gaps`, `coverage` and `heal`: what is missing from the tape."""

import datetime as dt
from typing import Annotated, Any

import typer
from rich.markup import escape

from orchestration.cli.commands.options import day_option, show_waiting, time_option
from orchestration.cli.listing import Column, Field, Format, Listing, counted, time_field, time_span
from orchestration.errors import console, reports_errors
from tapewatch.market.instruments import Market
from tapewatch.settings import Settings

app = typer.Typer()
_NO_COVERAGE = (
    "A day is certified once its rows are in the lake: after a backfill, or once `tapewatch up` or `tapewatch ingest` has "
    "merged the spool."
)
_MOST_REASONS = 10
_STYLES = {"growing": "bold red", "open": "yellow", "healed": "green", "unhealable": "red"}
_Market = Annotated[Market | None, typer.Option("--market", "-m", help="one market; by default all")]


def _known(row: dict[str, Any]) -> str:
    if row["status"] == "healed":
        return f"{row['rows_healed']:,} row(s) by {row['healed_by'].replace('_', ' ')}"
    tried = f"tried {row['attempts']}×: " if row["attempts"] else ""
    return tried + (row["reason"] or "")


GAPS_LISTING = Listing(
    counted("gap"),
    columns=(
        Column("from, to; UTC", lambda row: time_span(row, "grows")),
        Column("market, of", lambda row: f"{row['market']}\n{row['symbol'] or 'all'}, {row['channel']}"),
        Column(
            "cause, status",
            lambda row: f"{row['cause'].replace('_', ' ')}\n[{_STYLES[row['status']]}]{row['status']}[/]",
        ),
        Column("what is known", lambda row: escape(_known(row)), folds=True),
    ),
    fields=(
        *map(Field, ("market", "symbol", "channel", "cause")),
        time_field("start", "start_time"),
        time_field("end", "end_time"),
        *map(Field, ("status", "healed_by")),
        Field("rows", lambda row: row["rows_healed"]),
        *map(Field, ("attempts", "reason", "gap_id")),
    ),
)


def _minutes(name: str) -> Field:
    return Field(name, lambda row: row[f"{name}_minutes"])


def _count(heading: str, column: str = "") -> Column:
    return Column(heading, lambda row: f"{row[column or f'{heading}_minutes']:,}", is_number=True)


COVERAGE_LISTING = Listing(
    lambda rows: f"{counted('symbol day')(rows)}, {sum(row['is_complete'] for row in rows):,} complete",
    columns=(
        *map(Column, ("market", "symbol", "date")),
        *map(_count, ("expected", "received", "healed", "silent", "missing")),
        _count("gaps", "open_gaps"),
        Column("whole", lambda row: "[green]yes[/]" if row["is_complete"] else "[red]no[/]"),
    ),
    fields=(
        Field("symbol"),
        Field("date", lambda row: row["date"].isoformat()),
        *map(_minutes, ("expected", "received", "healed", "silent", "missing")),
        Field("gaps", lambda row: row["open_gaps"]),
        Field("complete", lambda row: row["is_complete"]),
        Field("reason"),
    ),
    is_boxed=False,
)


@app.command()
@reports_errors
def gaps(
    market: _Market = None,
    date: Annotated[dt.datetime | None, day_option("gaps that begin on this day, UTC")] = None,
    since: Annotated[dt.datetime | None, time_option("gaps that begin at this day or minute (UTC) or later")] = None,
    status: Annotated[str | None, typer.Option(help="growing, open, healed or unhealable")] = None,
    form: Annotated[
        Format, typer.Option("--format", help="CSV has the columns market, symbol, channel, cause, start, end, …")
    ] = Format.TABLE,
) -> None:
    """List the time ranges that a stream did not deliver, and whether they were filled.

    [dim]tapewatch gaps --status open
    tapewatch gaps --since 2024-06-03T14:00
    tapewatch gaps --market crypto --format csv > gaps.csv[/]
    """
    from tapewatch.market.tables.live import GAPS  # noqa: PLC0415
    from tapewatch.store.database.database import Database  # noqa: PLC0415
    from tapewatch.streaming.gaps.book import STATUSES  # noqa: PLC0415

    if status is not None and status not in STATUSES:
        raise typer.BadParameter(f"{status!r} is none of {', '.join(STATUSES)}", param_hint="--status")
    if date is not None and since is not None:
        raise typer.BadParameter("--date and --since exclude each other: leave one out")
    first = date or since
    start = first.replace(tzinfo=dt.UTC) if first else None
    with Database(Settings().database) as database:
        found = database.read(
            GAPS,
            market=market,
            start=start,
            end=start + dt.timedelta(days=1) if start and date else None,
            where={"status": status} if status else None,
        )
    GAPS_LISTING.show(found.to_dicts(), form)


@app.command()
@reports_errors
def coverage(
    market: _Market = None,
    date: Annotated[dt.datetime | None, day_option("one market day; by default all")] = None,
    since: Annotated[dt.datetime | None, day_option("this market day and later ones")] = None,
    form: Annotated[
        Format, typer.Option("--format", help="CSV adds the reason why a day is not complete")
    ] = Format.TABLE,
) -> None:
    """Show how many minutes of each symbol's day were expected, received and healed, and are missing.

    [dim]tapewatch coverage --market stocks --date 2024-06-03
    tapewatch coverage --format csv > coverage.csv[/]
    """
    import polars as pl  # noqa: PLC0415

    from tapewatch.market.tables.tape import COVERAGE  # noqa: PLC0415
    from tapewatch.store.database.database import Database  # noqa: PLC0415

    with Database(Settings().database) as database:
        found = database.read(COVERAGE, market=market, where={"date": date.date()} if date else None)
    found = found.filter(pl.col("date") >= (since.date() if since else dt.date.min)).sort("date", "market", "symbol")
    COVERAGE_LISTING.show(found.to_dicts(), form)
    if form is not Format.TABLE:
        return
    if found.is_empty():
        console.print(_NO_COVERAGE, soft_wrap=True)
    show_waiting(Settings())
    reasons = found.filter(pl.col("reason").is_not_null()).select("symbol", "date", "reason")
    for symbol, day, reason in reasons.head(_MOST_REASONS).iter_rows():
        console.print(f"{symbol} {day}: {reason}", soft_wrap=True, markup=False)
    if reasons.height > _MOST_REASONS:
        console.print(
            f"… and {reasons.height - _MOST_REASONS:,} more: `tapewatch coverage --format csv` has every reason"
        )


@app.command()
@reports_errors
def heal(market: _Market = None) -> None:
    """Fill the open gaps now, from REST or flat files; the next ingest run merges the rows.

    `tapewatch stream` does so every half minute. Without a key or flat files, the
    built-in market is the source, if its emulator runs.

    [dim]tapewatch heal
    tapewatch heal --market stocks[/]
    """
    from orchestration.processes.healer import healer_of  # noqa: PLC0415
    from orchestration.processes.streaming import source_of  # noqa: PLC0415
    from tapewatch.market.tables.live import GAPS  # noqa: PLC0415
    from tapewatch.store.database.database import Database  # noqa: PLC0415
    from tapewatch.streaming.gaps.book import OPEN, UNHEALABLE  # noqa: PLC0415

    settings = Settings()
    with Database(settings.database) as database:
        if database.read(GAPS, market=market, where={"status": (OPEN, UNHEALABLE)}, limit=1).is_empty():
            console.print(f"No gap{f' of {market}' if market else ''} waits to be healed; see `tapewatch gaps`")
            return
    if settings.flat_files is None:
        source = source_of(settings, speed=None)
        settings = settings if source.emulator is not None else source.settings
    with Database(settings.database) as database:
        healer = healer_of(settings, database)
        summary = healer.heal_once(dt.datetime.now(dt.UTC), market=market, patiently=False)
        console.print(
            f"{len(summary.healed)} gap(s) healed with {summary.rows:,} row(s), {len(summary.failed)} failed, "
            f"{len(summary.unhealable)} cannot be healed, {len(summary.waiting)} wait for the source; see `tapewatch gaps`"
        )
        show_waiting(settings)
    if summary.failed:
        raise typer.Exit(1)
