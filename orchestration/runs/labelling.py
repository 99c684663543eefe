"""People's labels: checked against the tape in the lake, added, exported, refined and compared."""

import getpass
import os
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import polars as pl

from orchestration.errors import RunError
from orchestration.runs.times import iso_time
from tapewatch.labels.agreement import cohen_kappa, krippendorff_alpha, minute_verdicts
from tapewatch.labels.edges import Refined, refine
from tapewatch.labels.human import HumanLabel, LabelError, read_labels, refuse
from tapewatch.market.instruments import Partition, known_session
from tapewatch.market.live_tables import LABELS
from tapewatch.settings import Settings
from tapewatch.store.database.database import Database
from tapewatch.store.database.human_labels import add_labels
from tapewatch.store.durable import write_whole
from tapewatch.store.lake.lake import Lake
from tapewatch.store.lake.tape import has_symbol, has_tape, symbol_ticks, tape_end, tape_start


def user() -> str:
    """The name of this system's user."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"  # a container may run as a user without a name


def authors(settings: Settings) -> tuple[str, ...]:
    """Who may label."""
    return settings.label_authors or (user(),)


def add(settings: Settings, labels: Sequence[HumanLabel], source: str) -> int:
    """Check every label and add them all, or none.

    Returns: how many were added; those stored already are not counted.

    Raises:
        LabelError: a label is not allowed, lies outside the tape, or overlaps another of its author.
    """
    lake, faults = Lake(settings.lake_root), []
    for label in labels:
        try:
            label.check(authors(settings))
            _check_tape(lake, label)
        except LabelError as error:
            faults.append(str(error) if len(labels) == 1 else f"{label}: {error}")
    if len(labels) == 1 and faults:
        raise LabelError(faults[0])
    refuse(faults, source)
    with Database(settings.database) as database:
        return add_labels(database, labels, actor=user(), source=source)


def load(settings: Settings, file: Path) -> int:
    """Add the labels of a CSV or JSON file, all or none; returns how many were new."""
    form = is_json(file)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise LabelError(f"{file} cannot be read: {error}") from error
    return add(settings, read_labels(text, is_json=form, author=user(), source=file.name), file.name)


def save(text: str, file: Path) -> None:
    """Write exported labels to a file, whole or not at all."""
    try:
        write_whole(file, text)
    except OSError as error:
        raise LabelError(f"{file} cannot be written: {error}") from error


def edges(lake: Lake, row: dict[str, Any]) -> Refined:
    """The edges of a stored label, tightened to the tape in the lake; none where the lake has no ticks of its day."""
    label = HumanLabel.of_row(row)
    start, end = pl.Series([label.start, label.end]).dt.epoch("ns")
    return refine(*symbol_ticks(lake, label.partition, label.symbol), start, end)


def agreement(stored: pl.DataFrame) -> tuple[list[dict[str, Any]], float | None]:
    """Cohen's kappa of each two authors by the minutes that both judged, and Krippendorff's alpha of all.

    Minutes are those of the hours in which trades are expected.

    Raises:
        RunError: no symbol's day was judged by two authors.
    """
    days = stored.select("market", "date", "symbol").unique().iter_rows()
    bounds = {}
    for market, date, symbol in days:
        session = known_session(market, date)
        if session is not None:
            bounds[f"{market} {symbol}", str(date)] = (session.extended_start, session.extended_end)
    named = stored.with_columns(
        symbol=pl.format("{} {}", "market", "symbol"), start_time=pl.col("start_time").cast(LABELS.schema["start_time"])
    )
    verdicts = minute_verdicts(named, bounds)
    pairs = []
    for first, second in combinations(verdicts, 2):
        both = [
            (a, b) for a, b in zip(verdicts[first], verdicts[second], strict=True) if a is not None and b is not None
        ]
        if both:
            kappa = cohen_kappa([a for a, _ in both], [b for _, b in both])
            pairs.append({"first": first, "second": second, "minutes": len(both), "kappa": kappa})
    if not pairs:
        raise RunError("no symbol's day was labelled by two authors: agreement needs days that both judged")
    return pairs, krippendorff_alpha(list(verdicts.values()))


def _check_tape(lake: Lake, label: HumanLabel) -> None:
    day: Partition = label.partition
    if not has_tape(lake, day):
        load_it = f"tapewatch backfill --market {day.market} --from {day.date} --to {day.date}"
        raise LabelError(f"{label}: the lake has no tape of {day.market} on {day.date}; load it first: `{load_it}`")
    if not has_symbol(lake, day, label.symbol):
        raise LabelError(f"{label}: the tape of {day.market} on {day.date} holds no {label.symbol}")
    first, last = (
        pl.Series([ns]).cast(pl.Datetime("ns", "UTC"))[0] for ns in (tape_start(lake, day), tape_end(lake, day))
    )
    if label.start < first or label.end > last:
        raise LabelError(f"{label}: the tape of that day runs from {iso_time(first)} to {iso_time(last)}")


def is_json(file: Path) -> bool:
    """Whether a file of labels is JSON, by its name; else it is CSV. Raises LabelError if it is neither."""
    if file.suffix.lower() not in (".csv", ".json"):
        raise LabelError(f"{file} is neither CSV nor JSON: name a file that ends in .csv or .json")
    return file.suffix.lower() == ".json"
