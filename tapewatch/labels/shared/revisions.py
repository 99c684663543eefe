"""Revisions of shared labels: each names those that it replaces, so that changes made at once stand side by side."""

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tapewatch.labels.people.human import HumanLabel, LabelError, time_of
from tapewatch.market.instruments import Market


@dataclass(frozen=True, slots=True)
class Revision:
    """What somebody pushed of one label. `label` is None where it was removed, `replaces` empty where it is new."""

    label_id: str
    replaces: tuple[str, ...]
    label: HumanLabel | None
    pushed_by: str
    pushed: dt.datetime

    @property
    def revision_id(self) -> str:
        """The same for the same change, whoever pushed it."""
        said = [self.label_id, sorted(self.replaces), None if self.label is None else _fields(self.label)]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]

    def __str__(self) -> str:
        """`volume spike, 0.90, "halted" (ann, 2024-06-03 14:31)`."""
        return f"{verdict_words(self.label)} ({self.pushed_by}, {self.pushed:%Y-%m-%d %H:%M})"


def verdict_words(label: HumanLabel | None) -> str:
    """What a label says, in short."""
    if label is None:
        return "removed"
    note = f', "{label.note}"' if label.note else ""
    return f"{label.kind.replace('_', ' ')}, {label.confidence:.2f}{note}"


def same(first: HumanLabel | None, second: HumanLabel | None) -> bool:
    """Whether two say the same of the same stretch, whenever it was said."""
    if first is None or second is None:
        return first is second
    return _fields(first) == _fields(second)


def heads(revisions: Iterable[Revision]) -> dict[str, list[Revision]]:
    """The revisions of each label that no other replaces, oldest first: one, or several where people changed it at once."""
    every = {each.revision_id: each for each in sorted(revisions, key=lambda each: each.pushed)}
    replaced = {name for each in every.values() for name in each.replaces}
    found: dict[str, list[Revision]] = {}
    for name, each in every.items():
        if name not in replaced:
            found.setdefault(each.label_id, []).append(each)
    return found


def pushed_text(revisions: Sequence[Revision], pushed_by: str, pushed: dt.datetime) -> str:
    """The object of a push, as JSON."""
    entries = [
        {
            "label_id": each.label_id,
            "replaces": list(each.replaces),
            "label": None
            if each.label is None
            else _fields(each.label) | {"created": _text(each.label.created or pushed)},
        }
        for each in revisions
    ]
    return json.dumps({"pushed_by": pushed_by, "pushed": _text(pushed), "revisions": entries}, indent=1)


def read_pushed(text: str, name: str) -> list[Revision]:
    """The revisions of a push.

    Raises:
        LabelError: the object is damaged, or no push.
    """
    try:
        pushed = json.loads(text)
        by, at = str(pushed["pushed_by"]), time_of(pushed["pushed"])
        found = [
            Revision(str(each["label_id"]), tuple(map(str, each["replaces"])), _label(each["label"]), by, at)
            for each in pushed["revisions"]
        ]
        odd = [each.label_id for each in found if each.label is not None and each.label.label_id != each.label_id]
    except (ValueError, KeyError, TypeError) as error:
        raise LabelError(f"{name} is no push of labels ({type(error).__name__}: {error}): move it elsewhere") from error
    if odd:
        raise LabelError(f"{name} was changed: {', '.join(odd)} is not what its author, symbol and times give")
    return found


def _label(entry: Mapping[str, Any] | None) -> HumanLabel | None:
    if entry is None:
        return None
    start, end, created = (time_of(entry[name]) for name in ("start", "end", "created"))
    return HumanLabel(
        Market(entry["market"]), str(entry["symbol"]), start, end, str(entry["kind"]), str(entry["author"]),
        float(entry["confidence"]), entry["note"], created,
    )  # fmt: skip


def _fields(label: HumanLabel) -> dict[str, Any]:
    return {
        "market": str(label.market), "symbol": label.symbol, "start": _text(label.start), "end": _text(label.end),
        "kind": label.kind, "author": label.author, "confidence": label.confidence, "note": label.note,
    }  # fmt: skip


def _text(time: dt.datetime) -> str:
    return time.astimezone(dt.UTC).isoformat()
