"""Logged requests are scored again, by the same version and by another."""

import datetime as dt
from pathlib import Path

import numpy as np
import pytest

from models.isolation_forest.detector import ForestParameters, IsolationForestDetector
from models.served.minutes import Minutes
from orchestration.runs.detectors.replay import ReplayError, replay
from serving.loader import Scorer
from serving.traffic.log import TrafficLog
from tapewatch.settings import Settings
from tests.support.detectors import extreme, fitted, ordinary_rows


def test_the_same_version_agrees_and_another_shows_its_difference(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, _env_file=None)
    store = settings.bento_home / "models" / "tapewatch_detector"
    fitted().save(store / "isolation_forest-3")
    IsolationForestDetector(ForestParameters(trees=20, samples=128), seed=9).fit(ordinary_rows(7)).save(
        store / "isolation_forest-4"
    )
    today = dt.datetime.now(dt.UTC).date()
    span = today - dt.timedelta(days=1), today
    with pytest.raises(ReplayError, match="TAPEWATCH_SCORING_SAMPLE"):
        replay(settings, *span, name="isolation_forest", version="3")
    scorer = Scorer.load(store / "isolation_forest-3", name="isolation_forest", version="3")
    log = TrafficLog(settings.lake_root, 1.0)
    for rows in (ordinary_rows(5).head(50), extreme(ordinary_rows(5).slice(60, 5))):
        judged = scorer.judged(Minutes.of_frame(rows, scorer.features))
        log.add("score", "id", scorer.model, scorer.feature_version, judged)
    assert log.flush() == 55
    same = replay(settings, *span, name=None, version="3")
    assert same.agreement == 1.0
    assert same.rows["score"].to_list() == same.rows["score_now"].to_list()
    other = replay(settings, *span, name="isolation_forest", version="4")
    assert np.abs(other.rows["score"].to_numpy() - other.rows["score_now"].to_numpy()).max() > 1e-3
    assert other.rows.filter("is_anomaly").height >= 5
    assert other.table().row_count == other.rows["symbol"].n_unique() + 1
