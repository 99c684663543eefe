"""Feast on the lake: training and serving get the same values, whatever the online store; faults are named."""

import datetime as dt
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import polars as pl
import pytest
import yaml
from feast import FeatureStore
from feast.repo_config import RegistryConfig

from resources.feature_store.definitions import LABELLED, LABELS_VIEW, SERVICES, VIEWS
from resources.feature_store.offline import FeaturesError
from resources.feature_store.registry import RegistryError, WholeFileRegistryStore
from resources.feature_store.store import Fault, Features, repo_config
from tapewatch.features.catalog import CATALOG_VERSION, NAMES
from tapewatch.market.tables.features import REGIMES
from tapewatch.market.tables.labels import HUMAN_LABELS
from tapewatch.market.tables.tape import MICROSTRUCTURE
from tapewatch.store.lake.lake import Lake
from tapewatch.store.lake.versions import forget
from tapewatch.store.vectors.vectors import VectorsError
from tests.support.feature_lake import PARTITION, write_features
from tests.support.ports import free_port
from tests.support.postgres import postgres
from tests.support.redis import redis_server

FOREST = f"isolation_forest_v{CATALOG_VERSION}"
MINUTES, BINS = VIEWS[:2]


@pytest.fixture(scope="module")
def lake_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("features")
    write_features(home)
    return home


@pytest.fixture
def home(lake_home: Path, tmp_path: Path) -> Path:
    """A data folder of the test's own."""
    shutil.copytree(lake_home / "lake", tmp_path / "lake")
    return tmp_path


def opened(home: Path, **options: str) -> Features:
    return Features(repo_config(home, **options), str(home / "lake"))


def minutes_of(home: Path) -> pl.DataFrame:
    return Lake(home / "lake").read(MICROSTRUCTURE, PARTITION)


def replaced(home: Path, rows: pl.DataFrame) -> None:
    """The day as if it had been computed so at first."""
    lake = Lake(home / "lake")
    lake.write(MICROSTRUCTURE, PARTITION, rows)
    forget(lake.path(MICROSTRUCTURE, PARTITION))


def known_at(rows: pl.DataFrame, index: int) -> dt.datetime:
    time = rows["known_time"].unique().sort()[index]
    assert isinstance(time, dt.datetime)
    return time


@pytest.fixture(
    params=["sqlite", pytest.param("redis", marks=pytest.mark.slow), pytest.param("postgres", marks=pytest.mark.slow)]
)
def features(request: pytest.FixtureRequest, home: Path) -> Iterator[Features]:
    """Applied, on each online store."""
    if request.param == "sqlite":
        made = opened(home)
        made.apply()
        yield made
    elif request.param == "redis":
        with redis_server(home) as url:
            made = opened(home, redis_url=url)
            made.apply()
            yield made
    else:
        with postgres() as url:
            made = opened(home, database_url=url)
            made.apply()
            yield made
            made.close()


def test_the_settings_of_the_command_line_are_those_of_the_platform(home: Path) -> None:
    text = (Path(__file__).parents[2] / "feature_repo" / "feature_store.yaml").read_text()
    written = yaml.safe_load(text.replace("${TAPEWATCH_HOME}", str(home)))
    ours = repo_config(home)
    assert ours.registry.path == written["registry"]["path"]
    assert ours.registry.registry_store_type == written["registry"]["registry_store_type"]
    assert type(ours.online_store)(**written["online_store"]) == ours.online_store
    assert type(ours.offline_store)(**written["offline_store"]) == ours.offline_store
    assert ours.materialization_config.pull_latest_features is True
    with pytest.raises(ValueError, match="both set"):
        opened(home, redis_url="redis://h", database_url="postgresql://h")


