"""The outcome of a run: collected from the lake and the Bento, printed, and written as a page."""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from serving.store import StoredBento
from tapewatch.market.instruments import Partition
from tapewatch.market.tables.derived import COMPARISON, INCIDENTS, SCAN_EVALUATION
from tapewatch.market.tables.tape import ANOMALIES, BARS, EVALUATION, TRUTH_LABELS
from tapewatch.reports.run_report import NOT_JUDGED, RunSummary, write_report
from tapewatch.reports.unseen import shown
from tapewatch.settings import Settings
from tapewatch.store.lake.lake import Lake

if TYPE_CHECKING:
    from orchestration.runs.runs import RunReport


def present(
    settings: Settings, console: Console, days: Sequence[Partition], report: "RunReport", *, title: str, source: str
) -> Path:
    """Print the outcome of a run over these days and write its page; returns the page's path."""
    summary = summarise(settings, days, report, title=title, source=source)
    show(console, summary)
    show_checks(console, report)
    path = write(settings, summary)
    console.print(f"Report: {path}", soft_wrap=True, markup=False)
    return path


def summarise(
    settings: Settings, partitions: Sequence[Partition], report: "RunReport", *, title: str, source: str
) -> RunSummary:
    """The summary of a run over these partitions. Raises LakeError if a partition has no bars or anomalies yet."""
    lake = Lake(settings.lake_root)
    # The source may hold nothing of a day; if it held nothing at all, reading says so.
    there = [partition for partition in partitions if lake.exists(BARS, partition)] or partitions
    known = [lake.read(TRUTH_LABELS, p) for p in there if lake.exists(TRUTH_LABELS, p)]
    known = [labels for labels in known if labels.height]
    steps: dict[str, float] = {}
    for step in report.steps:
        steps[step.name] = steps.get(step.name, 0.0) + step.seconds
    return RunSummary(
        title=title,
        source=source,
        partitions=there,
        absent=[partition for partition in partitions if partition not in there],
        steps=list(steps.items()),
        bars=pl.concat(lake.read(BARS, p) for p in there),
        anomalies=pl.concat(lake.read(ANOMALIES, p) for p in there),
        truth=pl.concat(known).unique(["symbol", "event_id"]) if known else None,
        evaluation=lake.read(EVALUATION) if lake.exists(EVALUATION) else None,
        scan_evaluation=lake.read(SCAN_EVALUATION) if lake.exists(SCAN_EVALUATION) else None,
        comparison=lake.read(COMPARISON) if lake.exists(COMPARISON) else None,
        incidents=pl.concat(
            [INCIDENTS.empty(), *(lake.read(INCIDENTS, p) for p in there if lake.exists(INCIDENTS, p))]
        ),
        model=model_card(settings),
    )


def model_card(settings: Settings) -> dict[str, object]:
    """The facts about the newest Bento's model, by label; empty if there is no Bento."""
    bento = StoredBento.latest(settings.bento_home)
    if bento is None:
        return {}
    from serving.loader import Scorer  # noqa: PLC0415 - scikit-learn and SHAP take seconds to import

    scorer = Scorer.load(bento.model_folder, name=bento.model_name, version=bento.model_version)
    manifest = scorer.detector.manifest
    return {
        "name": bento.model_name,
        "version": bento.model_version,
        "Bento": bento.tag,
        "threshold": f"{manifest.threshold:.4f}",
        "trained on": f"{manifest.rows:,} minutes known from {' to '.join(manifest.fit_window)}",
        "partitions": ", ".join(manifest.partitions),
        "parameters": ", ".join(f"{name} {value:g}" for name, value in manifest.parameters.items()),
        "seed": manifest.seed,
        "feature catalog": f"version {manifest.catalog_version}",
        "features": ", ".join(scorer.features),
        "libraries": ", ".join(f"{name} {version}" for name, version in manifest.libraries.items()),
    }


def write(settings: Settings, summary: RunSummary) -> Path:
    """Write the page of a run to the home's reports; returns its path."""
    name = f"{summary.title.lower().replace(' ', '-')}-{summary.created.astimezone(dt.UTC):%Y%m%dT%H%M%SZ}.html"
    return write_report(summary, (settings.home / "reports" / name).absolute())


def show(console: Console, summary: RunSummary) -> None:
    """Print the wall times, and what each detector found on days that it had not seen."""
    console.print(_wall_times(summary))
    if summary.absent:
        days = ", ".join(f"{day.date} ({day.market})" for day in summary.absent)
        console.print(f"No tape, skipped: {days}", style="yellow", soft_wrap=True)
    if summary.is_not_judged:
        console.print(NOT_JUDGED, style="yellow", soft_wrap=True)
    if not summary.unseen.is_empty():
        console.print(_found_on_unseen_days(summary))
    if summary.truth is None:
        counts = summary.anomalies["kind"].cast(pl.String).value_counts(sort=True)
        table = Table("kind", "anomalies found", title="Found; the source has no truth", title_justify="left")
        for kind, count in counts.iter_rows():
            table.add_row(kind.replace("_", " "), f"{count}")
        console.print(table)


def show_checks(console: Console, report: "RunReport") -> None:
    """Print the number of checks, and the names of those that failed."""
    failed = sorted(set(report.failed_checks))
    if failed:
        console.print(f"{report.checks} checks; failed: {', '.join(failed)}. See why in the Dagster UI", style="yellow")
    else:
        console.print(f"{report.checks} checks, all passed")


def _wall_times(summary: RunSummary) -> Table:
    table = Table("step", title="Wall time", title_justify="left", show_footer=True)
    total = sum(seconds for _, seconds in summary.steps)
    table.add_column("seconds", justify="right", footer=f"{total:.1f}")
    for name, seconds in summary.steps:
        table.add_row(name, f"{seconds:.1f}")
    return table


def _found_on_unseen_days(summary: RunSummary) -> Table:
    """What each detector found of each kind; the last rows hold all kinds, and the rate of false alerts."""
    *kinds, every = summary.unseen.to_dicts()
    detectors = shown(summary.unseen)
    # 80 columns have room for the delays of two detectors, and for the counts of five; the page shows all.
    has_delays = len(detectors) <= 2
    table = Table(
        "kind", title="Found on days that the detectors had not seen", title_justify="left",
        box=SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True,
    )  # fmt: skip
    table.add_column("in tape", justify="right")
    for title in detectors.values():
        table.add_column(title if has_delays else title.replace(" ", "\n"), justify="right")
        if has_delays:
            table.add_column("delay", justify="right")
    for row in (*kinds, every):
        cells = [row["kind"].replace("_", " "), f"{row['events']}"]
        for name in detectors:
            delay = row[f"{name}_delay_s"]
            cells += [_count(row[f"{name}_found"])] + [("" if delay is None else f"{delay:.0f} s")] * has_delays
        table.add_row(*cells, style="bold" if row is every else "", end_section=row is (kinds or [every])[-1])
    of_all = {
        name: (_share(every[f"{name}_found"], every["events"]), _rate(every[f"{name}_false"])) for name in detectors
    }
    for title, index in (("found", 0), ("false in 390 min", 1)):
        table.add_row(title, "", *(cell for pair in of_all.values() for cell in [pair[index]] + [""] * has_delays))
    return table


def _count(found: int | None) -> str:
    return "not judged" if found is None else f"{found}"


def _share(found: int | None, events: int) -> str:
    return f"{found / events:.0%}" if found is not None and events else ""


def _rate(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
