"""People's labels from the command line: who may add them, checked against the tape in the lake, added, exported."""

import getpass
import os
from collections.abc import Sequence
from pathlib import Path

from tapewatch.labels.people.human import HumanLabel, LabelError, read_labels, refuse
from tapewatch.settings import Settings
from tapewatch.store.database.database import Database
from tapewatch.store.database.people.human_labels import add_labels
from tapewatch.store.database.people.label_classes import offered
from tapewatch.store.durable import write_whole
from tapewatch.store.labelling import check_tape
from tapewatch.store.lake.lake import Lake


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
    with Database(settings.database) as database:
        kinds = offered(database)
        for label in labels:
            try:
                label.check(authors(settings), kinds)
                check_tape(lake, label)
            except LabelError as error:
                faults.append(str(error) if len(labels) == 1 else f"{label}: {error}")
        if len(labels) == 1 and faults:
            raise LabelError(faults[0])
        refuse(faults, source)
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


def is_json(file: Path) -> bool:
    """Whether a file of labels is JSON, by its name; else it is CSV. Raises LabelError if it is neither."""
    if file.suffix.lower() not in (".csv", ".json"):
        raise LabelError(f"{file} is neither CSV nor JSON: name a file that ends in .csv or .json")
    return file.suffix.lower() == ".json"