@pytest.mark.long
def test_online_vectors_are_those_of_the_join_and_older_pushes_change_nothing(features: Features, home: Path) -> None:
    rows = minutes_of(home)
    middle = known_at(rows, 100)
    done = features.materialize(middle)
    assert done[MINUTES.name] == {"from": "2024-03-04 00:00:00", "to": f"{middle:%Y-%m-%d %H:%M:%S}"}
    first = features.compare()
    assert (first.compared, first.ahead, first.faults) == ({MINUTES.name: 2, BINS.name: 2}, 0, [])
    # The stream is ahead of the lake's materialized part; then comes an older push.
    newer, older = known_at(rows, 120), known_at(rows, 50)
    features.push(MINUTES, rows.filter(pl.col("known_time") <= newer))
    features.push(MINUTES, rows.filter(pl.col("known_time") <= older))
    feast_rows = rows.filter(pl.col("known_time") == older).select(
        "symbol", "event_time", "known_time", *MINUTES.schema
    )
    features.store.push(MINUTES.push_source, feast_rows.cast({pl.Datetime: pl.Datetime("us", "UTC")}).to_pandas())
    assert features.compare().faults == []
    online = features.store.get_online_features(
        features.store.get_feature_service(FOREST), [{"symbol": "BBB"}, {"symbol": "NONE"}]
    ).to_dict()
    row = rows.filter(pl.col("symbol").cast(pl.String) == "BBB", pl.col("known_time") == newer).row(0, named=True)
    assert {name: online[name] for name in NAMES} == {name: [row[name], None] for name in NAMES}
    # Every bin and minute again: nothing changes twice.
    features.materialize()
    assert features.compare().faults == []
    features.materialize()
    assert features.compare().faults == []


def test_the_training_set_is_joined_by_when_rows_were_known(home: Path) -> None:
    features, rows = opened(home), minutes_of(home)
    features.apply()
    minute = rows.filter(pl.col("symbol").cast(pl.String) == "AAA").row(60, named=True)
    known = minute["known_time"]
    asked = pd.DataFrame(
        {
            "symbol": ["AAA", "AAA", "BBB", "AAA"],
            "event_timestamp": [known, known - dt.timedelta(microseconds=1), known + dt.timedelta(days=9), known],
            "label": [1, 2, 3, 4],
        }
    )
    names = [f"{MINUTES.name}:trade_count", f"{MINUTES.name}:session_minute", f"{BINS.name}:price"]
    joined = features.store.get_historical_features(asked, features=names).to_arrow()
    assert set(joined.column_names) == {"symbol", "event_timestamp", "label", "trade_count", "session_minute", "price"}
    assert joined["label"].to_pylist() == [1, 2, 3, 4]
    first = minute["session_minute"]
    assert joined["session_minute"].to_pylist() == [first, first - 1, None, first]
    assert joined["trade_count"].to_pylist()[0] == minute["trade_count"]
    prefixed = features.store.get_historical_features(asked, features=names, full_feature_names=True).to_df()
    assert f"{BINS.name}__price" in prefixed.columns


def test_a_family_of_text_and_numbers_is_joined_and_served(home: Path) -> None:
    lake, features = Lake(home / "lake"), opened(home)
    times = minutes_of(home)["event_time"].unique().sort().gather([0, 5, 10])
    blocks = REGIMES.empty().select("symbol", "event_time", "known_time", "regime", "trend_score")
    rows = pl.DataFrame({"symbol": "AAA", "event_time": times, "regime": ["calm", "turbulent", None]}).with_columns(
        known_time=pl.col("event_time") + pl.duration(minutes=5), trend_score=pl.Series([0.5, -2.0, None])
    )
    lake.write(
        REGIMES, PARTITION, REGIMES.conform(pl.concat([blocks, rows.cast(dict(blocks.schema)).select(blocks.columns)]))
    )
    features.apply()
    names = ["symbol_regimes_5m:regime", "symbol_regimes_5m:trend_score"]
    at = rows["known_time"].cast(pl.Datetime("us", "UTC"))
    asked = pl.DataFrame({"symbol": "AAA", "event_timestamp": at}).to_pandas()
    joined = features.store.get_historical_features(asked, names).to_df()
    assert joined["regime"].tolist() == ["calm", "turbulent", None]
    features.materialize(at[1] + dt.timedelta(seconds=1))
    assert features.compare().compared["symbol_regimes_5m"] == 1
    assert features.compare().faults == []
    online = features.store.get_online_features(names, [{"symbol": "AAA"}]).to_dict()
    assert (online["regime"], online["trend_score"]) == (["turbulent"], [-2.0])
    features.push(next(view for view in VIEWS if view.table is REGIMES), lake.read(REGIMES, PARTITION))
    assert features.store.get_online_features(names, [{"symbol": "AAA"}]).to_dict()["regime"] == [None]


