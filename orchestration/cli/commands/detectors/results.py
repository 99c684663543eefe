"""`tapewatch score` and `anomalies`."""

import datetime as dt
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestration.cli.commands.options import time_option
from orchestration.cli.listing import Column, Field, Format, Listing, counted, time_field
from orchestration.errors import RunError, console, output, reports_errors
from tapewatch.market.rarity import level_in_words
from tapewatch.market.tickers import spellings
from tapewatch.settings import Settings

app = typer.Typer()


def _strongest_reason(row: dict[str, Any]) -> str:
    reasons = json.loads(row["reasons"])
    return str(reasons[0]["feature"]) if reasons else ""


def _identity(row: dict[str, Any]) -> str:
    from tapewatch.store.database.people.verdicts import anomaly_id  # noqa: PLC0415

    return anomaly_id(row["market"], row["symbol"], row["start_time"])


ANOMALIES = Listing(
    counted("anomaly", "anomalies"),
    columns=(
        Column("symbol"),
        Column("from, UTC", lambda row: f"{row['start_time']:%Y-%m-%d %H:%M}"),
        Column("to", lambda row: f"{row['end_time']:%H:%M}"),
        Column("kind", lambda row: row["kind"].replace("_", " ")),
        Column("score", lambda row: f"{row['score']:.3f}", is_number=True),
        Column("level", lambda row: level_in_words(row["hours"]), is_number=True),
        Column("strongest reason", _strongest_reason, folds=True),
    ),
    fields=(
        Field("symbol"),
        time_field("start", "start_time"),
        time_field("end", "end_time"),
        time_field("known", "known_time", in_csv=False),
        *map(Field, ("kind", "score")),
        Field("level", lambda row: level_in_words(row["hours"])),
        *(Field(name, in_csv=False) for name in ("threshold", "minutes")),
        *map(Field, ("market", "model")),
        Field("reasons", lambda row: json.loads(row["reasons"])),
        Field("id", _identity, in_csv=False),
    ),
    is_boxed=False,
)


@app.command()
@reports_errors
def score(
    file: Annotated[Path | None, typer.Option(help='JSON: a microstructure row, or {"rows": [...]}')] = None,
    symbol: Annotated[str | None, typer.Option(help="a symbol of the lake; needs --time")] = None,
    time: Annotated[dt.datetime | None, time_option("a minute, UTC; needs --symbol")] = None,
    url: Annotated[
        str | None, typer.Option(help="address of a scoring service; by default this deployment's own")
    ] = None,
) -> None:
    """Score a minute and explain the score; by default the latest anomaly.

    The scoring service answers. If none runs, the newest Bento's model is loaded
    in this process.

    [dim]tapewatch score
    tapewatch score --symbol AAPL --time 2024-06-03T14:31
    tapewatch score --file row.json --url http://127.0.0.1:3001[/]
    """
    if (symbol is None) != (time is None) or (file is not None and symbol is not None):
        raise typer.BadParameter("give --file, or --symbol and --time together, or none of them")
    from orchestration.runs.detectors import scoring  # noqa: PLC0415

    settings = Settings()
    if file is not None:
        body = scoring.read_request(file)
    elif symbol is not None and time is not None:
        body = scoring.request_body(scoring.minute_of_any(settings, spellings(symbol), time.replace(tzinfo=dt.UTC)))
    else:
        body = scoring.request_body(scoring.anomaly_rows(settings))
    answer, answered_by = scoring.ask(settings, body, url=url)
    console.print(f"Scored by {answered_by}", soft_wrap=True)
    verdicts = answer.results if file is not None else [scoring.strongest(answer)]
    for verdict in verdicts:
        output().print(scoring.verdict_table(answer, verdict))


@app.command()
@reports_errors
def anomalies(
    symbol: Annotated[str | None, typer.Option(help="one symbol, such as AAPL or X:BTC-USD")] = None,
    first: Annotated[
        dt.datetime | None, time_option("--from", "anomalies that begin at this time or later, UTC")
    ] = None,
    last: Annotated[
        dt.datetime | None,
        time_option("--to", "anomalies that begin before this time, UTC; a date without a time is included"),
    ] = None,
    form: Annotated[
        Format,
        typer.Option(
            "--format", help="CSV has the columns symbol, start, end, kind, score, level, market, model, reasons"
        ),
    ] = Format.TABLE,
) -> None:
    """List the anomalies that the detector found.

    [dim]tapewatch anomalies --symbol AAPL --from 2024-06-03 --to 2024-06-07
    tapewatch anomalies --format csv > anomalies.csv[/]
    """
    import polars as pl  # noqa: PLC0415

    from tapewatch.market.tables.tape import ANOMALIES as ANOMALIES_TABLE  # noqa: PLC0415
    from tapewatch.store.database.database import Database  # noqa: PLC0415

    start = first.replace(tzinfo=dt.UTC) if first else None
    end = last.replace(tzinfo=dt.UTC) if last else None
    if end is not None and end.time() == dt.time():
        end += dt.timedelta(days=1)
    if start and end and end <= start:
        raise RunError(f"the range ends before it begins: --from {first:%Y-%m-%d %H:%M}, --to {last:%Y-%m-%d %H:%M}")
    with Database(Settings().database) as database:
        where = {"symbol": spellings(symbol)} if symbol else None
        found = database.read(ANOMALIES_TABLE, start=start, end=end, where=where)
    found = found.sort(pl.col("symbol").cast(pl.String), "start_time", maintain_order=True)
    ANOMALIES.show(found.to_dicts(), form)
