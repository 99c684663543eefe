"""Days that are scored already are listed without being loaded."""

import datetime as dt
import os
from pathlib import Path

import polars as pl
import pytest

from orchestration.runs.detectors.detection import is_scored
from tapewatch.features.bins.batch import bins_5s
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.derived import BINS_5S, INCIDENTS
from tapewatch.store.lake.lake import Lake
from tests.support.scans import tape


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A day of bins."""
    made, lake = tape(2), Lake(tmp_path)
    lake.write(BINS_5S, DAY, bins_5s(made.trades, made.quotes, made.session))
    return lake


DAY = Partition(tape(2).session.date, Market.STOCKS)


def incidents(*models: str) -> pl.DataFrame:
    times = [
        dt.datetime.fromtimestamp(DAY.session.regular_start // 10**9 + 60 * at, dt.UTC) for at in range(len(models))
    ]
    columns = {"symbol": "AAPL", "kind": "price_jump", "surprise": 1.5, "hours": 20.0, "reasons": "[]"}
    rows = [
        {**columns, "start_time": time, "end_time": time, "known_time": time, "model": model}
        for time, model in zip(times, models, strict=True)
    ]
    return INCIDENTS.conform(pl.DataFrame(rows)) if rows else INCIDENTS.empty()


@pytest.mark.parametrize(
    ("models", "expected"),
    [(("scan/2", "scan/2"), True), (("scan/1", "scan/1"), False), (("scan/2", "scan/1"), False), ((), False)],
)
def test_all_incidents_are_of_the_model_that_is_asked_for(lake: Lake, models: tuple[str, ...], expected: bool) -> None:
    assert not is_scored(lake, DAY, "scan/2")
    lake.write(INCIDENTS, DAY, incidents(*models))
    assert is_scored(lake, DAY, "scan/2") is expected


def test_newer_bins_are_scored_again(lake: Lake) -> None:
    lake.write(INCIDENTS, DAY, incidents("scan/2"))
    newer = lake.written_ns(INCIDENTS, DAY) + 10**9
    os.utime(lake.path(BINS_5S, DAY).path, ns=(newer, newer))
    assert not is_scored(lake, DAY, "scan/2")
