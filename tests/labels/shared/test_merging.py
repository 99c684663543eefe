"""Shared labels: whoever pushes when, nothing that anyone said is lost or replaced unseen, and in the end all say the same."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapewatch.labels.people.human import HumanLabel, LabelError
from tapewatch.labels.shared.merging import Merge, compare, resolve
from tapewatch.labels.shared.revisions import Revision, pushed_text, read_pushed, same
from tapewatch.market.instruments import Market

NOON = dt.datetime(2024, 3, 5, 17, tzinfo=dt.UTC)


def label(place: int, kind: str = "unusual", author: str = "ann", minutes: int = 5) -> HumanLabel:
    start = NOON + dt.timedelta(minutes=10 * place)
    return HumanLabel(
        Market.STOCKS, "AAPL", start, start + dt.timedelta(minutes=minutes), kind, author, 0.5, None, NOON
    )


@dataclass
class Person:
    """One machine: its labels, and what it has seen of the place."""

    name: str
    labels: dict[str, HumanLabel] = field(default_factory=dict)
    seen: Mapping[str, list[str]] = field(default_factory=dict)

    def pull(self, place: list[Revision], side: str | None = None) -> Merge:
        merge = compare(self.labels, place, self.seen)
        resolve(merge, lambda _: side)
        for each in merge.incoming:
            self.labels.pop(each.label_id, None)
            if each.label is not None:
                self.labels[each.label_id] = each.label
        for gone in merge.dropped:
            self.labels.pop(gone.label_id, None)
        self.seen = merge.seen | merge.pulled
        return merge

    def push(self, place: list[Revision], clock: int, read: list[Revision] | None = None) -> list[str]:
        """Push what is new here, if nothing is in conflict; `read` is what the place held when it was read."""
        merge = compare(self.labels, place if read is None else read, self.seen)
        if merge.conflicts:
            return []
        for each in merge.outgoing:  # what this person has not seen is not replaced
            assert set(each.replaces) <= set(self.seen.get(each.label_id, ()))
        at = NOON + dt.timedelta(seconds=clock)
        made = [Revision(each.label_id, each.replaces, each.label, self.name, at) for each in merge.outgoing]
        place += made
        self.seen = merge.seen | {each.label_id: [each.revision_id] for each in made}
        return [each.revision_id for each in made]


PEOPLE = ("ann", "ben", "cid")
_steps = st.lists(
    st.tuples(
        st.sampled_from(PEOPLE),
        st.sampled_from(["unusual", "price_jump", "normal", None, "pull", "theirs", "ours", "push", "push at once"]),
        st.integers(0, 2),
    ),
    max_size=40,
)


@given(_steps)
def test_nothing_pushed_is_lost_and_all_agree_in_the_end(steps: list[tuple[str, str | None, int]]) -> None:
    people, place = {name: Person(name) for name in PEOPLE}, list[Revision]()
    stale: list[Revision] = []
    own: dict[str, set[str]] = {name: set() for name in PEOPLE}
    for clock, (name, step, at) in enumerate(steps):
        person, edited = people[name], label(at)
        if step in ("pull", "theirs", "ours"):
            before = dict(person.labels)
            person.pull(place, None if step == "pull" else step)
            if step != "theirs":  # what this person changed, and has not pushed, stays as it is
                assert all(person.labels.get(each) == before.get(each) for each in own[name])
            own[name] = own[name] if step != "theirs" else set()
        elif step in ("push", "push at once"):
            stale, read = (list(place), None) if step == "push" else (stale, stale)
            made = person.push(place, clock, read)
            own[name] -= {each.label_id for each in place if each.revision_id in made}
        elif step is None:
            person.labels.pop(edited.label_id, None)
            own[name].add(edited.label_id)
        else:
            person.labels[edited.label_id] = replace(edited, kind=step)
            own[name].add(edited.label_id)
    for round_ in range(2):
        for clock, person in enumerate(people.values()):
            person.pull(place, "theirs")
            person.push(place, 1000 * (round_ + 1) + clock)
    for person in people.values():
        merge = person.pull(place)
        assert not merge.conflicts
        assert not merge.outgoing
    ann, *others = people.values()
    for other in others:
        assert ann.labels.keys() == other.labels.keys()
        assert all(same(ann.labels[name], other.labels[name]) for name in ann.labels)


def test_the_same_label_changed_by_two_at_once_is_settled_by_row() -> None:
    place: list[Revision] = []
    ann, ben = Person("ann"), Person("ben")
    first = label(0)
    ann.labels[first.label_id] = first
    ann.push(place, 0)
    ben.pull(place)
    read = list(place)
    ann.labels[first.label_id] = replace(first, kind="price_jump")
    ben.labels[first.label_id] = replace(first, kind="normal")
    ann.push(place, 1, read)
    ben.push(place, 2, read)
    (conflict,) = ann.pull(place).conflicts
    assert [each.label.kind for each in conflict.theirs if each.label] == ["price_jump", "normal"]
    assert conflict.newest.pushed_by == "ben"
    assert ann.labels[first.label_id].kind == "price_jump"
    ann.pull(place, "ours")
    ann.push(place, 3)
    assert not ben.pull(place).conflicts
    assert ben.labels[first.label_id].kind == "price_jump"


def test_a_shared_label_that_overlaps_one_of_its_author_here_is_a_conflict() -> None:
    place: list[Revision] = []
    desk, laptop = Person("ann"), Person("ann")
    long, short = label(0), label(0, minutes=3)
    desk.labels[long.label_id] = long
    desk.push(place, 0)
    laptop.labels[short.label_id] = short
    (conflict,) = laptop.pull(place).conflicts
    assert conflict.overlapped == (short,)
    assert laptop.push(place, 1) == []
    laptop.pull(place, "theirs")
    assert laptop.labels == {long.label_id: long}


def test_a_push_is_read_as_it_was_written_and_damage_is_named() -> None:
    made = [
        Revision(label(0).label_id, ("a", "b"), replace(label(0), note='"x"\n'), "ann", NOON),
        Revision("gone", ("c",), None, "ann", NOON),
    ]
    text = pushed_text(made, "ann", NOON)
    assert read_pushed(text, "x") == made
    for bad, why in (("{", "no push"), ("[]", "no push"), (text.replace("AAPL", "MSFT"), "was changed")):
        with pytest.raises(LabelError, match=why):
            read_pushed(bad, "x")
