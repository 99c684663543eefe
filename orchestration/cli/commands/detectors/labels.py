"""`tapewatch labels`: people's labels of the tape."""

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from orchestration.cli.commands.detectors.label_classes import classes
from orchestration.cli.commands.detectors.shared_labels import pull, push
from orchestration.cli.commands.options import FirstOption, LastOption, MarketOption, time_option
from orchestration.cli.listing import Column, Field, Format, Listing, counted, time_span
from orchestration.errors import console, output, reports_errors
from tapewatch.labels.kinds import KINDS
from tapewatch.market.instruments import Market
from tapewatch.market.tickers import normalise
from tapewatch.settings import Settings

if TYPE_CHECKING:
    import polars as pl

app = typer.Typer()
labels = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")
app.add_typer(
    labels,
    name="labels",
    help="Label the tape by hand: add, list, remove, export, import, pull, push, classes, collect, agreement.",
)
labels.command()(pull)
labels.command()(push)
labels.add_typer(classes, name="classes", help="The list of classes that labels may be of: list, add, retire.")

_MarketFilter = Annotated[Market | None, typer.Option("--market", "-m", help="one market; by default all")]
_SymbolFilter = Annotated[str | None, typer.Option(help="one symbol, such as AAPL or X:BTC-USD")]
_AuthorFilter = Annotated[str | None, typer.Option(help="one author")]


def _time(name: str) -> Field:
    """A time with its fraction of a second, so that what is exported is what is stored."""
    return Field(name, lambda row: row[f"{name}_time"].isoformat().replace("+00:00", "Z"))


def _edge(row: dict[str, Any]) -> str:
    texts = []
    for edge in row["edges"]:
        moment = "no change" if edge is None else f"{dt.datetime.fromtimestamp(edge.time_ns / 1e9, dt.UTC):%H:%M:%S}"
        texts.append(moment if edge is None else f"{moment} ± {edge.uncertainty_s:.0f} s")
    return "\n".join(texts)


_COLUMNS = (
    Column("from, to; UTC", lambda row: time_span(row, "")),
    Column("symbol, kind", lambda row: f"{row['symbol']}\n{row['kind'].replace('_', ' ')}"),
    Column("author, confidence", lambda row: f"{escape(row['author'])}\n{row['confidence']:.2f}"),
    Column("label_id"),
    Column("note", lambda row: escape(row["note"] or ""), folds=True),
)
LISTING = Listing(
    counted("label"),
    columns=_COLUMNS,
    fields=(
        *map(Field, ("label_id", "market", "symbol")),
        _time("start"),
        _time("end"),
        *map(Field, ("kind", "confidence", "author", "note")),
        _time("created"),
    ),
)
WITH_EDGES = Listing(counted("label"), columns=(*_COLUMNS[:2], Column("the tape changes", _edge), *_COLUMNS[2:]))


@labels.command()
@reports_errors
def add(
    symbol: Annotated[str, typer.Argument(help="in any spelling of the vendor")],
    kind: Annotated[str, typer.Argument(help=", ".join(KINDS), metavar="KIND")],
    start: Annotated[dt.datetime, time_option("--from", "start of what is labelled, UTC")],
    end: Annotated[dt.datetime, time_option("--to", "end, excluded, UTC")],
    market: MarketOption = Market.STOCKS,
    author: Annotated[str | None, typer.Option(help="who says so; by default this system's user")] = None,
    confidence: Annotated[float, typer.Option(help="how sure the author is, from 0 to 1")] = 1.0,
    note: Annotated[str | None, typer.Option(help="anything to add")] = None,
) -> None:
    """Label a stretch of one symbol's tape, and show where the tape changes near its edges.

    The day's tape must be in the lake. TAPEWATCH_LABEL_AUTHORS names who may label.

    [dim]tapewatch labels add TSLA price_jump --from 2024-06-03T14:31 --to 2024-06-03T14:35 --note "halt after"[/]
    """
    from orchestration.runs.labels import labelling  # noqa: PLC0415
    from tapewatch.labels.people.human import HumanLabel  # noqa: PLC0415

    settings = Settings()
    times = (start.replace(tzinfo=dt.UTC), end.replace(tzinfo=dt.UTC))
    label = HumanLabel(market, normalise(symbol, market), *times, kind, author or labelling.user(), confidence, note)
    is_new = labelling.add(settings, [label], "the label")
    console.print(
        f"{label}: {'added' if is_new else 'there already'} as {label.label_id}", markup=False, soft_wrap=True
    )
    if is_new:
        _show(_stored(settings, where={"label_id": label.label_id}), Format.TABLE, settings)


