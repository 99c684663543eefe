"""`tapewatch models`: the registered detectors, and which of them is in use."""

import datetime as dt
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestration.cli.commands.options import time_option
from orchestration.cli.listing import Column, Field, Format, Listing, counted, time_field
from orchestration.errors import RunError, console, output, reports_errors
from tapewatch.settings import Settings

if TYPE_CHECKING:
    from rich.table import Table

    from resources.promotion import Promoter
    from tapewatch.streaming.detection.shadow import ShadowReport

app = typer.Typer()
group = typer.Typer(no_args_is_help=True, help="List, compare, promote and roll back the registered detectors.")
app.add_typer(group, name="models")

NameArgument = Annotated[str, typer.Argument(metavar="MODEL", help="a registered model, such as isolation_forest")]
FormatOption = Annotated[Format, typer.Option("--format", help="how to print it")]
_MEASURES = ("average_precision", "event_recall", "false_alerts_per_390_minutes", "delay_minutes")


def _measure(name: str, digits: int = 3) -> Any:
    return lambda row: "" if row[name] is None else f"{row[name]:.{digits}f}"


VERSIONS = Listing(
    counted("version"),
    columns=(
        Column("model"),
        Column("version", is_number=True),
        Column("is"),
        Column("made, UTC", lambda row: f"{row['made']:%Y-%m-%d %H:%M}"),
        Column("AP", _measure("average_precision"), is_number=True),
        Column("found", _measure("event_recall"), is_number=True),
        Column("false", _measure("false_alerts_per_390_minutes"), is_number=True),
        Column("run", lambda row: row["run"][:8]),
    ),
    fields=(
        *map(Field, ("model", "version", "is")),
        time_field("made", "made"),
        *map(Field, (*_MEASURES, "run")),
    ),
    is_boxed=False,
)
HISTORY = Listing(
    counted("entry", "entries"),
    columns=(
        Column("#", lambda row: str(row["number"]), is_number=True),
        Column("at, UTC", lambda row: f"{row['at_time']:%Y-%m-%d %H:%M:%S}"),
        Column("version", lambda row: f"{row['model']}/{row['version']}"),
        Column("was", lambda row: row["action"].replace("_", " ")),
        Column("by", lambda row: row["actor"]),
        Column("why", lambda row: row["reason"], folds=True),
    ),
    fields=(
        Field("number"),
        time_field("at", "at_time"),
        *map(Field, ("model", "action", "version", "champion_before", "run_id", "actor", "reason")),
        Field("evidence", lambda row: json.loads(row["evidence"])),
        *map(Field, ("previous_hash", "hash")),
    ),
    is_boxed=False,
)


@contextmanager
def _promoter(settings: Settings) -> "Iterator[Promoter]":
    import getpass  # noqa: PLC0415

    from orchestration.home import check_home  # noqa: PLC0415
    from resources.mlflow_registry import ModelRegistry  # noqa: PLC0415 - MLflow takes seconds to import
    from resources.promotion import Promoter  # noqa: PLC0415
    from tapewatch.store.database.database import Database  # noqa: PLC0415

    check_home(settings)
    with Database(settings.database) as database:
        yield Promoter(ModelRegistry(settings.tracking_uri, settings.artifact_root), database, getpass.getuser())


def _hand_over(promoter: "Promoter", settings: Settings) -> None:
    """Let collectors score with the champion of minutes as it is now."""
    from assets.models.forest import MINUTES  # noqa: PLC0415
    from resources.hand_over import hand_over  # noqa: PLC0415

    hand_over(promoter.registry, settings.champions, MINUTES)


@group.command("list")
@reports_errors
def list_versions(form: FormatOption = Format.TABLE) -> None:
    """List every registered version, newest first, and which is champion or challenger."""
    with _promoter(Settings()) as promoter:
        registry = promoter.registry
        rows = []
        for name in registry.names():
            is_what = {
                each.version: word
                for each, word in ((registry.challenger(name), "challenger"), (registry.champion(name), "champion"))
                if each
            }
            for version in registry.versions(name):
                metrics = registry.metrics(version.run_id)
                made = dt.datetime.fromtimestamp(version.creation_timestamp / 1000, dt.UTC)
                said = {
                    "model": name,
                    "version": int(version.version),
                    "is": is_what.get(int(version.version), ""),
                    "made": made,
                }
                rows.append({**said, **{each: metrics.get(each) for each in _MEASURES}, "run": version.run_id})
    VERSIONS.show(rows, form)


