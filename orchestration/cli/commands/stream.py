"""The live tape: collectors, and how they are."""

import json
import sys
from typing import Annotated

import typer
from rich.console import Console

from orchestration.cli.commands.options import Format
from orchestration.errors import console, reports_errors
from tapewatch.market.instruments import Market
from tapewatch.settings import Settings

app = typer.Typer()
_ALL = "all"


@app.command()
@reports_errors
def stream(
    markets: Annotated[list[str], typer.Argument(metavar="MARKET…", help=f"{', '.join(Market)}; or {_ALL}")],
    symbols: Annotated[
        str | None, typer.Option(help="comma-separated, with one market; * for all of it. Default: TAPEWATCH_SYMBOLS_…")
    ] = None,
    speed: Annotated[str, typer.Option(help="without a key: times real time, max, or 500eps")] = "1",
) -> None:
    """Collect markets live: a supervised process each, until Ctrl-C.

    Ticks go to the spool, live bars, features and alerts to the database; what
    was missed is remembered as gaps. Without a key the built-in market streams.
    `all` means every market whose plan has a stream and that has symbols.

    [dim]tapewatch stream crypto
    tapewatch stream stocks crypto
    tapewatch stream stocks --symbols AAPL,MSFT[/]
    """
    wanted = [] if markets == [_ALL] else [_market(name) for name in dict.fromkeys(markets)]
    if symbols is not None and len(wanted) != 1:
        raise typer.BadParameter("--symbols goes with one market; set TAPEWATCH_SYMBOLS_<MARKET> for several")
    if symbols is not None and not symbols.replace(",", "").strip():
        raise typer.BadParameter("it names none; leave it out for TAPEWATCH_SYMBOLS_…", param_hint="--symbols")
    from orchestration.processes import streaming  # noqa: PLC0415
    from tapewatch.emulator.stream.pace import Speed  # noqa: PLC0415

    try:
        Speed.parse(speed)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--speed") from None
    streaming.run(Settings(), wanted, console, symbols=symbols, speed=speed)


@app.command()
@reports_errors
def status(
    form: Annotated[Format, typer.Option("--format", help="table, or json with every figure")] = Format.TABLE,
) -> None:
    """How the collectors are, market by market, and which of them should run and do not; exit code 1 where one gave up.

    [dim]tapewatch status
    tapewatch status --format json[/]
    """
    from orchestration.processes import status as stream_status  # noqa: PLC0415
    from orchestration.processes import streaming  # noqa: PLC0415

    settings = Settings()
    found = stream_status.standings(settings, streaming.streamable(streaming.source_of(settings).settings))
    match form:
        case Format.JSON:
            sys.stdout.write(json.dumps(stream_status.status_rows(found), indent=2) + "\n")
        case Format.CSV:
            raise typer.BadParameter("status has the formats table and json")
        case Format.TABLE:
            Console().print(stream_status.status_table(found))
    if any(standing.is_given_up for standing in found):
        raise typer.Exit(1)


def _market(name: str) -> Market:
    try:
        return Market(name)
    except ValueError:
        raise typer.BadParameter(f"{name!r} is no market: {', '.join(Market)}, or {_ALL} alone") from None
