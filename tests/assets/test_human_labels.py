"""`labels/human_labels`: people's labels of the day, and in place of those that differ what was decided."""

from pathlib import Path

import dagster as dg
import pytest

from assets.labels.further_labels import human_labels
from resources.lake import LakeIOManager, LakeResource
from resources.stores import DatabaseResource
from tapewatch.labels.kinds import KINDS
from tapewatch.labels.people.human import HumanLabel
from tapewatch.market.instruments import Market
from tapewatch.market.tables.labels import HUMAN_LABELS
from tapewatch.store.database.database import Database
from tapewatch.store.database.people.adjudications import adjudicate
from tapewatch.store.database.people.human_labels import add_labels
from tapewatch.store.lake.lake import Lake
from tests.support.watched_home import BURST, DAY, write_home


def label(author: str, kind: str, symbol: str = "AAPL") -> HumanLabel:
    return HumanLabel(Market.STOCKS, symbol, *BURST, kind, author, 0.6)


@pytest.mark.long
def test_a_decision_is_written_in_place_of_the_labels_that_differ(tmp_path: Path) -> None:
    write_home(tmp_path)
    lake, url = LakeResource(root=str(tmp_path / "lake")), f"sqlite:///{tmp_path / 'tapewatch.db'}"
    both = label("ann", "volume_spike"), label("ben", "normal")
    resources = {"lake": lake, "lake_io": LakeIOManager(lake=lake), "database": DatabaseResource(url=url)}

    def written() -> list[tuple[str, str, float]]:
        dg.materialize([human_labels], resources=resources, partition_key=str(DAY))
        rows = Lake(tmp_path / "lake").read(HUMAN_LABELS, DAY)
        return sorted((str(row["author"]), str(row["kind"]), row["confidence"]) for row in rows.iter_rows(named=True))

    with Database(url) as database:
        add_labels(database, [*both, label("ann", "unusual", "MSFT")], actor="test", source="test")
        before = written()
        adjudicate(database, [each.label_id for each in both], label("mia", "volume_spike"), kinds=KINDS)
    others = [("ann", "unusual", 0.6)]
    assert before == sorted([("ann", "volume_spike", 0.6), ("ben", "normal", 0.6), *others])
    assert written() == sorted([("mia", "volume_spike", 1.0), *others])
