"""The autoencoder is served with its own scores and reasons."""

from pathlib import Path

import numpy as np
import polars as pl

from models.lstm_autoencoder.detector import LstmAutoencoderDetector
from models.served.loading import FrameScorer, load_row_scorer, write_graphs
from models.served.minutes import Minutes


def test_scores_and_reasons_are_those_of_the_detector(
    saved: Path, tmp_path: Path, autoencoder: LstmAutoencoderDetector, sequence_rows: pl.DataFrame
) -> None:
    scorer = load_row_scorer(saved)
    assert isinstance(scorer, FrameScorer)
    write_graphs(saved, tmp_path)
    assert not list(tmp_path.iterdir())
    rows = sequence_rows.head(60)
    minutes = Minutes.of_frame(rows, scorer.features)
    assert np.allclose(scorer.score(minutes), autoencoder.score(rows), rtol=0, atol=1e-9)
    one, double = (minutes.take(np.array(at)) for at in ([30], [30, 30]))
    names, alone = scorer.contributions(one)
    assert scorer.contributions(double)[1].tolist() == [*alone.tolist()] * 2
    expected, own = autoencoder.contributions(rows)
    assert names == expected
    assert np.allclose(scorer.contributions(minutes)[1], own, rtol=0, atol=1e-9)
