"""The catalogue of model features."""

import numpy as np
import polars as pl
import pytest

from tapewatch.features import catalog
from tapewatch.features.microstructure import microstructure
from tapewatch.market.tables.tape import MICROSTRUCTURE
from tests.support.tapes import random_tape, stock_session

KINDS = {
    "volume_spike", "price_jump", "flash_crash", "volatility_burst", "spread_blowout", "quote_stuffing",
    "one_sided_flow", "correlation_break", "pump_and_dump", "feed_outage",
}  # fmt: skip
LEVELS = {"last_price", "mid_price", "volume", "notional", "buy_volume", "sell_volume"}


def test_every_feature_is_a_numeric_column_of_the_table_and_named_once() -> None:
    assert len(set(catalog.NAMES)) == len(catalog.NAMES) == len(catalog.BY_NAME)
    for name in catalog.NAMES:
        assert MICROSTRUCTURE.by_name[name].dtype.is_numeric()


def test_no_feature_is_a_level() -> None:
    assert not LEVELS & set(catalog.NAMES)


@pytest.mark.parametrize("feature", catalog.FEATURES, ids=lambda feature: feature.name)
def test_a_feature_has_known_kinds_and_a_suitable_transform(feature) -> None:
    assert {feature.high, feature.low} - {None} <= KINDS
    assert feature.high is not None
    bounds = MICROSTRUCTURE.by_name[feature.name]
    if feature.transform is catalog.Transform.LOG1P:
        assert bounds.minimum == 0
    if feature.transform is catalog.Transform.NONE:
        is_standard_normal = feature.name.startswith("flow_score")
        assert bounds.maximum == 1 or is_standard_normal


def test_every_family_has_a_feature() -> None:
    assert {feature.family for feature in catalog.FEATURES} == set(catalog.Family)


def test_the_matrix_is_transformed_and_keeps_unknown_values_apart() -> None:
    rows = microstructure(*random_tape(seed=1), stock_session())
    found = catalog.matrix(rows)
    assert found.shape == (rows.height, len(catalog.NAMES))
    assert found.dtype == np.float64
    ratio, score = catalog.NAMES.index("volume_ratio"), catalog.NAMES.index("return_score")
    raw = rows["volume_ratio"].to_numpy()
    assert np.allclose(found[:, ratio], np.log1p(raw), equal_nan=True)
    raw = rows["return_score"].to_numpy()
    assert np.allclose(found[:, score], np.sign(raw) * np.log1p(np.abs(raw)), equal_nan=True)
    assert np.array_equal(np.isnan(found[:, ratio]), rows["volume_ratio"].is_null().to_numpy())
    assert not np.isinf(found).any()


def test_the_matrix_of_chosen_features() -> None:
    rows = pl.DataFrame({"vpin": [0.5, None], "quote_count": [1, 2]})
    found = catalog.matrix(rows, [catalog.BY_NAME["vpin"]])
    assert np.array_equal(found, [[0.5], [np.nan]], equal_nan=True)
