"""The whole lineage from the source to a Bento and its anomalies, on the emulator and, if present, on recorded days."""

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import mlflow
import polars as pl
import pytest

from models.loading import load_detector
from orchestration.runs.labels import labelling
from orchestration.runs.runs import RunError, run_days, train
from resources.detector_pyfunc import as_pandas
from resources.mlflow_registry import ModelRegistry
from resources.promotion import Promoter
from tapewatch.emulator.process import running_emulator
from tapewatch.labels.people.human import HumanLabel
from tapewatch.market.instruments import Market, Partition, trading_days
from tapewatch.market.tables.derived import BINS_5S, COMPARISON, INCIDENTS
from tapewatch.market.tables.features import INDICATORS, MARKET_MICROSTRUCTURE, MICROSTRUCTURE_MORE, SEASONALITY
from tapewatch.market.tables.labels import HUMAN_LABELS, LABEL_WEIGHTS, META_LABELS, WEAK_LABELS
from tapewatch.market.tables.tape import (
    ALL,
    ANOMALIES,
    ATTRIBUTIONS,
    BARS,
    COVERAGE,
    EVALUATION,
    MICROSTRUCTURE,
    QUOTES,
    TRADES,
    TRAINING_SET,
    TRUTH_LABELS,
    quarantine_of,
)
from tapewatch.settings import Settings
from tapewatch.store.database.database import Database
from tapewatch.store.database.model_history import history
from tapewatch.store.lake.lake import Lake
from tapewatch.streaming.detection.champion import file_of, publish, published_model, read_champion

pytestmark = pytest.mark.slow

FIRST, LAST = dt.date(2024, 6, 4), dt.date(2024, 6, 6)
MARKETS = (Market.STOCKS, Market.CRYPTO)
DAILY = [
    table
    for table in (*ALL, MICROSTRUCTURE_MORE, INDICATORS, SEASONALITY)
    if table.group in ("tape", "features", "labels") and table.name not in ("delivered_bars", "quarantine")
]


@dataclass(frozen=True)
class Deployment:
    settings: Settings
    lake: Lake


