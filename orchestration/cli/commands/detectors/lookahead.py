"""`tapewatch lookahead`."""

import datetime as dt
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestration.cli.commands.options import MarketOption, day_option
from orchestration.cli.listing import Column, Field, Format, Listing
from orchestration.errors import console, reports_errors
from tapewatch.market.instruments import Market
from tapewatch.market.tickers import SymbolError, normalise
from tapewatch.settings import Settings

if TYPE_CHECKING:
    from tapewatch.lookahead.checks import Verdict

app = typer.Typer()
VERDICTS = Listing(
    lambda rows: f"{len(rows)} computations, {sum(row['check'] != '' for row in rows)} use the future",
    columns=(
        Column("computation"),
        Column("inputs"),
        Column("rows", lambda row: f"{row['rows']:,}", is_number=True),
        Column("moments", lambda row: str(row["moments"]), is_number=True),
        Column("verdict"),
        Column("reach"),
        Column("remark", folds=True),
    ),
    fields=tuple(
        map(Field, ("day", "computation", "inputs", "rows", "moments", "verdict", "check", "reach", "remark"))
    ),
    style=lambda row: "red" if row["check"] else "",
    is_boxed=False,
)


@app.command()
@reports_errors
def lookahead(
    market: MarketOption = Market.STOCKS,
    first: Annotated[
        dt.datetime | None, day_option("--from", "first day of the lake; by default the built-in tape")
    ] = None,
    last: Annotated[dt.datetime | None, day_option("--to", "last day, included; by default the first")] = None,
    symbols: Annotated[
        str | None,
        typer.Option(help="comma-separated; by default three of the built-in tape, or the day's busiest three"),
    ] = None,
    moments: Annotated[
        int, typer.Option(min=0, help="how often a day's future is changed; 0 for each time at which a row was known")
    ] = 24,
    form: Annotated[
        Format, typer.Option("--format", help="CSV has the columns of the table, with the day and the check")
    ] = Format.TABLE,
) -> None:
    """Prove that no feature, bar, label or incident uses the future; exit code 1 if one does.

    At each moment it cuts the tape, replaces what follows, and lets later rows
    speak of the past. What was known by then must stay the same to the last bit.
    Where it does not, it names the column and how far ahead the leak reaches.

    [dim]tapewatch lookahead
    tapewatch lookahead --market crypto --moments 0
    tapewatch lookahead --market stocks --from 2013-10-08 --to 2013-10-09 --symbols IBM[/]
    """
    if first is None and last is not None:
        raise typer.BadParameter("--to needs --from: name the first day")
    days = None if first is None else (first.date(), (last or first).date())
    if days is not None and days[1] < days[0]:
        raise typer.BadParameter(f"the range ends before it begins: {days[0]} to {days[1]}")
    try:
        names = [normalise(name, market) for name in symbols.split(",")] if symbols else []
    except SymbolError as error:
        raise typer.BadParameter(str(error)) from error
    from orchestration.runs.detectors.lookahead import judged  # noqa: PLC0415

    verdicts = judged(Settings(), console, market, days, symbols=names, cuts=moments or None)
    rows = [_row(day, verdict) for day, found in verdicts.items() for verdict in found]
    VERDICTS.show(rows, form)
    if any(row["check"] for row in rows):
        raise typer.Exit(1)


def _row(day: str, verdict: "Verdict") -> dict[str, Any]:
    return {
        "day": day,
        "computation": verdict.name,
        "inputs": ", ".join(verdict.inputs),
        "rows": verdict.rows,
        "moments": verdict.cuts,
        "verdict": "clean" if verdict.is_clean else f"leaks ({verdict.check})",
        "check": verdict.check or "",
        "reach": "" if verdict.horizon is None else str(verdict.horizon),
        "remark": "; ".join(_remarks(verdict)),
    }


def _remarks(verdict: "Verdict") -> Iterator[str]:
    if verdict.columns:
        yield f"in {', '.join(verdict.columns[:3])}" + (
            f" and {len(verdict.columns) - 3} more" if len(verdict.columns) > 3 else ""
        )
    if verdict.row:
        yield " ".join(f"{value}" for value in verdict.row.values())
    if verdict.note:
        yield verdict.note