@labels.command(name="list")
@reports_errors
def list_(
    market: _MarketFilter = None,
    symbol: _SymbolFilter = None,
    author: _AuthorFilter = None,
    since: Annotated[dt.datetime | None, time_option("labels that begin at this day or minute (UTC) or later")] = None,
    edges: Annotated[
        bool, typer.Option("--edges", metavar="", help="show where the tape changes near each edge, from the lake")
    ] = False,
    form: Annotated[Format, typer.Option("--format", help="CSV and JSON can be imported again")] = Format.TABLE,
) -> None:
    """List labels, oldest first.

    With --edges each edge is tightened to the nearest change of volume, price
    or spread, with half of its 95 % interval.

    [dim]tapewatch labels list --symbol TSLA --edges[/]
    """
    settings = Settings()
    rows = _stored(settings, market=market, symbol=symbol, author=author, since=since)
    _show(rows, form, settings if edges else None)


@labels.command()
@reports_errors
def remove(label_ids: Annotated[list[str], typer.Argument(metavar="LABEL_ID...", help="as `list` shows them")]) -> None:
    """Remove labels, all or none of them; the audit log keeps what they said.

    [dim]tapewatch labels remove 3f1c09ab52d7[/]
    """
    from orchestration.runs.labels.labelling import user  # noqa: PLC0415
    from tapewatch.store.database.database import Database  # noqa: PLC0415
    from tapewatch.store.database.people.human_labels import remove_labels  # noqa: PLC0415

    with Database(Settings().database) as database:
        removed = remove_labels(database, label_ids, actor=user())
    for label in removed:
        console.print(f"removed: {label}", markup=False, soft_wrap=True)


@labels.command()
@reports_errors
def export(
    file: Annotated[Path, typer.Argument(help="CSV or JSON, by its name; replaced if it exists")],
    market: _MarketFilter = None,
    symbol: _SymbolFilter = None,
    author: _AuthorFilter = None,
) -> None:
    """Write labels to a file that `import` reads.

    [dim]tapewatch labels export labels.csv --market stocks[/]
    """
    from orchestration.runs.labels import labelling  # noqa: PLC0415

    is_json = labelling.is_json(file)
    rows = _stored(Settings(), market=market, symbol=symbol, author=author)
    labelling.save(LISTING.json(rows) if is_json else LISTING.csv(rows), file)
    console.print(f"{file}: {LISTING.title(rows)}", markup=False, soft_wrap=True)


@labels.command(name="import")
@reports_errors
def import_(file: Annotated[Path, typer.Argument(help="CSV with a header or JSON, by its name")]) -> None:
    """Add the labels of a file, all or none of them.

    Needed columns: symbol, start, end, kind. Market (stocks), author (you),
    confidence (1) and note may be absent. Labels that are stored already are
    passed over, so a file can be imported twice.

    [dim]tapewatch labels import labels.csv[/]
    """
    from orchestration.runs.labels import labelling  # noqa: PLC0415

    console.print(f"{file}: {labelling.load(Settings(), file):,} label(s) added", markup=False, soft_wrap=True)


