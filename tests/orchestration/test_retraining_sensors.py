"""Training is asked for by labels, by drift and nightly, and never within the pause after the last one."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from orchestration.retraining import ENOUGH_LABELS, LABELS_PAUSE, NIGHTLY_PAUSE, LastTraining
from orchestration.schedules import train_detectors_daily
from orchestration.sensors import drift_sensor, new_labels_sensor
from resources.lake import LakeResource
from resources.stores import DatabaseResource
from tapewatch.labels.people.human import HumanLabel
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.derived import DRIFT
from tapewatch.market.tables.live import ALERT_VERDICTS
from tapewatch.store.database.database import Database
from tapewatch.store.database.people.human_labels import add_labels
from tapewatch.store.lake.lake import Lake

DAY = Partition(dt.date(2024, 6, 3), Market.STOCKS)


@dg.op
def nothing() -> None:
    """Stands for a training."""


@dg.job(name="train_detectors")
def training() -> None:
    """A run of the job's name."""
    nothing()


@dg.job(name="update_day")
def other() -> None:
    """Another job."""
    nothing()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def verdicts(count: int) -> pl.DataFrame:
    now = dt.datetime.now(dt.UTC)
    rows = [
        {
            "alert_id": f"{number}",
            "symbol": "AAPL",
            "author": "ada",
            "verdict": "dismissed",
            "note": None,
            "created_time": now,
        }
        for number in range(count)
    ]
    return ALERT_VERDICTS.conform(pl.DataFrame(rows, schema_overrides={"note": pl.String}))


def labels_tick(url: str, instance: dg.DagsterInstance) -> dg.SensorResult:
    with dg.build_sensor_context(instance=instance, resources={"database": DatabaseResource(url=url)}) as context:
        result = new_labels_sensor(context)
    assert isinstance(result, dg.SensorResult)
    return result


def test_enough_verdicts_ask_for_a_training_and_a_training_starts_the_count_anew(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    url = f"sqlite:///{tmp_path}/tapewatch.db"
    with Database(url) as database:
        database.upsert(ALERT_VERDICTS, DAY, verdicts(ENOUGH_LABELS - 1))
        few = labels_tick(url, instance)
        assert not few.run_requests
        assert f"{ENOUGH_LABELS - 1} label(s)" in str(few.skip_reason.skip_message)
        database.upsert(ALERT_VERDICTS, DAY, verdicts(ENOUGH_LABELS))
    (request,) = labels_tick(url, instance).run_requests
    assert request.tags["because"] == f"{ENOUGH_LABELS} new labels"
    other.execute_in_process(instance=instance)
    assert labels_tick(url, instance).run_requests
    training.execute_in_process(instance=instance)
    after = labels_tick(url, instance)
    assert not after.run_requests
    assert "the last training began at" in str(after.skip_reason.skip_message)


def test_labels_count_by_when_they_were_made_not_by_when_the_tape_was(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, monday = f"sqlite:///{tmp_path}/tapewatch.db", dt.datetime(2024, 6, 3, 15, tzinfo=dt.UTC)
    began = dt.datetime.now(dt.UTC) - LABELS_PAUSE - dt.timedelta(minutes=1)
    monkeypatch.setattr(LastTraining, "of", classmethod(lambda cls, _: cls(began)))
    minutes = [monday + dt.timedelta(minutes=i) for i in range(ENOUGH_LABELS + 3)]
    labels = [
        HumanLabel(Market.STOCKS, "AAPL", start, start + dt.timedelta(seconds=30), "unusual", "ann", created=made)
        for start, made in zip(minutes, [began - dt.timedelta(hours=1)] * 3 + [None] * ENOUGH_LABELS, strict=True)
    ]
    with Database(url) as database:
        add_labels(database, labels[:-1], actor="ann", source="test")
        assert not labels_tick(url, instance).run_requests
        add_labels(database, labels, actor="ann", source="test")
    (request,) = labels_tick(url, instance).run_requests
    assert request.tags["because"] == f"{ENOUGH_LABELS} new labels"


def drift(names: list[str]) -> pl.DataFrame:
    return DRIFT.conform(
        pl.DataFrame(
            [
                {
                    "subject": name if name == "score" else "feature",
                    "name": name,
                    "rows": 1,
                    "reference_rows": 1,
                    "is_drifting": True,
                    "model": "m/1",
                }
                for name in names
            ]
        )
    )


def drift_tick(root: Path, instance: dg.DagsterInstance, cursor: str | None) -> dg.SensorResult:
    resources = {"lake": LakeResource(root=str(root))}
    with dg.build_sensor_context(instance=instance, cursor=cursor, resources=resources) as context:
        result = drift_sensor(context)
    assert isinstance(result, dg.SensorResult)
    return result


def test_a_day_that_drifts_asks_for_one_training(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    lake = Lake(tmp_path)
    assert not drift_tick(tmp_path, instance, None).run_requests
    lake.write(DRIFT, DAY, drift(["vpin", "return_bps"]))
    assert not drift_tick(tmp_path, instance, None).run_requests
    lake.write(DRIFT, DAY, drift(["score", "vpin"]))
    first = drift_tick(tmp_path, instance, None)
    (request,) = first.run_requests
    assert (request.run_key, request.tags["because"]) == (
        "drift:2024-06-03|stocks",
        "2024-06-03|stocks drifts: score, vpin",
    )
    again = drift_tick(tmp_path, instance, first.cursor)
    assert not again.run_requests
    training.execute_in_process(instance=instance)
    lake.write(DRIFT, Partition(dt.date(2024, 6, 4), Market.STOCKS), drift(["score"]))
    assert not drift_tick(tmp_path, instance, again.cursor).run_requests


@pytest.mark.long
def test_the_nightly_training_waits_for_the_pause(tmp_path: Path) -> None:
    # The context of a schedule opens the instance anew.
    instance = dg.DagsterInstance.local_temp(str(tmp_path))

    def asked(now: dt.datetime) -> object:
        with dg.build_schedule_context(instance=instance, scheduled_execution_time=now) as context:
            return train_detectors_daily(context)

    now = dt.datetime.now(dt.UTC)
    assert isinstance(asked(now), dg.RunRequest)
    training.execute_in_process(instance=instance)
    began = LastTraining.of(instance).began
    assert began is not None
    assert isinstance(asked(began + NIGHTLY_PAUSE - dt.timedelta(minutes=1)), dg.SkipReason)
    assert isinstance(asked(began + NIGHTLY_PAUSE), dg.RunRequest)
