"""Three-way comparison of labels: those here, those shared, and the shared ones as they were at the last pull or push."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tapewatch.labels.people.human import HumanLabel
from tapewatch.labels.shared.revisions import Revision, heads, same

#: Revisions of each label that were taken into account here.
Seen = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be pushed: a label that is new or says something else, or None where it was removed here."""

    label_id: str
    label: HumanLabel | None
    replaces: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Conflict:
    """A label that was changed both here and there, or there by two people; or a shared one that overlaps one of here.

    `theirs` are its newest revisions, oldest first, and `ours` what is here under the same identity. `overlapped` are labels of
    the same author here that the shared one overlaps.
    """

    label_id: str
    ours: HumanLabel | None
    theirs: tuple[Revision, ...]
    overlapped: tuple[HumanLabel, ...] = ()

    @property
    def newest(self) -> Revision:
        """The newest of theirs that says something else than ours."""
        return next((each for each in reversed(self.theirs) if not same(each.label, self.ours)), self.theirs[-1])


@dataclass
class Merge:
    """What a comparison found, by what is to be done: `seen` is how `Seen` is then without, `pulled` what a pull adds to it."""

    incoming: list[Revision] = field(default_factory=list)
    outgoing: list[Change] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)
    seen: dict[str, list[str]] = field(default_factory=dict)
    pulled: dict[str, list[str]] = field(default_factory=dict)
    #: The labels of here, as they were when this was found.
    ours: dict[str, HumanLabel] = field(default_factory=dict)
    #: Labels of here that give way to an overlapping one that was chosen.
    dropped: list[HumanLabel] = field(default_factory=list)


def compare(ours: Mapping[str, HumanLabel], revisions: Iterable[Revision], seen: Seen) -> Merge:
    """What is new there, new here, or in conflict; every label falls under one of them, or is the same."""
    every = list(revisions)
    known = {each.revision_id: each for each in every}
    theirs, merge = heads(every), Merge(seen={name: list(ids) for name, ids in seen.items()}, ours=dict(ours))
    for label_id in sorted({*theirs, *ours}):
        newest, mine = theirs.get(label_id, []), ours.get(label_id)
        names = [each.revision_id for each in newest]
        before = [known[name] for name in seen.get(label_id, ()) if name in known]
        if len(newest) == 1 and same(newest[0].label, mine):
            merge.seen[label_id] = names
        elif not newest or {each.revision_id for each in before} == set(names):
            merge.outgoing.append(Change(label_id, mine, tuple(names)))
        elif len(newest) == 1 and _is_unchanged(mine, before):
            merge.incoming.append(newest[0])
            merge.pulled[label_id] = names
        else:
            merge.conflicts.append(Conflict(label_id, mine, tuple(newest)))
    _find_overlaps(merge, ours)
    return merge


def resolve(merge: Merge, choose: Callable[[Conflict], str | None]) -> None:
    """Settle conflicts in place: `choose` gives `ours`, `theirs`, the identity of a revision, or None to leave it open.

    Ours is then to be pushed over theirs; theirs comes in, and what it overlaps here gives way.
    """
    left = []
    for conflict in merge.conflicts:
        chosen = choose(conflict)
        picked = next((each for each in conflict.theirs if each.revision_id == chosen), conflict.newest)
        names = [each.revision_id for each in conflict.theirs]
        if chosen is None:
            left.append(conflict)
        elif chosen == "ours":
            merge.seen[conflict.label_id] = names
            merge.outgoing.append(Change(conflict.label_id, conflict.ours, tuple(names)))
        else:
            merge.incoming.append(picked)
            # A choice among several is pushed later as a change of all of them, so that nobody has to make it again.
            merge.pulled[conflict.label_id] = names
            merge.dropped += conflict.overlapped
    merge.conflicts[:] = left


def _is_unchanged(mine: HumanLabel | None, before: Sequence[Revision]) -> bool:
    """Whether a label is as it was at the last pull or push."""
    return mine is None if not before else len(before) == 1 and same(mine, before[0].label)


def _find_overlaps(merge: Merge, ours: Mapping[str, HumanLabel]) -> None:
    """Turn shared labels that overlap others of their author here into conflicts."""
    leaving = {each.label_id for each in merge.incoming if each.label is None}
    staying = [label for name, label in ours.items() if name not in leaving]
    kept = []
    for each in merge.incoming:
        label = each.label
        hit = () if label is None else tuple(o for o in staying if o.label_id != each.label_id and o.overlaps(label))
        if hit:
            merge.conflicts.append(Conflict(each.label_id, ours.get(each.label_id), (each,), hit))
            del merge.pulled[each.label_id]
        else:
            kept.append(each)
    merge.incoming[:] = kept
