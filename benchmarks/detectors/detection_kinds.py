"""Detectors side by side on anomalies of ten kinds at chosen strengths, and prints the page docs/benchmark_detection.md.

Run: make bench-detection, or python -m benchmarks.detectors.detection_kinds [--full] [--only NAME ...] > PAGE. Detectors are fitted on clean
days with the platform's defaults; thresholds are fixed then. They are judged on other days with anomalies put in (recorded days, if
their folder exists, and the built-in market of seeds that nothing was tuned on), and on the same days without.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib as mpl
import polars as pl

from benchmarks.detectors.kinds_detectors import LEARNT, Entry, entries, without
from benchmarks.detectors.kinds_judging import free_minutes, half_found_at, judged, per_day, share
from benchmarks.detectors.kinds_tapes import Trial, built_in, recorded
from benchmarks.measuring import MARKET_DATA
from tapewatch.labels.injection.realisations import REALISATIONS
from tapewatch.labels.injection.strengths import STRENGTHS
from tapewatch.market.instruments import Market

mpl.use("Agg")

_PLOT = Path(__file__).resolve().parents[2] / "docs" / "images" / "detection_kinds.png"
_GROUP = ("group", "detector")
_SCAN = "scan"
_COLOURS = 10


def trials(*, is_full: bool) -> Iterator[Trial]:
    """The days, few or all."""
    everything = (0, 1, 2)
    seeds = range(61, 69) if is_full else range(61, 63)
    if MARKET_DATA.is_dir():
        yield from recorded(MARKET_DATA, seeds, 12, everything)
    for market_seed in (71, 72, 73) if is_full else (71,):
        yield from built_in(Market.STOCKS, market_seed, (3, 3 if is_full else 2), seeds[:2], 12, everything)
        yield from built_in(Market.CRYPTO, market_seed, (3, 2 if is_full else 1), seeds[:1], 30, everything)


def run(chosen: Sequence[Entry], days: Iterator[Trial]) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Events and alerts of each detector (columns of `judged`, `group`, `detector`), and minutes, alerts on clean days."""
    events, alerts, totals = [], [], []
    for trial in days:
        for entry in chosen:
            start = time.perf_counter()
            find = entry.fit(trial)
            about = {"group": pl.lit(trial.group), "detector": pl.lit(entry.name)}
            free = 0.0
            for tape in trial.judged:
                of_events, of_alerts = judged(find(tape), tape.events)
                events.append(of_events.with_columns(**about))
                alerts.append(of_alerts.with_columns(**about))
                free += free_minutes(tape.events, tape.symbol_minutes)
            totals.append(
                {
                    "group": trial.group,
                    "detector": entry.name,
                    "free": free,
                    "clean_alerts": sum(find(tape).height for tape in trial.clean),
                    "clean_minutes": float(sum(tape.symbol_minutes for tape in trial.clean)),
                    "clean_days": sum(tape.bins["symbol"].n_unique() for tape in trial.clean),
                }
            )
            print(f"{trial.name}: {entry.name} {time.perf_counter() - start:.0f} s", file=sys.stderr)
    return pl.concat(events), pl.concat(alerts), pl.DataFrame(totals)


def kinds_left_out(chosen: Sequence[Entry], trial: Trial) -> pl.DataFrame:
    """Events of each kind (`kind`, `detector`, `is_found`, `is_found_without`), also found by a detector that never learnt the kind."""
    parts = []
    for entry in LEARNT:
        if entry.name not in {each.name for each in chosen}:
            continue
        usual = entry.fit(trial)
        for kind in REALISATIONS:
            unlearnt = entry.fit(without(trial, kind))
            for tape in trial.judged:
                own = tape.events.filter(pl.col("kind").cast(pl.String) == kind)
                found, less = (judged(find(tape), own)[0]["is_found"] for find in (usual, unlearnt))
                parts.append(
                    own.select(pl.col("kind").cast(pl.String), detector=pl.lit(entry.name)).with_columns(
                        is_found=found, is_found_without=less
                    )
                )
        print(f"{trial.name}: kinds left out, {entry.name}", file=sys.stderr)
    return pl.concat(parts) if parts else pl.DataFrame()


