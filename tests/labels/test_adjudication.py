"""Where labels differ, and what counts once somebody decided."""

import datetime as dt

import polars as pl
import pytest

from tapewatch.labels.kinds import KINDS
from tapewatch.labels.people.adjudication import settled
from tapewatch.labels.people.human import HumanLabel, LabelError
from tapewatch.market.instruments import Market
from tapewatch.market.tables.live import AUDIT, LABELS
from tapewatch.market.tables.review import ADJUDICATIONS
from tapewatch.store.database.database import Database
from tapewatch.store.database.people.adjudications import adjudicate, open_disagreements
from tapewatch.store.database.people.human_labels import add_labels, remove_labels

NOON = dt.datetime(2024, 3, 5, 17, tzinfo=dt.UTC)


def label(author: str, kind: str, first: int, last: int, symbol: str = "AAPL") -> HumanLabel:
    start, end = (NOON + dt.timedelta(minutes=each) for each in (first, last))
    return HumanLabel(Market.STOCKS, symbol, start, end, kind, author, 0.5)


ANN, BEN, CID = label("ann", "price_jump", 0, 10), label("ben", "unusual", 5, 15), label("cid", "price_jump", 14, 20)
#: Agreed on, alone, of one author, and at another's end: no disagreement.
QUIET = (
    label("ann", "normal", 30, 35), label("ben", "normal", 31, 36), label("ann", "unusual", 40, 50),
    label("ann", "normal", 50, 52), label("ben", "price_jump", 52, 55), label("ben", "unusual", 0, 10, "MSFT"),
)  # fmt: skip


@pytest.fixture
def database(tmp_path) -> Database:
    opened = Database(f"sqlite:///{tmp_path / 'tapewatch.db'}")
    add_labels(opened, [ANN, BEN, CID, *QUIET], actor="test", source="test")
    yield opened
    opened.close()


def kept(database: Database) -> list[tuple[str, str]]:
    rows = settled(database.read(LABELS), database.read(ADJUDICATIONS))
    return sorted(rows.filter(pl.col("start_time") < NOON + dt.timedelta(minutes=25)).select("author", "kind").rows())


def decide(database: Database, ids: list[str], kind: str = "volume_spike", first: int = 2, last: int = 12) -> str:
    return adjudicate(database, ids, label("mia", kind, first, last), kinds=KINDS)


def test_a_decision_counts_in_place_of_labels_that_hang_together_and_differ(database: Database) -> None:
    (group,) = open_disagreements(database)
    assert [each.author for each in group] == ["ann", "ben", "cid"]
    before = database.read(LABELS)
    name = decide(database, [each.label_id for each in group])
    assert open_disagreements(database) == []
    assert database.read(LABELS).equals(before)
    assert kept(database) == [("ben", "unusual"), ("mia", "volume_spike")]  # ben's other one is of MSFT
    (decision,) = database.read(ADJUDICATIONS).iter_rows(named=True)
    assert (decision["adjudication_id"], decision["author"], decision["is_anomaly"]) == (name, "mia", True)
    assert '"author": "ann", "kind": "price_jump"' in decision["judged"]
    assert database.read(AUDIT)["action"].to_list()[-1] == "adjudicate"


def test_a_label_changed_after_the_decision_opens_it_again_and_the_newer_one_counts(database: Database) -> None:
    ids = [each.label_id for each in (ANN, BEN, CID)]
    decide(database, ids)
    remove_labels(database, [BEN.label_id], actor="ben")
    assert open_disagreements(database) == []  # ann and cid agree
    add_labels(database, [label("ben", "flash_crash", 5, 15)], actor="ben", source="test")
    (group,) = open_disagreements(database)
    assert {each.label_id for each in group} == set(ids)
    decide(database, ids, "normal")
    assert open_disagreements(database) == []
    assert ("mia", "normal") in kept(database)
    assert ("ann", "price_jump") not in kept(database)


def test_what_is_no_decision_of_an_open_disagreement_is_refused(database: Database) -> None:
    ids = [each.label_id for each in (ANN, BEN, CID)]
    for given, more, why in (
        (ids[:2], {}, "changed or decided meanwhile"),
        (ids, {"kind": "nonsense"}, "no kind of anomaly"),
        (ids, {"last": 25}, "reaches beyond the labels"),
        (ids, {"first": 12, "last": 12}, "ends before it starts"),
    ):
        with pytest.raises(LabelError, match=why):
            decide(database, given, **more)
    assert database.read(ADJUDICATIONS).is_empty()