@group.command()
@reports_errors
def compare(
    name: NameArgument, version: Annotated[int | None, typer.Argument(help="by default the challenger")] = None
) -> None:
    """Show what the gates measured of a version, beside the champion of then, and what it said in the shadow of live champions.

    [dim]tapewatch models compare isolation_forest
    tapewatch models compare isolation_forest 4[/]
    """
    from rich.table import Table  # noqa: PLC0415

    with _promoter(Settings()) as promoter:
        candidate = _candidate(promoter, name, version)
        logged, shadows = promoter.registry.gates(candidate.run_id), _shadows(promoter, str(candidate))
        if logged is None:
            raise RunError(
                f"{candidate} was registered by an earlier Tapewatch, or is no detector of minutes: no gate judged it"
            )
    against = f"version {logged['champion']}" if logged["champion"] else "no champion"
    table = Table("gate", "passed", "measured", title=f"{candidate}, judged beside {against}", title_justify="left")
    for gate in logged["gates"].values():
        table.add_row(gate["name"].replace("_", " "), "yes" if gate["has_passed"] else "[bold red]no[/]", gate["words"])
    output().print(table)
    if shadows:
        output().print(_of_shadows(shadows))


def _shadows(promoter: "Promoter", challenger: str) -> "dict[str, ShadowReport]":
    """What a challenger said of live minutes, by the champion beside which it did."""
    from tapewatch.market.tables.live import SHADOW_MINUTES  # noqa: PLC0415
    from tapewatch.streaming.detection.shadow import shadow_report  # noqa: PLC0415

    rows = promoter.database.read(SHADOW_MINUTES, where={"challenger": challenger})
    return {str(champion): shadow_report(part) for (champion,), part in rows.group_by("champion", maintain_order=True)}


def _of_shadows(reports: "dict[str, ShadowReport]") -> "Table":
    from rich.table import Table  # noqa: PLC0415

    table = Table(title="in the shadow, on live minutes", title_justify="left", box=None)
    table.add_column("beside", no_wrap=True)
    for column in ("hours", "symbol-minutes", "agreement", "its alerts", "the champion's", "gained", "lost"):
        table.add_column(column, justify="right")
    for champion, each in reports.items():
        agreement = "" if each.agreement is None else f"{each.agreement:.2%}"
        counts = (each.challenger_alerts, each.champion_alerts, each.gained, each.lost)
        table.add_row(champion, f"{each.hours:.1f}", f"{each.symbol_minutes:,}", agreement, *map(str, counts))
    return table


@group.command()
@reports_errors
def promote(
    name: NameArgument, version: Annotated[int | None, typer.Argument(help="by default the challenger")] = None
) -> None:
    """Make a version champion, if it passed every gate beside the present champion.

    [dim]tapewatch models promote isolation_forest 4[/]
    """
    settings = Settings()
    with _promoter(settings) as promoter:
        from assets.models.deciding import Deciding, Demands, decide_on  # noqa: PLC0415

        candidate, demands = _candidate(promoter, name, version), Demands(shadow_hours=settings.shadow_hours)
        outcome = decide_on(Deciding(promoter.registry, promoter.database, candidate, demands), actor=promoter.actor)
        _hand_over(promoter, settings)
    if not outcome.is_promoted:
        raise RunError(f"{outcome.candidate} stays as it is: {outcome.reason}")
    _say(f"{outcome.candidate} is champion: {outcome.reason}. Materialize serving/anomaly_bento to serve it")


