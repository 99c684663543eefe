"""What the page of models shows: champions, challengers, drift and evaluation, as runs left them."""

import json

import polars as pl

from dashboard.reading import models
from tapewatch.market.instruments import Market
from tapewatch.market.tables.derived import COMPARISON, DRIFT
from tapewatch.market.tables.tape import EVALUATION
from tapewatch.store.database.database import Database
from tapewatch.store.database.model_history import PROMOTED, REFUSED, Decision, record
from tapewatch.store.lake.lake import Lake
from tests.support.made_up_run import evaluation
from tests.support.watched_home import DAY, LATER


def test_models_as_runs_left_them(lake: Lake, database: Database) -> None:
    assert models.champions(lake) == []
    folder = lake.root / "models"
    folder.mkdir()
    (folder / "champion.json").write_text(json.dumps({"name": "isolation_forest", "version": 3, "run_id": "r"}))
    card = {"run_id": "r", "train": ["2024-06-03|stocks", "2024-06-04|crypto"], "validation": ["2024-06-05|stocks"]}
    (folder / "isolation_forest.json").write_text(json.dumps(card))
    lake.write(EVALUATION, None, evaluation())
    assert models.champions(lake) == [
        {
            "scores": "minutes", "model": "isolation_forest/3",
            "train": "crypto and stocks, 2024-06-03 to 2024-06-04", "validation": "stocks, 2024-06-05 to 2024-06-05",
        }
    ]  # fmt: skip
    assert models.evaluations(lake)["isolation_forest"].height == 3
    assert models.found_by_day(database)["events"].sum() == 1
    assert models.live_model(lake.root) is None


def test_a_model_s_standing_is_its_champion_and_the_version_refused_since(database: Database) -> None:
    gate = {"recall": {"has_passed": False, "words": "finds 0.80, the champion 0.90"}}
    for version, action, before, evidence in (
        (1, PROMOTED, None, {"average_precision": 0.5}),
        (2, REFUSED, 1, gate),
        (3, PROMOTED, 1, gate),
        (4, REFUSED, 3, gate),
    ):
        record(database, Decision("isolation_forest", action, version, before, "run", "dagster", "why", evidence))
    record(database, Decision("scan", PROMOTED, 1, None, "run", "dagster", "why"))
    forest, scan = models.standings(database)
    assert (forest.champion["version"], forest.challenger["version"]) == (3, 4)
    words = "finds 0.80, the champion 0.90"
    assert forest.gates() == [{"gate": "recall", "champion": words, "challenger": words, "has_passed": False}]
    assert (scan.champion["version"], scan.challenger, scan.gates()) == (1, None, [])
    record(database, Decision("isolation_forest", PROMOTED, 5, 3, "run", "dagster", "why", {"average_precision": 0.61}))
    forest, _ = models.standings(database)
    assert (forest.champion["version"], forest.challenger) == (5, None)
    assert forest.gates() == [{"gate": "average_precision", "champion": "0.61", "challenger": "–", "has_passed": None}]


def test_what_detectors_find_stands_side_by_side_by_kind(lake: Lake) -> None:
    lake.write(EVALUATION, None, evaluation())
    other = evaluation().with_columns(detector=pl.lit("ensemble"), recall=pl.lit(1.0))
    lake.write(COMPARISON, None, COMPARISON.conform(other.filter(pl.col("kind").cast(pl.String) != "all")))
    wide = models.recalls(models.evaluations(lake))
    assert wide.columns == ["kind", "isolation_forest", "ensemble"]
    assert wide["kind"].to_list() == ["all", *sorted(evaluation()["kind"].cast(pl.String).to_list()[1:])]
    assert wide["ensemble"].to_list() == [None, 1.0, 1.0]


def test_drift_of_the_last_days_by_market(lake: Lake) -> None:
    assert models.drift(lake) == {}
    row = {
        "subject": "score", "name": "score", "rows": 1, "reference_rows": 1, "psi": 0.5, "is_drifting": True, "model": "m/1"
    }  # fmt: skip
    lake.write(DRIFT, DAY, DRIFT.conform(pl.DataFrame([row])))
    lake.write(DRIFT, LATER, DRIFT.empty())
    found = models.drift(lake)
    assert list(found) == [Market.STOCKS]
    assert found[Market.STOCKS].select("date", "name", "psi").rows() == [(DAY.date, "score", 0.5)]
