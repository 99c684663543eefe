"""The challenger scores what the champion answered; its agreement is counted, and callers see no difference."""

import json
from pathlib import Path

import polars as pl
import pytest
from starlette.testclient import TestClient

from models.isolation_forest.detector import ForestParameters, IsolationForestDetector
from models.served.minutes import Minutes
from serving.app import application
from serving.deployment import Deployment
from serving.http.log import Log
from serving.shadow import _MOST_WAITING
from serving.store import CHALLENGER, point
from tests.support.detectors import extreme, fitted, ordinary_rows
from tests.support.scoring import deployment_in, put_model

SILENT = Log(is_quiet=True)


@pytest.fixture(scope="module")
def other() -> IsolationForestDetector:
    """Another forest with a threshold so low that it calls many ordinary minutes anomalous."""
    forest = IsolationForestDetector(ForestParameters(trees=20, samples=128, alerts_per_symbol_hour=20.0), seed=9)
    return forest.fit(ordinary_rows(7), partitions=["2024-06-03|stocks"])


@pytest.fixture
def deployment(tmp_path: Path, other: IsolationForestDetector) -> Deployment:
    made = deployment_in(tmp_path / "bentoml")
    point(tmp_path / "bentoml", CHALLENGER, put_model(tmp_path / "bentoml", "4", other).tag)
    made.shadow.look(SILENT)
    return made


def rows_of(frame: pl.DataFrame) -> list[dict[str, object]]:
    return json.loads(frame.select("symbol", "event_time", *fitted().features).write_json()) if frame.height else []


def asked(client: TestClient, frame: pl.DataFrame) -> list[dict[str, object]]:
    rows = [
        {**row, "symbol": str(row["symbol"]), "event_time": str(time.isoformat())}
        for row, time in zip(rows_of(frame), frame["event_time"], strict=True)
    ]
    return client.post("/score", json={"rows": rows}).raise_for_status().json()["results"]


@pytest.mark.long
def test_agreement_is_that_of_both_detectors(deployment: Deployment, other: IsolationForestDetector) -> None:
    frame = pl.concat([ordinary_rows(5).head(300), extreme(ordinary_rows(5).slice(350, 20))])
    with TestClient(application(deployment), base_url="http://127.0.0.1") as client:
        before = client.get("/models").json()["models"]
        assert [card["role"] for card in before] == ["champion", "challenger"]
        assert before[1]["agreement"]["share"] is None
        answers = asked(client, frame)
        assert deployment.shadow.drain(SILENT) == frame.height
        champion, challenger = client.get("/models").json()["models"]
        metrics = client.get("/metrics").text
    mine, its = fitted().score(frame), other.score(frame)
    is_mine, is_its = mine >= fitted().threshold, its >= other.threshold
    assert [answer["is_anomaly"] for answer in answers] == is_mine.tolist()
    agreement = challenger["agreement"]
    assert champion["agreement"] is None
    assert (agreement["rows"], agreement["gained"], agreement["lost"]) == (
        frame.height,
        (is_its & ~is_mine).sum(),
        (is_mine & ~is_its).sum(),
    )
    assert agreement["gained"] > 0
    assert agreement["share"] == pytest.approx((is_mine == is_its).mean())
    assert agreement["mean_difference"] == pytest.approx(abs(mine - its).mean(), abs=1e-6)
    assert challenger["lineage"] == {"mlflow_run": "run-4"}
    share = next(line for line in metrics.splitlines() if line.startswith("tapewatch_scoring_shadow_agreement"))
    assert share.startswith('tapewatch_scoring_shadow_agreement{name="isolation_forest",version="4"}')
    assert float(share.split()[-1]) == pytest.approx(agreement["share"])


def test_what_comes_too_fast_is_dropped_and_counted_and_answered_all_the_same(deployment: Deployment) -> None:
    frame = pl.concat([ordinary_rows(5)] * 9)
    scorer = deployment.slot.scorer
    judged = scorer.judged(Minutes.of_frame(frame, scorer.features))
    for _ in range(4):
        deployment.shadow.offer(scorer, judged)
    kept = _MOST_WAITING // frame.height * frame.height
    assert deployment.shadow.agreement.dropped == 4 * frame.height - kept
    assert deployment.shadow.drain(SILENT) == kept
    assert deployment.shadow.agreement.rows == kept


def test_a_challenger_that_cannot_be_used_is_refused_and_the_champion_goes_on(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    home = deployment.slot.bento_home
    assert home is not None
    broken = put_model(home, "5")
    (broken.folder / "manifest.json").write_text("{}")
    point(home, CHALLENGER, broken.tag)
    for _ in range(2):
        deployment.shadow.look(Log())
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in lines] == ["shadow-refused"]
    assert lines[0]["tag"] == broken.tag
    with TestClient(application(deployment), base_url="http://127.0.0.1") as client:
        assert len(client.get("/models").json()["models"]) == 1
        assert asked(client, ordinary_rows(5).head(3))
    point(home, CHALLENGER, "")
    deployment.shadow.look(SILENT)
    assert deployment.shadow.scorer is None


def test_another_champion_begins_the_count_anew(deployment: Deployment) -> None:
    home = deployment.slot.bento_home
    assert home is not None
    frame = ordinary_rows(5).head(10)

    def scored() -> int:
        scorer = deployment.slot.scorer
        deployment.shadow.offer(scorer, scorer.judged(Minutes.of_frame(frame, scorer.features)))
        deployment.shadow.drain(SILENT)
        return deployment.shadow.agreement.rows

    assert [scored(), scored()] == [10, 20]
    from serving.store import CHAMPION  # noqa: PLC0415

    point(home, CHAMPION, put_model(home, "6").tag)
    assert deployment.slot.look(SILENT)
    assert scored() == 10
