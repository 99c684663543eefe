"""What a report about a detector explains: minutes with those before them, as a sequence needs them."""

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from assets.detections.explaining import explained
from models.ensemble.detector import EnsembleDetector
from models.importance.attributed import additivity
from models.isolation_forest.detector import ForestParameters, IsolationForestDetector
from models.lstm_autoencoder.detector import LstmAutoencoderDetector
from models.lstm_autoencoder.training import AutoencoderParameters
from tests.support.detectors import ordinary_rows

_SMALL = AutoencoderParameters(window=8, units=4, code=2, epochs=1, batch=64, windows_an_epoch=64)


@pytest.mark.long
def test_minutes_are_explained_within_their_sequence_and_add_up() -> None:
    rows = ordinary_rows().with_columns(crossed_share=pl.lit(0.0))
    autoencoder = LstmAutoencoderDetector(_SMALL, seed=3).fit(rows)
    forest = IsolationForestDetector(ForestParameters(trees=10), seed=1).fit(rows)
    ensemble = EnsembleDetector((forest, autoencoder)).fit(rows)
    for detector, sum_of in ((autoencoder, "score"), (ensemble, "margin")):
        found = explained(detector, rows, seed=0)
        assert found.attributions.select("symbol", "event_time").n_unique() == 500
        whole = detector.explain(rows).join(found.attributions, on=["symbol", "event_time", "feature"], how="semi")
        assert_frame_equal(found.attributions, whole, rel_tol=1e-5)
        form, off = additivity(found.attributions, found.sums)
        assert form.startswith(sum_of)
        assert off < 1e-9