def test_labels_of_people_meet_the_minutes_of_their_stretch(home: Path) -> None:
    start = known_at(minutes_of(home), 30)

    def label(symbol: str, first: int, last: int, author: str, kind: str, said_days: int) -> dict[str, object]:
        return {
            "label_id": f"{author}{first}", "symbol": symbol, "kind": kind, "is_anomaly": kind != "normal", "author": author,
            "confidence": 0.8, "note": None, "start_time": start + dt.timedelta(minutes=first),
            "end_time": start + dt.timedelta(minutes=last), "known_time": start + dt.timedelta(days=said_days),
        }  # fmt: skip

    said = [
        label("AAA", 0, 3, "ann", "volume_spike", 1),
        label("AAA", 2, 4, "ben", "normal", 2),
        label("BBB", 0, 9, "ann", "price_jump", 1),
    ]
    Lake(home / "lake").write(HUMAN_LABELS, PARTITION, HUMAN_LABELS.conform(pl.DataFrame(said)))
    features = opened(home)
    planned = features.apply()
    assert f"create label view {LABELS_VIEW}" in planned
    assert [view.name for view in features.store.list_label_views()] == [LABELS_VIEW]
    asked = pd.DataFrame(
        {
            "symbol": ["AAA"] * 6 + ["CCC"],
            "event_timestamp": [start + dt.timedelta(minutes=m) for m in (0, 1, 2, 3, 4, 5, 1)],
        }
    )
    joined = features.store.get_historical_features(asked, features.store.get_feature_service(LABELLED)).to_arrow()
    # The minute that ends with the stretch's start is before it; where two people differ, the one who spoke last counts.
    assert joined["kind"].to_pylist() == [None, "volume_spike", "volume_spike", "normal", "normal", None, None]
    assert joined["is_anomaly"].to_pylist() == [None, True, True, False, False, None, None]
    assert joined["start_time"].to_pylist()[1] == int(start.timestamp()) * 10**6
    assert set(NAMES) <= set(joined.column_names)
    earlier = features.config.model_copy(deep=True)
    earlier.offline_store.labels_known_by = start + dt.timedelta(days=1)
    by_then = FeatureStore(config=earlier).get_historical_features(asked, [f"{LABELS_VIEW}:author"]).to_arrow()
    assert by_then["author"].to_pylist() == [None, "ann", "ann", "ann", None, None, None]
    with pytest.raises(ValueError, match="LabelView symbol_human_labels cannot be materialized"):
        features.store.materialize(start, start, feature_views=[LABELS_VIEW])


def test_bad_entity_rows_and_unknown_features_are_named(home: Path) -> None:
    features = opened(home)
    features.apply()
    names = [f"{MINUTES.name}:trade_count"]
    time = pd.Timestamp("2024-03-05 15:00", tz="UTC")
    with pytest.raises(FeaturesError, match="lack the column symbol; they have ticker"):
        features.store.get_historical_features(pd.DataFrame({"ticker": ["A"], "event_timestamp": [time]}), names)
    with pytest.raises(FeaturesError, match="1 entity rows have no event_timestamp"):
        features.store.get_historical_features(
            pd.DataFrame({"symbol": ["A", "B"], "event_timestamp": [time, pd.NaT]}), names
        )
    with pytest.raises(FeaturesError, match="pandas DataFrame"):
        features.store.get_historical_features("SELECT 1", names)
    with pytest.raises(KeyError, match="Feature nothing not found in projection symbol_microstructure_1m"):
        features.store.get_online_features([f"{MINUTES.name}:nothing"], [{"symbol": "A"}])