@labels.command()
@reports_errors
def collect(market: MarketOption, first: FirstOption, last: LastOption) -> None:
    """Copy people's labels of days into the lake, and write weak labels by what rules and detectors found.

    Run it after `tapewatch run`. It writes labels/human_labels, labels/training_set and labels/weak_labels.

    [dim]tapewatch labels collect --market stocks --from 2024-06-03 --to 2024-06-07[/]
    """
    from orchestration.runs.runs import run_days  # noqa: PLC0415
    from tapewatch.market.instruments import Partition, trading_days  # noqa: PLC0415
    from tapewatch.market.tables.labels import HUMAN_LABELS, WEAK_LABELS  # noqa: PLC0415
    from tapewatch.store.lake.lake import Lake  # noqa: PLC0415

    settings = Settings()
    run_days(settings, "collect_labels", market, first.date(), last.date())
    lake = Lake(settings.lake_root)
    for day in trading_days(market, first.date(), last.date()):
        by_people, weak = (
            lake.rows(table, Partition(day, market)) if lake.exists(table, Partition(day, market)) else 0
            for table in (HUMAN_LABELS, WEAK_LABELS)
        )
        console.print(f"{day}: {by_people:,} label(s) by people, {weak:,} minute(s) with weak labels", soft_wrap=True)


@labels.command()
@reports_errors
def agreement(market: _MarketFilter = None, symbol: _SymbolFilter = None) -> None:
    """Show how far authors agree beyond chance, by the minutes of the days that they labelled.

    Minutes of such a day without a label count as normal. 1 is full agreement,
    0 that of chance.

    [dim]tapewatch labels agreement --market stocks[/]
    """
    from tapewatch.store.labelling import agreement as agreement_of  # noqa: PLC0415

    pairs, alpha = agreement_of(_frame(Settings(), market=market, symbol=symbol))
    Listing(
        counted("pair"),
        columns=(
            *(Column(name, lambda row, name=name: escape(row[name])) for name in ("first", "second")),
            Column("minutes", lambda row: f"{row['minutes']:,}", is_number=True),
            Column("Cohen's kappa", lambda row: _number(row["kappa"]), is_number=True),
        ),
    ).show(pairs, Format.TABLE)
    output().print(f"Krippendorff's alpha of all: {_number(alpha)}")


def _number(value: float | None) -> str:
    return "no variety" if value is None else f"{value:.3f}"


def _stored(settings: Settings, **choice: Any) -> list[dict[str, Any]]:
    """The rows of `_frame`."""
    return _frame(settings, **choice).to_dicts()


def _frame(
    settings: Settings,
    *,
    market: Market | None = None,
    symbol: str | None = None,
    author: str | None = None,
    since: dt.datetime | None = None,
    where: dict[str, object] | None = None,
) -> "pl.DataFrame":
    from tapewatch.market.tables.live import LABELS  # noqa: PLC0415
    from tapewatch.store.database.database import Database  # noqa: PLC0415

    with Database(settings.database) as database:
        return database.read(
            LABELS,
            market=market,
            symbol=symbol,
            start=since.replace(tzinfo=dt.UTC) if since else None,
            where={**({"author": author} if author else {}), **(where or {})},
        )


def _show(rows: list[dict[str, Any]], form: Format, settings: Settings | None) -> None:
    """The rows; as a table with refined edges if settings are given."""
    if settings is None or form is not Format.TABLE:
        LISTING.show(rows, form)
        return
    from tapewatch.labels.people.human import HumanLabel  # noqa: PLC0415
    from tapewatch.store.labelling import edges  # noqa: PLC0415
    from tapewatch.store.lake.lake import Lake  # noqa: PLC0415

    lake = Lake(settings.lake_root)
    refined = [edges(lake, HumanLabel.of_row(row)) for row in rows]
    WITH_EDGES.show([row | {"edges": (r.start, r.end)} for row, r in zip(rows, refined, strict=True)], form)
