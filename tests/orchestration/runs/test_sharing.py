"""Labels shared through a real S3 server and a plain folder: two people push at once, and nothing of either is lost."""

import datetime as dt
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from orchestration.runs.labels import sharing
from tapewatch.labels.people.human import HumanLabel, LabelError
from tapewatch.market.instruments import Market
from tapewatch.market.tables.live import AUDIT, LABELS
from tapewatch.settings import Settings
from tapewatch.store.database.database import Database
from tapewatch.store.database.people.human_labels import add_labels, remove_labels

NOON = dt.datetime(2024, 3, 5, 17, tzinfo=dt.UTC)
ASK = sharing.choice_of(None, {})


def label(author: str, place: int, kind: str = "unusual") -> HumanLabel:
    start = NOON + dt.timedelta(minutes=10 * place)
    return HumanLabel(Market.STOCKS, "AAPL", start, start + dt.timedelta(minutes=5), kind, author, 0.5)


@pytest.fixture
def desk(tmp_path: Path) -> Callable[[str], Settings]:
    """The settings of a person's own machine."""

    def made(name: str) -> Settings:
        return Settings(home=tmp_path / name, _env_file=None)

    return made


def add(settings: Settings, *labels: HumanLabel) -> None:
    settings.home.mkdir(exist_ok=True)
    with Database(settings.database) as database:
        add_labels(database, labels, actor="test", source="test")


def change(settings: Settings, label: HumanLabel, kind: str) -> None:
    with Database(settings.database) as database:
        remove_labels(database, [label.label_id], actor="test")
        add_labels(database, [replace(label, kind=kind)], actor="test", source="test")


def said(settings: Settings) -> set[tuple[str, dt.datetime, str]]:
    with Database(settings.database) as database:
        return set(database.read(LABELS).select("author", "start_time", "kind").rows())


@pytest.mark.slow
def test_people_who_push_to_a_bucket_at_once_lose_nothing(bucket: str, desk: Callable[[str], Settings]) -> None:
    place = f"s3://{bucket}/labels"
    people = [desk(name) for name in ("ann", "ben", "cid", "dan")]
    shared = label("ann", 0)
    add(people[0], shared)
    assert sharing.push(people[0], place, ASK, upsert=False).added == 1
    for number, person in enumerate(people):
        sharing.pull(person, place, ASK)
        add(person, *(label(person.home.name, 1 + each) for each in range(3)))
        change(person, shared, ("volume_spike", "price_jump", "flash_crash", "normal")[number])
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda person: sharing.push(person, place, ASK, upsert=True), people))
    # All four read the same place, or the later ones saw the earlier one's change and were refused.
    pushed = [each for each in done if not each.conflicts]
    assert pushed
    assert all((each.added, each.changed) == (3, 1) for each in pushed)
    assert all(each.conflicts[0].label_id == shared.label_id for each in done if each.conflicts)
    for person in people:
        sharing.pull(person, place, sharing.choice_of("theirs", {}))
        sharing.push(person, place, ASK, upsert=True)
    for person in people:
        assert not sharing.pull(person, place, sharing.choice_of("theirs", {})).conflicts
    assert all(said(person) == said(people[0]) for person in people)
    assert len(said(people[0])) == 1 + 4 * 3


def test_changes_and_removals_come_with_upsert_alone_and_a_conflict_stops_a_push(
    tmp_path: Path, desk: Callable[[str], Settings]
) -> None:
    place, ann, ben = str(tmp_path / "team" / "labels"), desk("ann"), desk("ben")
    first, second = label("ann", 0), label("ann", 1)
    add(ann, first, second)
    assert sharing.push(ann, place, ASK, upsert=False).added == 2
    ben.home.mkdir()
    assert sharing.pull(ben, place, ASK).added == 2
    change(ann, first, "normal")
    with Database(ann.database) as database:
        remove_labels(database, [second.label_id], actor="test")
    assert sharing.push(ann, place, ASK, upsert=False).left_out == 2
    assert sharing.pull(ben, place, ASK) == sharing.Outcome(0, 0, 0, 0, ())
    done = sharing.push(ann, place, ASK, upsert=True)
    assert (done.added, done.changed, done.removed) == (0, 1, 1)
    change(ben, first, "price_jump")
    before = sorted(Path(place).iterdir())
    (conflict,) = sharing.push(ben, place, ASK, upsert=True).conflicts
    assert sorted(Path(place).iterdir()) == before
    done = sharing.pull(ben, place, ASK)
    assert (done.removed, [each.label_id for each in done.conflicts]) == (1, [first.label_id])
    assert said(ben) == {("ann", NOON, "price_jump")}
    with pytest.raises(LabelError, match="has no revision 'mine'"):
        sharing.pull(ben, place, sharing.choice_of(None, {first.label_id: "mine"}))
    sharing.pull(ben, place, sharing.choice_of(None, {first.label_id: conflict.theirs[0].revision_id}))
    assert said(ben) == said(ann) == {("ann", NOON, "normal")}
    with Database(ben.database) as database:
        assert database.read(AUDIT)["action"].to_list().count("pull") == 3


def test_a_damaged_object_is_named_and_nothing_is_pulled(tmp_path: Path, desk: Callable[[str], Settings]) -> None:
    place, ann, ben = tmp_path / "team", desk("ann"), desk("ben")
    add(ann, label("ann", 0))
    sharing.push(ann, str(place), ASK, upsert=False)
    (place / "20240101T000000000000-x-y.labels.json").write_text("{}")
    ben.home.mkdir()
    with pytest.raises(LabelError, match=r"x-y\.labels\.json is no push of labels"):
        sharing.pull(ben, str(place), ASK)
    assert said(ben) == set()