def test_the_plan_is_shown_and_applied_once(home: Path) -> None:
    features = opened(home)
    planned = features.apply()
    assert f"create feature view {MINUTES.name}" in planned
    assert {f"create feature service {name}" for name in SERVICES} <= set(planned)
    assert opened(home).apply() == []


def test_a_registry_of_another_version_is_refused_and_stays(home: Path) -> None:
    features = opened(home)
    with pytest.raises(RegistryError, match=f"has no feature view {MINUTES.name}: run `feast -c feature_repo apply`"):
        features.materialize()
    features.apply()
    view = features.store.get_feature_view(MINUTES.name)
    view.tags = {"schema": "older"}
    features.store.registry.apply_feature_view(view, "tapewatch")
    with pytest.raises(
        RegistryError, match=r"applied by another version of Tapewatch: symbol_microstructure_1m.*older"
    ):
        opened(home).materialize()
    path = home / "feast" / "registry.db"
    for text, reason in ((b"\xff\xff damaged", "cannot be read"), (b"", "has format none, this Feast reads 1")):
        path.write_bytes(text)
        with pytest.raises(RegistryError, match=f"{reason}.*move it away"):
            opened(home).apply()
        assert path.read_bytes() == text


def test_a_home_that_is_not_set_is_named_and_no_folder_is_made(tmp_path: Path) -> None:
    config = RegistryConfig(path="${TAPEWATCH_HOME}/feast/registry.db")
    with pytest.raises(RegistryError, match="set TAPEWATCH_HOME"):
        WholeFileRegistryStore(config, tmp_path)


def test_redis_away_leaves_the_registry_as_it_was(home: Path) -> None:
    url = f"redis://:secret@127.0.0.1:{free_port()}/0"
    away = opened(home, redis_url=url)
    with pytest.raises(VectorsError, match=r"redis://:\*\*\*@127.0.0.1.*start Redis"):
        away.apply()
    assert away.store.list_feature_views() == []
    opened(home).apply()
    away = opened(home, redis_url=url)
    with pytest.raises(VectorsError, match="start Redis"):
        away.materialize()
    # The interval counts as not materialized.
    assert away.store.get_feature_view(MINUTES.name).most_recent_end_time is None
    with pytest.raises(VectorsError, match="start Redis"):
        away.push(MINUTES, minutes_of(home))


def test_what_differs_is_named_with_feature_symbol_and_lag(home: Path) -> None:
    features, rows = opened(home), minutes_of(home)
    features.apply()
    features.materialize(known_at(rows, 100))
    # Bits, not values: minus zero is another zero.
    is_last = (pl.col("known_time") == known_at(rows, 100)) & (pl.col("symbol").cast(pl.String) == "BBB")
    changed = rows.with_columns(
        trade_age_s=pl.when(is_last).then(pl.col("trade_age_s") + 1e-9).otherwise(pl.col("trade_age_s"))
    )
    replaced(home, changed)
    fault = Fault(MINUTES.name, "trade_age_s", "BBB", 0.0)
    assert features.compare().faults == [fault]
    assert str(fault) == "symbol_microstructure_1m:trade_age_s of BBB differs"
    # A minute that came to the lake after its time: the next increment brings it, though the interval begins later.
    late = rows.filter(~pl.col("known_time").is_between(known_at(rows, 99), known_at(rows, 100)))
    features = opened(home)
    shutil.rmtree(home / "feast")
    replaced(home, late)
    features = opened(home)
    features.apply()
    features.materialize(known_at(rows, 100))
    replaced(home, rows)
    [lagging, _] = sorted(map(str, features.compare().faults))
    assert lagging == "symbol_microstructure_1m:every feature of AAA lags 120 s"
    features.materialize(known_at(rows, 101))
    assert features.compare().faults == []


def test_a_vector_that_is_missing_is_named(home: Path) -> None:
    features = opened(home)
    features.apply()
    features.materialize()
    (home / "feast" / "online.db").unlink()
    again = opened(home)
    again.online.update(again.config, [], [], [], [], partial=True)
    assert str(again.compare().faults[0]) == "symbol_microstructure_1m:every feature of AAA is missing"
