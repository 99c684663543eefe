"""Making labels: proposed edges, saving, taking back, and what to label next."""

import datetime as dt

import polars as pl

from dashboard.reading.happenings import feed
from tapewatch.labels.people.human import HumanLabel, LabelError
from tapewatch.market.tables.live import ALERT_VERDICTS, LABELS
from tapewatch.store.database.database import Database
from tapewatch.store.database.people.human_labels import add_labels, remove_labels
from tapewatch.store.database.people.label_classes import offered
from tapewatch.store.labelling import check_tape
from tapewatch.store.lake.lake import Lake


def save(lake: Lake, database: Database, label: HumanLabel) -> bool:
    """Add a label by its author, who is logged in; False if it is stored as it stands already.

    Raises:
        LabelError: it is not allowed, lies outside the tape, or overlaps another of its author.
    """
    label.check({label.author}, offered(database))
    check_tape(lake, label)
    return add_labels(database, [label], actor=label.author, source="dashboard") == 1


def take_back(database: Database, label_id: str, author: str) -> HumanLabel:
    """Remove a label of one's own, and return it.

    Raises:
        LabelError: there is no such label, or another person made it.
    """
    stored = database.read(LABELS, where={"label_id": label_id})
    if stored.height and stored["author"][0] != author:
        raise LabelError(f"{label_id} is a label by {stored['author'][0]}: only its author takes it back here")
    return remove_labels(database, [label_id], actor=author)[0]


def own_labels(database: Database, author: str, most: int = 50) -> pl.DataFrame:
    """An author's newest labels, by when they were made: the rows of `LABELS` with market."""
    rows = database.read(LABELS, where={"author": author})
    return rows.sort("created_time", descending=True).head(most)


def queue(database: Database, author: str, *, most: int = 30, since: dt.datetime | None = None) -> pl.DataFrame:
    """What to judge next: alerts and incidents without a verdict of anyone, nearest to their threshold first (`FEED`).

    There the detectors are least sure, so that a verdict adds the most to their training (Lewis and Gale 1994, uncertainty sampling). What the
    author has labelled already, by overlap in time, is left out.
    """
    waiting = feed(database, start=since, most=2_000)
    judged = database.read(ALERT_VERDICTS)["alert_id"].to_list()
    waiting = waiting.filter(~pl.col("id").is_in(judged), pl.col("symbol") != "")
    mine = database.read(LABELS, where={"author": author}).select(
        "market", "symbol", label_start="start_time", label_end="end_time"
    )
    until = pl.coalesce("end_time", "start_time")
    covered = (
        waiting.join(mine, on=["market", "symbol"])
        .filter(pl.col("label_start") <= until, pl.col("label_end") >= pl.col("start_time"))
        .select("id")
    )
    distance = pl.col("threshold_ratio").clip(lower_bound=1e-3).log().abs()
    open_ones = waiting.join(covered, on="id", how="anti")
    return open_ones.sort(distance, pl.col("start_time"), descending=[False, True]).head(most)