def _left_out(found: pl.DataFrame) -> Iterator[str]:
    yield "| kind | events | " + " | ".join(f"{e.name} | without the kind" for e in LEARNT) + " |"
    yield "|---|--:|" + "--:|" * 2 * len(LEARNT)
    for kind in (*REALISATIONS, "all"):
        own = found.filter((pl.col("kind") == kind) | pl.lit(kind == "all"))
        if own.is_empty():
            continue
        cells = []
        for entry in LEARNT:
            of = own.filter(pl.col("detector") == entry.name)
            cells += (
                [f"{of[name].mean():.2f}" for name in ("is_found", "is_found_without")] if of.height else ["-", "-"]
            )
        yield f"| {kind} | {own.height // max(own['detector'].n_unique(), 1)} | " + " | ".join(cells) + " |"


def _side_by_side(events: pl.DataFrame, alerts: pl.DataFrame, totals: pl.DataFrame) -> Iterator[str]:
    yield (
        "| detector | found | weak | medium | strong | precision | false a 390 free min | alerts a clean day | "
        "delay s | named |"
    )
    yield "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    for (detector,), of_events in events.group_by("detector", maintain_order=True):
        raised = alerts.filter(pl.col("detector") == detector)
        total = (
            totals.filter(pl.col("detector") == detector).select(pl.col(pl.Float64, pl.Int64).sum()).row(0, named=True)
        )
        true = raised.filter("is_true")
        by_strength = [share(of_events.filter(pl.col("strength") == each)) for each in STRENGTHS]
        delay = of_events["delay_s"].median()
        cells = [
            share(of_events),
            *by_strength,
            f"{true.height / raised.height:.2f}" if raised.height else "-",
            f"{per_day(raised.height - true.height, total['free']):.2f}",
            f"{total['clean_alerts'] / total['clean_days']:.2f}",
            "-" if delay is None else f"{delay:.0f}",
            f"{true['is_named'].mean():.2f}" if true.height and (true["kind"] != "").any() else "-",
        ]
        yield f"| {detector} | " + " | ".join(cells) + " |"


def _by_kind(events: pl.DataFrame, alerts: pl.DataFrame) -> Iterator[str]:
    yield "| kind | events | weak | medium | strong | half found at | delay s | named rightly | of false alerts |"
    yield "|---|--:|--:|--:|--:|--:|--:|--:|--:|"
    false = alerts.filter(~pl.col("is_true"))
    for kind in REALISATIONS:
        own = events.filter(pl.col("kind") == kind)
        if own.is_empty():
            continue
        delay = own["delay_s"].median()
        named = alerts.filter((pl.col("kind") == kind) & pl.col("is_true"))
        cells = [
            str(own.height),
            *(share(own.filter(pl.col("strength") == each)) for each in STRENGTHS),
            half_found_at(own),
            "-" if delay is None else f"{delay:.0f}",
            f"{int(named['is_named'].sum())} of {named.height}",
            f"{false.filter(pl.col('kind') == kind).height} of {false.height}",
        ]
        yield f"| {kind} | " + " | ".join(cells) + " |"


def _by_realisation(events: pl.DataFrame) -> Iterator[str]:
    yield "| kind | " + " | ".join(("first", "second", "in bursts")) + " |"
    yield "|---|" + "--:|" * 3
    for kind, ways in REALISATIONS.items():
        cells = []
        for way in ways:
            own = events.filter((pl.col("kind") == kind) & (pl.col("realisation") == way.name))
            cells.append(f"{way.name}: {share(own)}")
        yield f"| {kind} | " + " | ".join(cells) + " |"


def _all_kinds(events: pl.DataFrame) -> Iterator[str]:
    names = events["detector"].unique(maintain_order=True).to_list()
    yield "| kind | " + " | ".join(names) + " |"
    yield "|---|" + "--:|" * len(names)
    for kind in REALISATIONS:
        own = events.filter(pl.col("kind") == kind)
        cells = [own.filter(pl.col("detector") == name)["is_found"].mean() for name in names]
        yield f"| {kind} | " + " | ".join("-" if cell is None else f"{cell:.2f}" for cell in cells) + " |"