@group.command()
@reports_errors
def rollback(
    name: NameArgument,
    to: Annotated[int | None, typer.Option("--to", metavar="VERSION", help="by default the champion before")] = None,
    reason: Annotated[str, typer.Option(help="why, for the history")] = "rolled back by hand",
) -> None:
    """Make an earlier version champion again.

    [dim]tapewatch models rollback isolation_forest --reason "too many alerts since Monday"[/]
    """
    settings = Settings()
    with _promoter(settings) as promoter:
        restored = promoter.roll_back(name, to, reason)
        _hand_over(promoter, settings)
    _say(f"{restored} is champion again. Materialize serving/anomaly_bento to serve it")


@group.command()
@reports_errors
def retire(
    name: NameArgument, reason: Annotated[str, typer.Option(help="why, for the history")] = "retired by hand"
) -> None:
    """Leave a model without a champion. Without one of the ensemble, the forest's champion scores minutes again.

    [dim]tapewatch models retire ensemble[/]
    """
    settings = Settings()
    with _promoter(settings) as promoter:
        retired = promoter.retire(name, reason)
        _hand_over(promoter, settings)
    _say(f"{retired} is champion no more. Materialize serving/anomaly_bento to serve another model")


@group.command()
@reports_errors
def webhook(
    url: Annotated[
        str, typer.Argument(metavar="ADDRESS", help="of the scoring service, as MLflow's server reaches it")
    ],
) -> None:
    """Let MLflow tell the scoring service at once which version became champion.

    [dim]TAPEWATCH_SCORING_WEBHOOK_SECRET=… tapewatch models webhook https://scoring.example.com[/]
    """
    settings = Settings()
    secret = settings.scoring_webhook_secret
    if secret is None:
        raise RunError("set TAPEWATCH_SCORING_WEBHOOK_SECRET, here and for the scoring service: MLflow signs with it")
    from resources.mlflow_registry import ModelRegistry  # noqa: PLC0415 - takes seconds
    from resources.mlflow_webhook import PATH, ensure_webhook  # noqa: PLC0415 - likewise

    client = ModelRegistry(settings.tracking_uri, settings.artifact_root).connect()
    found = ensure_webhook(client, url.rstrip("/") + PATH, secret.get_secret_value())
    _say(f"Webhook {found}: MLflow posts each alias that is set to {url.rstrip('/')}{PATH}")


@group.command()
@reports_errors
def history(
    name: Annotated[str | None, typer.Argument(metavar="MODEL", help="one model; by default all")] = None,
    verify: Annotated[
        bool, typer.Option("--verify", metavar="", help="check the chain of hashes, and MLflow's aliases")
    ] = False,
    at: Annotated[
        dt.datetime | None, time_option("--at", "which version was champion then, UTC; needs a MODEL")
    ] = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """List what became of each version, or check that nothing was changed.

    [dim]tapewatch models history isolation_forest
    tapewatch models history isolation_forest --at 2024-06-03T12:00
    tapewatch models history --verify[/]
    """
    if at is not None and name is None:
        raise typer.BadParameter("--at needs a MODEL")
    from tapewatch.store.database import model_history  # noqa: PLC0415
    from tapewatch.store.database.database import Database  # noqa: PLC0415

    settings = Settings()
    if verify:
        with _promoter(settings) as promoter:
            faults, entries = promoter.faults(), model_history.history(promoter.database)
        if faults:
            raise RunError("; ".join(faults))
        _say(f"{len(entries)} entries, each following the one before, and MLflow's aliases agree")
        return
    with Database(settings.database) as database:
        entries = model_history.history(database, name)
    if at is not None and name is not None:
        version = model_history.champion_of(entries, name, at.replace(tzinfo=dt.UTC))
        _say(f"{name}/{version}" if version else f"{name} had no champion at {at:%Y-%m-%d %H:%M:%S} UTC")
        return
    HISTORY.show(entries, form)


def _candidate(promoter: "Promoter", name: str, version: int | None) -> Any:
    found = promoter.registry.challenger(name) if version is None else promoter.registry.version(name, version)
    if found is None:
        known = ", ".join(str(each.version) for each in promoter.registry.versions(name)) or "none"
        what = "challenger" if version is None else f"version {version}"
        raise RunError(f"{name} has no {what}; its versions are: {known}")
    return found


def _say(text: str) -> None:
    console.print(text, soft_wrap=True, markup=False, highlight=False)
