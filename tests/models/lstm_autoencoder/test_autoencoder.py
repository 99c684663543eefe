"""The autoencoder as a detector: sums, causality, files, errors."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import polars as pl
import pytest

from models.base import DetectorError
from models.loading import load_detector
from models.lstm_autoencoder.detector import LstmAutoencoderDetector
from models.lstm_autoencoder.inputs import INPUTS
from models.lstm_autoencoder.network import check_installed
from models.onnx_export import export_onnx
from tests.models.lstm_autoencoder.conftest import SMALL
from tests.support.detectors import extreme, ordinary_rows

pytestmark = pytest.mark.slow


def test_shares_add_up_to_the_score(autoencoder: LstmAutoencoderDetector, sequence_rows: pl.DataFrame) -> None:
    rows = sequence_rows.head(200)
    explained = autoencoder.explain(rows)
    assert explained.height == 200 * len(INPUTS)
    sums = explained.group_by("symbol", "event_time", maintain_order=True).agg(pl.col("shap_value").sum())
    assert np.allclose(sums["shap_value"], autoencoder.score(rows), atol=1e-12)
    assert (explained["shap_value"] >= 0).all()


def test_the_odd_minute_is_an_alert_and_names_what_is_odd(
    autoencoder: LstmAutoencoderDetector, sequence_rows: pl.DataFrame
) -> None:
    rows = sequence_rows.filter(pl.col("symbol").cast(pl.String) == "AAPL")
    odd = pl.concat([rows.head(100), extreme(rows[100:101]), rows[101:120]])
    scored = autoencoder.scored(odd)
    assert scored["score"][100] >= autoencoder.threshold
    assert scored["score"].arg_max() == 100
    assert not scored["is_out"].any()
    peak = autoencoder.explain(odd).filter(pl.col("event_time") == odd["event_time"][100]).sort("shap_value")
    assert set(peak["feature"].cast(pl.String).tail(3)) == {"volume_ratio", "return_bps", "range_bps"}


def test_later_rows_and_other_symbols_change_nothing(
    autoencoder: LstmAutoencoderDetector, sequence_rows: pl.DataFrame
) -> None:
    whole = sequence_rows.with_columns(score=pl.Series(autoencoder.score(sequence_rows)))
    early = sequence_rows.filter((pl.col("session_minute") < 100) & (pl.col("symbol").cast(pl.String) == "MSFT"))
    expected = early.join(whole.select("symbol", "event_time", "score"), on=["symbol", "event_time"])["score"]
    assert np.allclose(autoencoder.score(early), expected, atol=1e-5)


def test_a_minute_without_a_value_scores_0(autoencoder: LstmAutoencoderDetector, sequence_rows: pl.DataFrame) -> None:
    names = [name for name in autoencoder.features if sequence_rows.schema[name].is_float()]
    blank = sequence_rows.head(1).with_columns(pl.lit(None, pl.Float64).alias(name) for name in names)
    assert autoencoder.score(blank).tolist() == [0.0]
    assert autoencoder.score(sequence_rows.clear()).size == 0
    assert autoencoder.scored(sequence_rows.clear()).height == autoencoder.explain(sequence_rows.clear()).height == 0


def test_the_budget_holds_on_the_held_out_minutes(
    autoencoder: LstmAutoencoderDetector, sequence_rows: pl.DataFrame
) -> None:
    times = sequence_rows["event_time"]
    share = (
        autoencoder.score(sequence_rows)[(times > times.quantile(0.75)).to_numpy()] >= autoencoder.threshold
    ).mean()
    assert share <= SMALL.alerts_per_symbol_hour / 60


def test_loaded_it_scores_bit_for_bit_the_same(
    autoencoder: LstmAutoencoderDetector, saved: Path, sequence_rows: pl.DataFrame
) -> None:
    loaded = load_detector(saved)
    assert isinstance(loaded, LstmAutoencoderDetector)
    assert np.array_equal(loaded.score(sequence_rows), autoencoder.score(sequence_rows))
    assert loaded.explain(sequence_rows.head(50)).equals(autoencoder.explain(sequence_rows.head(50)))
    assert loaded.threshold == autoencoder.threshold
    assert loaded.parameters == SMALL
    assert {"keras", "tensorflow"} < set(loaded.manifest.libraries)


def test_scoring_imports_no_deep_learning_framework(saved: Path) -> None:
    code = (
        "import sys; import orchestration.cli.app, assets.models.autoencoder; from models.loading "
        "import load_detector; from tests.support.detectors import ordinary_rows; "
        f"load_detector({str(saved)!r}).score(ordinary_rows().head(5)); "
        "sys.exit(' '.join({'keras', 'tensorflow'} & set(sys.modules)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["weights.npz", "profile.parquet"])
def test_an_altered_file_is_refused(saved: Path, tmp_path: Path, name: str) -> None:
    for file in saved.iterdir():
        data = bytearray(file.read_bytes())
        if file.name == name:
            data[len(data) // 2] ^= 1
        (tmp_path / file.name).write_bytes(data)
    with pytest.raises(DetectorError, match=f"{name} is .*Train the detector again"):
        load_detector(tmp_path)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("schema_hash", "0", "schema is 0, here it is"),
        ("features", ["volume_ratio", "gone"], "the catalog has no feature gone"),
        ("detector", "oracle", "of 'oracle', which this code does not know"),
    ],
)
def test_a_changed_schema_is_refused(saved: Path, tmp_path: Path, field: str, value: object, message: str) -> None:
    for file in saved.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    manifest = json.loads((saved / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps({**manifest, field: value}))
    with pytest.raises(DetectorError, match=message):
        load_detector(tmp_path)


def test_a_folder_without_a_manifest_is_no_detector(tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match="it is no saved detector"):
        load_detector(tmp_path)


def test_too_few_rows_and_rows_without_values_are_refused(sequence_rows: pl.DataFrame) -> None:
    for rows in (sequence_rows.clear(), sequence_rows.head(100)):
        with pytest.raises(DetectorError, match="needs at least 200 minutes to learn from"):
            LstmAutoencoderDetector(SMALL).fit(rows)
    inputs = [feature.name for feature in INPUTS if feature.name in sequence_rows.columns]
    blank = sequence_rows.with_columns(
        pl.lit(None, pl.Float64).alias("mid_price"),
        *(pl.lit(float("nan")).alias(name) for name in inputs),
    )
    with pytest.raises(DetectorError, match="has a value in the training rows"):
        LstmAutoencoderDetector(SMALL).fit(blank)


def test_a_backend_that_is_unknown_or_missing_is_refused() -> None:
    with pytest.raises(DetectorError, match="one of tensorflow, jax, torch, not 'theano'"):
        check_installed("theano")
    with pytest.raises(
        DetectorError, match=r"not installed: install it with `make install`, or `uv sync --extra deep`"
    ):
        check_installed("jax")


def test_constant_features_an_unseen_symbol_and_one_that_vanishes_do_no_harm(
    autoencoder: LstmAutoencoderDetector, sequence_rows: pl.DataFrame
) -> None:
    assert sequence_rows["crossed_share"].n_unique() == 1
    assert set(sequence_rows.filter(pl.col("session_minute") > 350)["symbol"].cast(pl.String)) == {"AAPL"}
    rows = ordinary_rows(5)
    assert np.isfinite(autoencoder.score(rows)).all()
    assert np.isfinite(autoencoder.score(rows.with_columns(symbol=pl.lit("NEW")).head(30))).all()


def test_the_trained_autoencoder_is_exported(
    autoencoder: LstmAutoencoderDetector, sequence_rows: pl.DataFrame, tmp_path: Path
) -> None:
    (off,) = export_onnx(autoencoder, sequence_rows, tmp_path).values()
    assert off < 1e-5
    onnx.checker.check_model(onnx.load(tmp_path / "lstm_autoencoder.onnx"))
