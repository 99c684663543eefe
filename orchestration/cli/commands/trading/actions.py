"""`tapewatch actions`: splits, dividends and halts of the lake."""

from pathlib import Path
from typing import Annotated

import typer

from orchestration.cli.commands.options import FirstOption, LastOption
from orchestration.cli.listing import Column, Field, Format, Listing, counted
from orchestration.errors import console, reports_errors
from tapewatch.market.instruments import Market
from tapewatch.settings import Settings

app = typer.Typer()
_LISTING = Listing(
    counted("corporate action"),
    columns=(
        Column("symbol"),
        Column("time", lambda row: f"{row['time']:%Y-%m-%d}"),
        Column(
            "split_ratio", lambda row: "" if row["split_ratio"] is None else f"{row['split_ratio']:g}", is_number=True
        ),
        Column("dividend", lambda row: "" if row["dividend"] is None else f"{row['dividend']:g}", is_number=True),
    ),
    fields=(
        Field("symbol"),
        Field("time", lambda row: row["time"].isoformat()),
        Field("split_ratio"),
        Field("dividend"),
    ),
)


@app.command()
@reports_errors
def actions(
    first: FirstOption,
    last: LastOption,
    symbols: Annotated[
        str | None, typer.Option(help="comma-separated; by default TAPEWATCH_SYMBOLS_STOCKS, or those of the file")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file", metavar="FILE", help="read them from CSV, JSON or Parquet: symbol, date, split_ratio, dividend"
        ),
    ] = None,
    halts: Annotated[
        Path | None, typer.Option("--halts", metavar="FILE", help="store halts too: symbol, start_time, end_time")
    ] = None,
    form: Annotated[
        Format, typer.Option("--format", help="a table for people, or csv or json for programs")
    ] = Format.TABLE,
) -> None:
    """Store splits and cash dividends of stocks in the lake, from the vendor or a file, and halts from a file.

    The vendor needs a key; halts alone need none. `tapewatch backtest` and paper accounts apply what is stored. A second run replaces what the first stored of these symbols and days.

    [dim]tapewatch actions --from 2024-06-03 --to 2024-06-28 --symbols AAPL,NVDA
    tapewatch actions --from 2024-06-03 --to 2024-06-28 --file actions.csv --halts halts.csv[/]
    """
    import polars as pl  # noqa: PLC0415

    from orchestration.runs.backfill import impatient_source, parse_symbols  # noqa: PLC0415
    from tapewatch.feeds.source import SourceError  # noqa: PLC0415
    from tapewatch.market.tables.trading import CORPORATE_ACTIONS, HALTS  # noqa: PLC0415
    from tapewatch.store.lake.lake import Lake  # noqa: PLC0415
    from tapewatch.trading import recorded  # noqa: PLC0415
    from tapewatch.trading.events import store_events, stored_events  # noqa: PLC0415

    settings, market, days = Settings(), Market.STOCKS, (first.date(), last.date())
    if days[1] < days[0]:
        raise typer.BadParameter(f"the range ends on {days[1]}, before it begins on {days[0]}")
    lake, stopped = Lake(settings.lake_root), recorded.read_halts(halts) if halts else HALTS.empty()
    wanted, key = parse_symbols(symbols, market) if symbols else settings.symbols(market), settings.polygon_api_key
    rows = None
    if file is not None or (key is None and halts is not None):
        rows = recorded.read_actions(file) if file else None
        named = pl.concat([frame["symbol"].cast(pl.String) for frame in (rows, stopped) if frame is not None])
        wanted = wanted if symbols else tuple(named.unique().sort())
    elif key is None:
        raise SourceError("no source of splits and dividends: set POLYGON_API_KEY, or name a file with --file")
    else:
        reference = impatient_source(settings, key.get_secret_value()).reference
        rows = pl.concat([CORPORATE_ACTIONS.empty(), *(reference.corporate_actions(each, *days) for each in wanted)])
    if rows is not None:
        store_events(lake, CORPORATE_ACTIONS, market, rows, *days, wanted)
    if halts is not None:
        count = store_events(lake, HALTS, market, stopped, *days, wanted)
        console.print(f"{count:,} {'halt' if count == 1 else 'halts'} stored")
    _LISTING.show(stored_events(lake, CORPORATE_ACTIONS, market, *days, wanted).to_dicts(), form)
