"""The assets of the feature store: the plan is shown, the online store filled, a difference named and the check failed."""

from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from assets.features import store as feature_store
from orchestration.definitions import build_definitions
from resources.stores import FeatureStoreResource
from tapewatch.market.tables.tape import MICROSTRUCTURE, QUOTES, TRADES
from tapewatch.settings import Settings
from tapewatch.store.lake.joins.objects import Source
from tapewatch.store.lake.joins.point_in_time import join_as_of
from tapewatch.store.lake.lake import Lake
from tapewatch.store.lake.versions import versions_path
from tests.support.feature_lake import PARTITION, write_features
from tests.support.tapes import random_tape


@pytest.mark.slow
def test_the_assets_apply_fill_and_compare(tmp_path: Path) -> None:
    rows, _ = write_features(tmp_path)
    resources = {"feature_store": FeatureStoreResource(home=str(tmp_path), lake_root=str(tmp_path / "lake"))}
    assets = [feature_store.registry, feature_store.online]
    done = dg.materialize(assets, resources=resources)
    [registry] = done.asset_materializations_for_node("feature_store__registry")
    assert "- create feature view symbol_microstructure_1m" in registry.metadata["plan"].value
    assert "isolation_forest" in str(registry.metadata["services"].value)
    [check] = done.get_asset_check_evaluations()
    assert check.passed
    assert check.metadata["compared"].value == {"symbol_microstructure_1m": 2, "symbol_bins_5s": 2}

    # Another value of the same row: materializing again mends the online store.
    changed = rows.with_columns(pl.col("trade_age_s") + 1)
    lake = Lake(tmp_path / "lake")
    lake.write(MICROSTRUCTURE, PARTITION, changed)
    again = dg.materialize(assets, resources=resources)
    assert again.get_asset_check_evaluations()[0].passed
    [registry] = again.asset_materializations_for_node("feature_store__registry")
    assert registry.metadata["plan"].value == "no change"

    # A vector from nowhere, which no materialization may overwrite: the check names it.
    with resources["feature_store"].open() as features:
        view = next(view for view in feature_store_views() if view.table is MICROSTRUCTURE)
        last = changed.filter(pl.col("known_time") == pl.col("known_time").max().over("symbol"))
        corrected = pl.read_parquet(Path(str(versions_path(lake.path(MICROSTRUCTURE, PARTITION)))))["until_time"].max()
        features.push(view, last.with_columns(trade_age_s=pl.lit(-1.0), known_time=pl.lit(corrected)))
        found = features.compare()
    assert sorted(map(str, found.faults)) == [
        f"symbol_microstructure_1m:trade_age_s of {symbol} differs" for symbol in ("AAA", "BBB")
    ]


@pytest.mark.slow
def test_a_tape_corrected_later_changes_no_training_set_of_before(tmp_path: Path) -> None:
    settings, (trades, quotes) = Settings(home=tmp_path, _env_file=None), random_tape(1)
    lake = Lake(settings.lake_root)
    job = build_definitions(settings).resolve_job_def("build_features")

    def computed(tape: pl.DataFrame) -> pl.DataFrame:
        lake.write(TRADES, PARTITION, tape)
        lake.write(QUOTES, PARTITION, quotes)
        asset = [dg.AssetKey(["features", "microstructure"])]
        assert job.execute_in_process(partition_key=str(PARTITION), asset_selection=asset).success
        return lake.read(MICROSTRUCTURE, PARTITION)

    first = computed(trades)
    names = [c.name for c in MICROSTRUCTURE.columns if c.dtype.is_numeric()]
    asked = first.select(pl.col("symbol").cast(pl.String), event_timestamp=pl.col("known_time").dt.cast_time_unit("us"))

    def training_set() -> pl.DataFrame:
        with FeatureStoreResource(home=str(tmp_path), lake_root=str(settings.lake_root)).open() as features:
            features.apply()
            refs = [f"symbol_microstructure_1m:{name}" for name in names]
            table = features.store.get_historical_features(asked.to_pandas(), refs).to_arrow()
        return pl.DataFrame(table).select(names)

    before = training_set()
    # The first trades of a symbol were reported with wrong sizes.
    is_first = (pl.col("symbol").cast(pl.String) == "AAA") & (pl.int_range(pl.len()) < 20)
    size = pl.col("size")
    second = computed(trades.with_columns(pl.when(is_first).then(size * 3 + 100).otherwise(size).alias("size")))
    assert not second.equals(first)
    assert training_set().equals(before, null_equal=True)
    source = Source(lake.root / "features" / "microstructure", ("symbol",))
    far = asked.select("symbol", time=pl.col("event_timestamp") + pl.duration(days=365 * 100)).unique("symbol")
    schema = {name: first.schema[name] for name in names}
    last = join_as_of(source, far, schema)
    expected = second.filter(pl.col("event_time") == pl.col("event_time").max().over("symbol")).select(names)
    assert sorted(last.rows(), key=str) == sorted(expected.rows(), key=str)
    # Computed from the same tape again: no version more.
    path = Path(str(versions_path(lake.path(MICROSTRUCTURE, PARTITION))))
    kept = path.read_bytes()
    computed(lake.read(TRADES, PARTITION))
    assert path.read_bytes() == kept


def test_the_online_store_comes_after_every_table_that_it_reads() -> None:
    assert {view.table.name for view in feature_store_views()} == set(feature_store.TABLES)


def feature_store_views() -> tuple[Any, ...]:
    from resources.feature_store.definitions import VIEWS  # noqa: PLC0415 - imports Feast

    return VIEWS
