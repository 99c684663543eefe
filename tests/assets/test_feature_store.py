"""The assets of the feature store: the plan is shown, the online store filled, a difference named and the check failed."""

from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from assets.features import store as feature_store
from resources.stores import FeatureStoreResource
from tapewatch.market.tables.tape import MICROSTRUCTURE
from tapewatch.store.lake.lake import Lake
from tests.support.feature_lake import PARTITION, write_features


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
    Lake(tmp_path / "lake").write(MICROSTRUCTURE, PARTITION, changed)
    again = dg.materialize(assets, resources=resources)
    assert again.get_asset_check_evaluations()[0].passed
    [registry] = again.asset_materializations_for_node("feature_store__registry")
    assert registry.metadata["plan"].value == "no change"

    # A vector from nowhere, which no materialization may overwrite: the check names it.
    with resources["feature_store"].open() as features:
        view = next(view for view in feature_store_views() if view.table is MICROSTRUCTURE)
        last = changed.filter(pl.col("known_time") == pl.col("known_time").max().over("symbol"))
        features.push(view, last.with_columns(trade_age_s=pl.lit(-1.0)))
        found = features.compare()
    assert sorted(map(str, found.faults)) == [
        f"symbol_microstructure_1m:trade_age_s of {symbol} differs" for symbol in ("AAA", "BBB")
    ]


def test_the_online_store_comes_after_every_table_that_it_reads() -> None:
    assert {view.table.name for view in feature_store_views()} == set(feature_store.TABLES)


def feature_store_views() -> tuple[Any, ...]:
    from resources.feature_store.definitions import VIEWS  # noqa: PLC0415 - imports Feast

    return VIEWS
