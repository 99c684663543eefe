"""Labels that a team shares, from the command line: pulled, pushed, and conflicts settled as the person says."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from orchestration.runs.labels.labelling import user
from tapewatch.labels.people.human import LabelError
from tapewatch.labels.shared.merging import Change, Conflict, Merge, resolve
from tapewatch.settings import Settings
from tapewatch.store.database.database import Database
from tapewatch.store.database.people.label_classes import classes
from tapewatch.store.sharing import SharedLabels

OURS, THEIRS = "ours", "theirs"
Choice = Callable[[Conflict], str | None]


@dataclass(frozen=True)
class Outcome:
    """What a pull or push did: labels by what became of them, and the conflicts that are left."""

    added: int
    changed: int
    removed: int
    left_out: int
    conflicts: tuple[Conflict, ...]


def choice_of(side: str | None, rows: Mapping[str, str]) -> Choice:
    """How to settle a conflict: by its row if it is named there, else by the side that was chosen for all."""
    return lambda conflict: rows.get(conflict.label_id, side)


def rows_of(texts: list[str]) -> dict[str, str]:
    """Choices by row, from `LABEL_ID=ours`, `LABEL_ID=theirs` or `LABEL_ID=REVISION`. Raises LabelError."""
    found = {}
    for text in texts:
        label_id, mark, side = text.partition("=")
        if not mark or not label_id or not side:
            raise LabelError(f"{text!r} is no choice: write LABEL_ID=ours, LABEL_ID=theirs or LABEL_ID=REVISION")
        found[label_id] = side
    return found


def pull(settings: Settings, url: str, choose: Choice) -> Outcome:
    """Bring what others pushed into the database; what is in conflict and not settled stays as it is here.

    Raises:
        LabelError: the place cannot be read, or a label of it cannot be taken; nothing was changed.
    """
    shared = SharedLabels.at(url, settings.home)
    with shared.alone(), Database(settings.database) as database:
        merge = shared.compare(database)
        _check(merge, choose, {each.name for each in classes(database)})
        resolve(merge, choose)
        shared.pull(database, merge, user())
    labels = [each.label for each in merge.incoming if each.label is not None]
    changed = sum(label.label_id in merge.ours for label in labels)
    removed = len(merge.incoming) - len(labels) + len(merge.dropped)
    return Outcome(len(labels) - changed, changed, removed, 0, tuple(merge.conflicts))


def push(settings: Settings, url: str, choose: Choice, *, upsert: bool) -> Outcome:
    """Add what is new here to the place; with `upsert` also what was changed or removed. With a conflict left nothing is pushed.

    Raises:
        LabelError: the place cannot be read or written.
    """
    shared = SharedLabels.at(url, settings.home)
    with shared.alone(), Database(settings.database) as database:
        merge = shared.compare(database)
        _check(merge, choose, {each.name for each in classes(database)})
        # A conflict that is settled for theirs waits for the next pull.
        resolve(merge, partial(_only_ours, choose))
        left = [conflict for conflict in merge.conflicts if choose(conflict) is None]
        if left:
            return Outcome(0, 0, 0, 0, tuple(left))
        chosen = [change for change in merge.outgoing if upsert or not change.replaces]
        shared.push(chosen, merge.seen, user())
    return Outcome(*_counted(chosen), len(merge.outgoing) - len(chosen), ())


def _only_ours(choose: Choice, conflict: Conflict) -> str | None:
    return OURS if choose(conflict) == OURS else None


def _counted(changes: list[Change]) -> tuple[int, int, int]:
    added = sum(not change.replaces for change in changes)
    removed = sum(change.label is None for change in changes)
    return added, len(changes) - added - removed, removed


def _check(merge: Merge, choose: Choice, kinds: set[str]) -> None:
    """Raise a LabelError if a choice names a revision that there is not, or a label is of a class that is unknown here."""
    for conflict in merge.conflicts:
        side = choose(conflict)
        known = {OURS, THEIRS, None, *(each.revision_id for each in conflict.theirs)}
        if side not in known:
            raise LabelError(f"{conflict.label_id} has no revision {side!r}: write ours, theirs or one that is listed")
    unknown = {each.label.kind for each in merge.incoming if each.label is not None} - kinds
    if unknown:
        raise LabelError(
            f"labels there are of classes that are unknown here, nothing was pulled: {', '.join(sorted(unknown))}"
        )