def page(
    events: pl.DataFrame, alerts: pl.DataFrame, totals: pl.DataFrame, left_out: pl.DataFrame, missing: Sequence[str]
) -> Iterator[str]:
    """The lines of docs/benchmark_detection.md."""
    yield from (
        "# Detection of injected anomalies",
        "",
        "Generated by `make bench-detection`. Anomalies of ten kinds are put into copies of days: weak, medium and strong are 1.25, 2.5 and 5",
        "times the 99th percentile of the kind's measure in windows of that symbol near that time of day, in one of three realisations",
        "([labels](methodology/labels_and_detector.md)). Every detector is fitted on other, clean days and its threshold is fixed then: of the ensemble",
        "at one alert of ordinary tape in 6.5 hours of a symbol, of the scan in 2.5 hours, of forest, classifier and time of day at 0.7 alert minutes an hour. Classifier, ensemble",
        "and scan also learn from anomalies put into copies of the clean days. *Scan or ensemble* is what the platform raises: the alerts of both, each at its",
        "setting, and one where they meet. Shares have Wilson's 95 % intervals.",
        "An alert finds an event that it overlaps or follows by up to two minutes; *delay* is the median from an event's start",
        "to when the alert could be known; *named* is the share of true alerts with their event's kind.",
        "",
    )
    if missing:
        yield from (f"Not installed and left out: {', '.join(missing)}.", "")
    groups = events["group"].unique(maintain_order=True).to_list()
    for group in groups:
        within = pl.col("group") == group
        yield from (f"## {group.capitalize()}", "")
        yield from _side_by_side(events.filter(within), alerts.filter(within), totals.filter(within))
        yield from ("", "Found of each kind, all strengths:", "")
        yield from _all_kinds(events.filter(within))
        is_scan = within & (pl.col("detector") == _SCAN)
        yield from ("", "The scan by kind:", "")
        yield from _by_kind(events.filter(is_scan), alerts.filter(is_scan))
        yield ""
    yield from (
        "## One realisation left out",
        "",
        "Scan and classifier, a member of the ensemble, learnt the first two of each kind; the third, in bursts, they never saw.",
        "",
        "The scan:",
        "",
    )
    yield from _by_realisation(events.filter(pl.col("detector") == _SCAN))
    yield from ("", "The ensemble:", "")
    yield from _by_realisation(events.filter(pl.col("detector") == "ensemble"))
    if left_out.height:
        yield from ("", "## One kind left out", "")
        yield "Share found of each kind, and the same without that kind among the labelled anomalies (first trial of each group)."
        yield ""
        yield from _left_out(left_out)
    yield from ("", "![Share found by strength](images/detection_kinds.png)")


def plot(events: pl.DataFrame, to: Path) -> None:
    """Share found by strength: detectors side by side, and the scan by kind."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - after the backend

    figure = Figure(figsize=(11, 6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, column, rows in (
        (left, "detector", events),
        (right, "kind", events.filter(pl.col("detector") == _SCAN)),
    ):
        for number, ((name,), own) in enumerate(rows.group_by(column, maintain_order=True)):
            curve = own.group_by("strength").agg(pl.col("is_found").mean()).sort("strength")
            # There are ten colours: the lines after them are dashed.
            style, label = "-" if number < _COLOURS else "--", str(name).replace("_", " ")
            axes.plot(curve["strength"], curve["is_found"], style, marker="o", label=label)
        axes.set(xscale="log", xlabel="strength (times the natural 99th percentile)", ylim=(0, 1.03))
        axes.set_xticks(STRENGTHS, [f"{each:g}" for each in STRENGTHS])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.14))
    left.set(title="All kinds, by detector", ylabel="share found")
    right.set(title="The scan, by kind")
    figure.savefig(to, dpi=100)


def main() -> None:
    """Print the page and write its plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="all seeds and days, about an hour")
    parser.add_argument("--only", nargs="+", help="these detectors alone; the plot is then not written")
    options = parser.parse_args()
    chosen, missing = entries(options.only)
    days = list(trials(is_full=options.full))
    events, alerts, totals = run(chosen, iter(days))
    first = {trial.group: trial for trial in reversed(days)}
    left_out = pl.concat([kinds_left_out(chosen, trial) for trial in first.values()])
    if not options.only:
        plot(events, _PLOT)
    print("\n".join(page(events, alerts, totals, left_out, missing)))


if __name__ == "__main__":
    main()