@pytest.fixture(scope="module")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Three days of two stocks and a crypto pair, with the graph run once from the source to the anomalies."""
    with running_emulator(seed=11) as emulator:
        settings = Settings(
            home=tmp_path_factory.mktemp("home"),
            polygon_api_key="test-key",  # pragma: allowlist secret
            polygon_base_url=emulator.base_url,
            markets={
                "stocks": {"plan": "advanced", "symbols": ("MSFT", "VOO")},
                "crypto": {"plan": "advanced", "symbols": ("X:BTC-USD",)},
            },
            keras_backend="tensorflow",
            _env_file=None,
        )
        for market in MARKETS:
            run_days(settings, "update_day", market, FIRST, LAST)
        train(settings, copies=2, trees=100)
        for market in MARKETS:
            run_days(settings, "detect_anomalies", market, FIRST, LAST)
        yield Deployment(settings, Lake(settings.lake_root))


def partitions() -> list[Partition]:
    return [Partition(day, market) for market in MARKETS for day in trading_days(market, FIRST, LAST)]


def test_every_table_holds_every_day(emulated: Deployment) -> None:
    for table in (*DAILY, META_LABELS, LABEL_WEIGHTS, ANOMALIES):
        assert sorted(emulated.lake.partitions(table)) == sorted(partitions()), table.name
    for partition in partitions():
        assert emulated.lake.rows(TRADES, partition) > 10_000
        assert emulated.lake.rows(quarantine_of(TRADES), partition) == 0


def test_bars_built_from_trades_are_the_bars_the_vendor_delivers(emulated: Deployment) -> None:
    for partition in partitions():
        bars = emulated.lake.read(BARS, partition)
        both = bars.filter(pl.col("is_volume_equal").is_not_null())
        assert both.height > 0.95 * bars.height
        assert both["is_volume_equal"].all()
        assert both["is_price_equal"].all()


def test_coverage_and_features_include_every_symbol(emulated: Deployment) -> None:
    for partition in partitions():
        symbols = set(emulated.lake.symbols(TRADES, partition))
        assert symbols == set(emulated.settings.symbols(partition.market))
        assert set(emulated.lake.read(COVERAGE, partition)["symbol"].cast(pl.String)) == symbols
        features = emulated.lake.read(MICROSTRUCTURE, partition)
        regular = features.filter("is_regular").group_by(pl.col("symbol").cast(pl.String)).len()
        assert dict(regular.iter_rows()) == dict.fromkeys(symbols, partition.session.regular_minutes)


def test_labels_reach_the_training_set_and_the_evaluation(emulated: Deployment) -> None:
    for partition in partitions():
        truth = emulated.lake.read(TRUTH_LABELS, partition)
        marked = emulated.lake.read(TRAINING_SET, partition).filter("is_anomaly")
        assert (
            marked.height
            == truth.filter(pl.col("event_time").is_in(marked["event_time"].implode()))
            .select("symbol", "event_time")
            .unique()
            .height
        )
    verdict = emulated.lake.read(EVALUATION).filter(pl.col("kind") == "all").row(0, named=True)
    assert verdict["truth"] == "source"
    assert verdict["recall"] > verdict["rule_recall"]


def test_attributions_rank_like_scores(emulated: Deployment) -> None:
    attributions = emulated.lake.read(ATTRIBUTIONS)
    sums = attributions.group_by("symbol", "event_time").agg(pl.col("shap_value").sum(), pl.col("score").first())
    # TreeExplainer explains the path length; the score is a monotone function of it.
    assert sums.select(pl.corr("shap_value", "score", method="spearman")).item() > 0.999


def test_the_database_holds_what_the_lake_holds(emulated: Deployment) -> None:
    in_lake = pl.concat(emulated.lake.read(ANOMALIES, partition) for partition in partitions())
    with Database(emulated.settings.database) as database:
        in_database = database.anomalies()
    by_key = ["symbol", "start_time"]
    text = pl.col("symbol", "kind").cast(pl.String)
    assert in_database.with_columns(text).sort(by_key).equals(in_lake.with_columns(text).sort(by_key))
    assert in_lake.height > 0
    for reasons in in_lake["reasons"]:
        assert {"feature", "value", "shap_value"} <= json.loads(reasons)[0].keys()


def test_incidents_are_in_the_database_and_the_scan_is_where_collectors_look(emulated: Deployment) -> None:
    in_lake = pl.concat(emulated.lake.read(INCIDENTS, partition) for partition in partitions())
    with Database(emulated.settings.database) as database:
        in_database = database.read(INCIDENTS).select(INCIDENTS.schema.names())
    by_key, text = ["symbol", "start_time"], pl.col("symbol", "kind").cast(pl.String)
    assert in_database.with_columns(text).sort(by_key).equals(in_lake.with_columns(text).sort(by_key))
    assert in_lake.height > 0
    champion = read_champion(file_of(emulated.settings.champions, "scan"))
    assert set(in_lake["model"]) == {champion.model}
    day = partitions()[0]
    found = champion.detector.incidents(emulated.lake.read(BINS_5S, day), day.session, model=champion.model)
    assert found.equals(emulated.lake.read(INCIDENTS, day))


def test_a_rollback_reaches_the_collectors_with_the_next_days_that_are_scored(emulated: Deployment) -> None:
    file = file_of(emulated.settings.champions, "scan")
    champion = read_champion(file)
    publish(champion.detector, "scan/99", file)
    run_days(emulated.settings, "detect_anomalies", Market.STOCKS, FIRST, FIRST)
    assert published_model(file) == champion.model


def test_people_s_and_weak_labels_are_collected(emulated: Deployment) -> None:
    day = Partition(LAST, Market.STOCKS)
    truth = emulated.lake.read(TRUTH_LABELS, day)
    symbol, kind, start, end = truth.select("symbol", "kind", "start_time", "end_time").row(0)
    settings = emulated.settings.model_copy(update={"label_authors": ("ann",)})
    labelling.add(settings, [HumanLabel(Market.STOCKS, symbol, start, end, kind, "ann", 0.9)], "the label")
    run_days(settings, "collect_labels", Market.STOCKS, FIRST, LAST)
    (label,) = emulated.lake.read(HUMAN_LABELS, day).to_dicts()
    assert (label["symbol"], label["start_time"], label["confidence"]) == (symbol, start, 0.9)
    assert emulated.lake.rows(HUMAN_LABELS, Partition(FIRST, Market.STOCKS)) == 0
    weak = pl.concat(
        emulated.lake.read(WEAK_LABELS, Partition(d, Market.STOCKS)) for d in trading_days(Market.STOCKS, FIRST, LAST)
    )
    assert weak["votes"].str.contains("anomalies").any()
    true = pl.concat(
        emulated.lake.read(TRUTH_LABELS, Partition(d, Market.STOCKS)) for d in trading_days(Market.STOCKS, FIRST, LAST)
    )
    minutes = true.select("symbol", "event_time").unique()
    right = weak.filter(label=1).join(minutes, on=["symbol", "event_time"], how="semi").height
    assert right / weak.filter(label=1).height > 0.5, "most weak labels are true"


def test_twice_equals_once(emulated: Deployment) -> None:
    before = {(t.name, p): emulated.lake.read(t, p) for t in (*DAILY, ANOMALIES) for p in partitions()}
    run_days(emulated.settings, "update_day", Market.STOCKS, FIRST, LAST)
    run_days(emulated.settings, "detect_anomalies", Market.STOCKS, FIRST, LAST)
    for (name, partition), frame in before.items():
        table = next(t for t in (*DAILY, ANOMALIES) if t.name == name)
        assert emulated.lake.read(table, partition).equals(frame), (name, partition)


def test_the_database_holds_every_minute_in_a_few_numbers(emulated: Deployment) -> None:
    for partition in partitions():
        features = emulated.lake.read(MICROSTRUCTURE, partition)
        with Database(emulated.settings.database) as database:
            place = {"market": partition.market, "where": {"date": partition.date}}
            rows = database.read(MARKET_MICROSTRUCTURE, **place)
            anomalies = database.read(ANOMALIES, **place)
        assert rows.height == features.height
        assert rows["buy_volume"].sum() == pytest.approx(features["buy_volume"].sum())
        assert rows["anomaly_score"].drop_nulls().len() == features.filter("is_regular").height
        assert rows["rsi_14"].drop_nulls().len() > rows.height / 2
        assert set(anomalies["model"]) <= set(rows["model"].drop_nulls())
        highest = anomalies["score"].max()
        assert highest is None or rows["anomaly_score"].max() == pytest.approx(highest)


def test_seasonality_begins_with_the_second_day(emulated: Deployment) -> None:
    first, *_, last = [emulated.lake.read(SEASONALITY, Partition(day, Market.STOCKS)) for day in (FIRST, LAST)]
    assert first["volume_deviation"].null_count() == first.height > 0
    assert last["volume_deviation"].null_count() == 0
    assert first["depth_deviation"].null_count() == first.height
    assert last["depth_deviation"].drop_nulls().len() > 0.9 * last.height
    assert last["days"].unique().to_list() == [2]


def test_mlflow_holds_the_champion_s_inputs_and_results(emulated: Deployment) -> None:
    client = mlflow.MlflowClient(emulated.settings.tracking_uri)
    version = client.get_model_version_by_alias("isolation_forest", "champion")
    run = client.get_run(version.run_id)
    assert {"trees", "seed", "validation_share", "rows", "features"} <= run.data.params.keys()
    assert run.data.metrics["average_precision"] > run.data.metrics["rule_average_precision"]
    assert run.data.tags["code_version"].startswith("0.")
    artifacts = {item.path for item in client.list_artifacts(version.run_id)}
    assert {"partitions.json", "shap.html", "shap_beeswarm.png", "precision_recall.png"} <= artifacts
    mlflow.set_tracking_uri(emulated.settings.tracking_uri)
    days = mlflow.artifacts.load_dict(f"runs:/{version.run_id}/partitions.json")
    assert sorted(days["train"] + days["validation"]) == sorted(map(str, partitions()))
    assert max(days["train"]) < min(days["validation"])
    model = mlflow.pyfunc.load_model("models:/isolation_forest@champion")
    example = model.input_example
    assert model.metadata.signature is not None
    assert model.predict(example)["score"].between(0, 1).all()


def test_the_autoencoder_is_judged_on_the_same_days_and_registered(emulated: Deployment) -> None:
    registry = ModelRegistry(emulated.settings.tracking_uri, emulated.settings.artifact_root)
    champion, forest = registry.champion("lstm_autoencoder"), registry.champion("isolation_forest")
    assert champion is not None
    assert forest is not None
    metrics, of_forest = registry.metrics(champion.run_id), registry.metrics(forest.run_id)
    for same in ("minutes", "anomalous_minutes", "events", "rule_average_precision"):
        assert metrics[same] == of_forest[same]
    assert metrics["average_precision"] > metrics["rule_average_precision"]
    history = registry.connect().get_metric_history(champion.run_id, "held_out_loss")
    assert [point.step for point in history] == list(range(1, len(history) + 1))
    rows = emulated.lake.read(TRAINING_SET, partitions()[-1]).head(50)
    detector = registry.load_any(champion.uri)
    example, verdicts = as_pandas(detector, rows)
    model = mlflow.pyfunc.load_model(champion.uri)
    assert model.metadata.get_input_schema().input_names() == list(example.columns)
    assert (model.predict(example)["score"] == verdicts["score"]).all()
    assert not (emulated.settings.home / "mlflow" / "checkpoints" / "lstm_autoencoder" / "checkpoint.npz").exists()


def test_the_ensemble_is_judged_on_the_same_days_and_scores_minutes(emulated: Deployment) -> None:
    registry = ModelRegistry(emulated.settings.tracking_uri, emulated.settings.artifact_root)
    references = {
        name: json.loads((emulated.settings.home / "lake" / "models" / f"{name}.json").read_text())
        for name in ("isolation_forest", "anomaly_classifier", "ensemble")
    }
    assert references["ensemble"]["members"] == ["isolation_forest", "anomaly_classifier"]
    metrics = {name: registry.metrics(reference["run_id"]) for name, reference in references.items()}
    for same in ("minutes", "anomalous_minutes", "events", "rule_average_precision"):
        assert len({found[same] for found in metrics.values()}) == 1
    for name in ("anomaly_classifier", "ensemble"):
        assert metrics[name]["average_precision"] > metrics[name]["rule_average_precision"]
    logged = {name: registry.gates(references[name]["run_id"]) for name in ("anomaly_classifier", "ensemble")}
    has_passed = {name: all(gate["has_passed"] for gate in each["gates"].values()) for name, each in logged.items()}
    assert {"recall", "rival", "look_ahead", "calibration", "size", "latency", "onnx"} <= set(
        logged["ensemble"]["gates"]
    )
    champion = registry.first_champion("ensemble", "isolation_forest")
    assert champion is not None
    assert (champion.name == "ensemble") is has_passed["ensemble"], logged["ensemble"]
    assert (registry.champion("anomaly_classifier") is not None) is has_passed["anomaly_classifier"]
    live = read_champion(file_of(emulated.settings.champions, "minutes"), load_detector)
    assert live.model == str(champion)
    models = {model for day in partitions() for model in emulated.lake.read(ANOMALIES, day)["model"]}
    assert models == {str(champion)}
    judged = emulated.lake.read(COMPARISON).filter(pl.col("kind").cast(pl.String) == "all")
    assert set(judged["detector"].cast(pl.String)) == {"anomaly_classifier", "ensemble", "lstm_autoencoder"}


def test_a_retrained_detector_becomes_champion_only_if_it_passes_every_gate(emulated: Deployment) -> None:
    train(emulated.settings.model_copy(update={"keras_backend": "none"}), copies=0, trees=20, seed=5)
    client = mlflow.MlflowClient(emulated.settings.tracking_uri)
    versions = client.search_model_versions("name = 'isolation_forest'")
    newest = max(versions, key=lambda version: int(version.version))
    registry = ModelRegistry(emulated.settings.tracking_uri, emulated.settings.artifact_root)
    logged = registry.gates(newest.run_id)
    assert logged is not None
    assert logged["champion"] == 1
    has_passed = all(gate["has_passed"] for gate in logged["gates"].values())
    champion = client.get_model_version_by_alias("isolation_forest", "champion")
    assert (champion.version == newest.version) is has_passed
    with Database(emulated.settings.database) as database:
        of_forest = history(database, "isolation_forest")
        assert [entry["action"] for entry in of_forest] == ["promoted", "promoted" if has_passed else "refused"]
        assert Promoter(registry, database, "test").faults() == []


def test_a_weekend_is_refused_by_name(emulated: Deployment) -> None:
    with pytest.raises(RunError, match="Saturday 2024-06-08"):
        run_days(emulated.settings, "update_day", Market.STOCKS, dt.date(2024, 6, 8), dt.date(2024, 6, 9))


def test_a_wrong_key_is_refused_without_showing_it(tmp_path: Path) -> None:
    key = "wrong-key-9f2c"  # pragma: allowlist secret
    with running_emulator(seed=1, key="the-right-one") as emulator:
        settings = Settings(
            home=tmp_path,
            polygon_api_key=key,
            polygon_base_url=emulator.base_url,
            markets={"stocks": {"plan": "advanced"}},
            _env_file=None,
        )
        with pytest.raises(RunError, match="POLYGON_API_KEY") as caught:
            run_days(settings, "backfill_tape", Market.STOCKS, FIRST, FIRST)
    assert key not in str(caught.value)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert written
    assert not any(key.encode() in path.read_bytes() for path in written)


def test_a_plan_without_quotes_keeps_its_trade_features(tmp_path: Path) -> None:
    with running_emulator(seed=2, key="developer-key") as emulator:
        settings = Settings(
            home=tmp_path,
            polygon_api_key="developer-key",  # pragma: allowlist secret
            polygon_base_url=emulator.base_url,
            markets={"stocks": {"plan": "developer", "symbols": ("MSFT",)}},
            _env_file=None,
        )
        run_days(settings, "update_day", Market.STOCKS, FIRST, FIRST)
    lake, partition = Lake(settings.lake_root), Partition(FIRST, Market.STOCKS)
    assert not lake.exists(QUOTES, partition)
    features = lake.read(MICROSTRUCTURE, partition).filter("is_regular")
    assert features.height == partition.session.regular_minutes
    assert features["quoted_spread_bps"].is_null().all()
    assert features["buy_volume"].sum() > 0


def test_recorded_days_without_truth(market_data: Path, tmp_path: Path) -> None:
    """Two recorded days: injected anomalies, a symbol without quotes, and known irregularities."""
    settings = Settings(home=tmp_path, flat_files=str(market_data), _env_file=None)
    first, last = dt.date(2013, 10, 7), dt.date(2013, 10, 8)
    run_days(settings, "update_day", Market.STOCKS, first, last)
    report = train(settings, copies=2, trees=100)
    run_days(settings, "detect_anomalies", Market.STOCKS, first, last)
    lake = Lake(settings.lake_root)
    assert [lake.rows(TRADES, Partition(day, Market.STOCKS)) for day in (first, last)] == [388_417, 654_140]
    assert [lake.rows(QUOTES, Partition(day, Market.STOCKS)) for day in (first, last)] == [832_930, 909_993]
    features = lake.read(MICROSTRUCTURE, Partition(last, Market.STOCKS))
    spy = features.filter(pl.col("symbol") == "SPY")
    assert spy["effective_spread_bps"].is_null().all()
    assert spy.filter("is_regular")["trade_count"].min() > 0
    verdict = lake.read(EVALUATION)
    assert verdict["truth"].cast(pl.String).unique().to_list() == ["injected"]
    assert "models/evaluation:beats_trivial_rule" not in report.failed_checks
    scored = pl.concat(lake.read(ANOMALIES, Partition(day, Market.STOCKS)) for day in (first, last))
    assert scored.height > 0
    # A busy stock whose price does not change for a minute is not silent.
    outages = scored.filter(pl.col("kind") == "feed_outage")["reasons"]
    assert not {json.loads(reasons)[0]["feature"] for reasons in outages} & {
        "realised_volatility_bps",
        "volatility_ratio",
    }


def test_days_with_bars_only_have_features_of_these(market_data: Path, tmp_path: Path) -> None:
    """A change to summer time, a half day, a split and a renamed company, of which only aggregates were recorded."""
    settings = Settings(home=tmp_path, flat_files=str(market_data), _env_file=None)
    lake = Lake(settings.lake_root)
    ranges = {
        (dt.date(2008, 3, 7), dt.date(2008, 3, 10)): (336, 316),
        (dt.date(2013, 6, 28), dt.date(2013, 7, 1)): (417, 408),
        (dt.date(2014, 6, 5), dt.date(2014, 6, 9)): (1084, 1180, 1239),
        (dt.date(2015, 12, 23), dt.date(2015, 12, 24)): (432, 227),
    }
    for (first, last), expected in ranges.items():
        run_days(settings, "update_day", Market.STOCKS, first, last)
        days = [Partition(day, Market.STOCKS) for day in trading_days(Market.STOCKS, first, last)]
        assert tuple(lake.rows(BARS, day) for day in days) == expected
        for day in days:
            assert lake.rows(TRADES, day) == 0
            rows = lake.read(TRAINING_SET, day).group_by("symbol").len()
            assert rows["len"].to_list() == [day.session.regular_minutes] * len(lake.symbols(BARS, day))
