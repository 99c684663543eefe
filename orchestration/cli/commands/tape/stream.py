"""`tapewatch stream` and `status`: the collectors of the live tape."""

import json
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Group
from rich.markup import escape

from orchestration.cli.listing import Column, Format, Listing
from orchestration.errors import console, output, reports_errors
from tapewatch.market.instruments import Market
from tapewatch.settings import Settings

if TYPE_CHECKING:
    from orchestration.processes.status import Standing
    from tapewatch.streaming.collector.metrics import CollectorStatus

app = typer.Typer()
_ALL = "all"


def _figure(heading: str, text: "Callable[[CollectorStatus], str]") -> Column:
    return Column(heading, lambda row: "-" if row.figures is None else text(row.figures), is_number=True)


def _lag(figures: "CollectorStatus") -> str:
    if figures.lag_s is not None:
        return f"{figures.lag_s:.2f}s"
    return "replay" if figures.tape_ns else "-"


def _duration(seconds: float) -> str:
    hours, minutes = divmod(int(seconds) // 60, 60)
    if hours >= 24:
        return f"{hours // 24}d{hours % 24}h"
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m"


STATUS = Listing(
    lambda _: "",
    columns=(
        Column("market", lambda row: row.market),
        Column("state", lambda row: row.state),
        _figure("events/s", lambda figures: f"{figures.events_per_second:,.0f}"),
        _figure("lag", _lag),
        _figure("queue", lambda figures: f"{figures.queue_high_water_bytes / 1e6:.1f}M"),
        _figure("drops", lambda figures: f"{figures.dropped_frames:,}"),
        _figure("recon", lambda figures: f"{figures.reconnects:,}"),
        _figure("gaps", lambda figures: f"{figures.open_gaps:,}"),
        _figure("alerts", lambda figures: f"{figures.open_alerts:,}"),
        _figure("up", lambda figures: _duration(figures.uptime_s)),
        _figure("restarts", lambda figures: f"{figures.restarts:,}"),
    ),
    is_boxed=False,
)


@app.command()
@reports_errors
def stream(
    markets: Annotated[list[str], typer.Argument(metavar="MARKET…", help=f"{', '.join(Market)}; or {_ALL}")],
    symbols: Annotated[
        str | None,
        typer.Option(help="comma-separated symbols of one market, or *; by default TAPEWATCH_SYMBOLS_<MARKET>"),
    ] = None,
    speed: Annotated[
        str | None,
        typer.Option(
            help="of the built-in market: a multiple of real time, max, or 500eps; by default 1, or as the emulator plays that runs already"
        ),
    ] = None,
) -> None:
    """Collect markets live, each in a supervised process, until Ctrl-C.

    Ticks go to the spool; live bars, features and alerts go to the database, and
    so do the gaps of a stream. Without a key, the built-in market is streamed.
    `all` means every market that has symbols and a plan with a stream.

    [dim]tapewatch stream crypto
    tapewatch stream stocks crypto
    tapewatch stream stocks --symbols AAPL,MSFT[/]
    """
    wanted = [] if markets == [_ALL] else [_market(name) for name in dict.fromkeys(markets)]
    if symbols is not None and len(wanted) != 1:
        raise typer.BadParameter("--symbols needs exactly one market; for several, set TAPEWATCH_SYMBOLS_<MARKET>")
    if symbols is not None and not symbols.replace(",", "").strip():
        raise typer.BadParameter(
            "it names none; leave it out to use TAPEWATCH_SYMBOLS_<MARKET>", param_hint="--symbols"
        )
    from orchestration.processes import streaming  # noqa: PLC0415
    from tapewatch.emulator.stream.pace import Speed  # noqa: PLC0415

    try:
        Speed.parse(speed or "1")
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--speed") from None
    streaming.stream_markets(Settings(), wanted, console, symbols=symbols, speed=speed)


@app.command()
@reports_errors
def ingest(
    market: Annotated[Market | None, typer.Option("--market", "-m", help="one market; by default all")] = None,
) -> None:
    """Merge what was streamed or healed into the lake; `tapewatch up` does so by itself.

    Bars, certificates and features of these days are computed again.

    [dim]tapewatch ingest
    tapewatch ingest --market crypto[/]
    """
    from orchestration.runs.ingesting import merge_waiting, waiting_days  # noqa: PLC0415

    settings = Settings()
    days = waiting_days(settings, market)
    if not days:
        console.print("No batch waits in the spool: nothing to merge")
        return
    report = merge_waiting(settings, days, console)
    what = f"{len(days)} market day(s) merged: {', '.join(map(str, days[:5]))}{' …' if len(days) > 5 else ''}"
    failed = (
        f", {len(report.failed_checks)} of them failed: {', '.join(report.failed_checks)}"
        if report.failed_checks
        else ""
    )
    console.print(f"{what}. {report.checks} checks{failed}", soft_wrap=True, markup=False)


@app.command()
@reports_errors
def status(
    form: Annotated[Format, typer.Option("--format", help="table, or json with every figure")] = Format.TABLE,
) -> None:
    """Show the state of each market's collector, and which should run but do not.

    The exit code is 1 if a collector was given up.

    [dim]tapewatch status
    tapewatch status --format json[/]
    """
    if form is Format.CSV:
        raise typer.BadParameter("status has the formats table and json")
    from orchestration.processes.dashboard import dashboard_state  # noqa: PLC0415
    from orchestration.processes.status import chosen_markets, standings  # noqa: PLC0415
    from orchestration.processes.streaming import streamable, streaming_settings  # noqa: PLC0415

    settings = Settings()
    chosen = chosen_markets(settings)
    found = standings(settings, [market for market in streamable(streaming_settings(settings)) if market in chosen])
    if form is Format.JSON:
        sys.stdout.write(json.dumps(status_rows(found), indent=2) + "\n")
    else:
        output().print(status_table(found))
        console.print(f"Dashboard: {dashboard_state(settings)}", soft_wrap=True, markup=False)
        if not found:
            console.print("No market is collected or set up: start one with `tapewatch stream MARKET`")
    if any(standing.is_given_up for standing in found):
        raise typer.Exit(1)


def status_table(found: "Sequence[Standing]") -> Group:
    """A row per market for a person, and the details below."""
    notes = (f"[dim]{standing.market}: {escape(standing.detail)}[/]" for standing in found if standing.detail)
    return Group(STATUS.table(found), *notes)


def status_rows(found: "Sequence[Standing]") -> list[dict[str, object]]:
    """An object per market with every figure, for programs."""
    return [
        {
            **({} if standing.figures is None else msgspec.to_builtins(standing.figures)),
            **{"market": str(standing.market), "state": standing.state, "detail": standing.detail},
        }
        for standing in found
    ]


def _market(name: str) -> Market:
    try:
        return Market(name)
    except ValueError:
        raise typer.BadParameter(f"{name!r} is not a market: use {', '.join(Market)}, or {_ALL} alone") from None
