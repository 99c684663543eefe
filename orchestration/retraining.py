"""When detectors are trained again: nightly, on new labels, on drift; never within the pause after the last training."""

import datetime as dt
from dataclasses import dataclass
from typing import Final

import dagster as dg
import polars as pl

from resources.lake import LakeResource
from resources.stores import DatabaseResource
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.derived import DRIFT
from tapewatch.market.tables.live import ALERT_VERDICTS, LABELS
from tapewatch.market.tables.review import ADJUDICATIONS

TRAINING: Final = "train_detectors"
#: Pauses since the last training, by what asks for one.
NIGHTLY_PAUSE, LABELS_PAUSE, DRIFT_PAUSE = dt.timedelta(hours=12), dt.timedelta(hours=6), dt.timedelta(hours=24)
#: So many new labels and verdicts are worth a training; so many measures that drift, or the scores, alerts or verdicts.
ENOUGH_LABELS, ENOUGH_DRIFT = 20, 5
_ALONE = ("score", "alerts", "verdicts")
#: Runs that are under way or succeeded; one that failed is no training.
_COUNTING = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.SUCCESS,
)


@dataclass(frozen=True, slots=True)
class LastTraining:
    """When the last training began; None if there was none."""

    began: dt.datetime | None

    @classmethod
    def of(cls, instance: dg.DagsterInstance) -> "LastTraining":
        """From the runs of the job."""
        found = instance.get_run_records(dg.RunsFilter(job_name=TRAINING, statuses=list(_COUNTING)), limit=1)
        return cls(found[0].create_timestamp.astimezone(dt.UTC) if found else None)

    def too_soon(self, now: dt.datetime, pause: dt.timedelta) -> str | None:
        """Why another training must wait; None if it need not."""
        if self.began is None or now - self.began >= pause:
            return None
        return f"the last training began at {self.began:%Y-%m-%d %H:%M} UTC; the next may from {self.began + pause:%Y-%m-%d %H:%M} on"


def new_labels(database: DatabaseResource, since: dt.datetime | None) -> int:
    """Labels, verdicts and decisions between labels that people gave since a time."""
    with database.open() as store:
        given = [store.read(table)["created_time"] for table in (LABELS, ALERT_VERDICTS, ADJUDICATIONS)]
    # Of labels and decisions the time of the tape is another than when they were given.
    return sum(times.len() if since is None else int((times >= since).sum()) for times in given)


def drifting(lake: LakeResource) -> dict[Partition, list[str]]:
    """The newest day of each market of which drift was measured, if enough drifts there: names of what does."""
    opened, found = lake.open(), {}
    for market in Market:
        days = opened.partitions(DRIFT, market)
        if not days:
            continue
        names = opened.read(DRIFT, days[-1]).filter("is_drifting")["name"].cast(pl.String).to_list()
        if len(names) >= ENOUGH_DRIFT or set(names) & set(_ALONE):
            found[days[-1]] = sorted(names, key=lambda name: (name not in _ALONE, name))
    return found
