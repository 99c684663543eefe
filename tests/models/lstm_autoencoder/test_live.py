"""Minute by minute, with the minutes before as context, the autoencoder scores as it does the whole day."""

import numpy as np
import polars as pl
import pytest

from models.lstm_autoencoder.detector import LstmAutoencoderDetector
from tapewatch.streaming.detection.minute_scores import MinuteScores

_FIRST = 150
#: Float32 sums round differently with the number of rows.
_CLOSE = {"rtol": 1e-4, "atol": 1e-6}


def scores_of(scored: list[pl.DataFrame]) -> pl.DataFrame:
    """The last score of each symbol and minute."""
    whole = pl.concat([part.select("symbol", "event_time", "score") for part in scored])
    return whole.unique(["symbol", "event_time"], keep="last", maintain_order=True).sort("symbol", "event_time")


@pytest.fixture(scope="module")
def minutes(sequence_rows: pl.DataFrame) -> list[pl.DataFrame]:
    rows = sequence_rows.with_columns(pl.col("symbol").cast(pl.String)).filter(pl.col("session_minute") < _FIRST)
    return rows.sort("event_time").partition_by("event_time", maintain_order=True)


@pytest.mark.long
def test_live_scores_are_those_of_the_whole_day(
    autoencoder: LstmAutoencoderDetector, minutes: list[pl.DataFrame]
) -> None:
    live = MinuteScores(autoencoder, "lstm_autoencoder/1")
    found = scores_of([live.score(rows) for rows in minutes])
    whole = pl.concat(minutes).sort("symbol", "event_time")
    assert np.allclose(found["score"].to_numpy(), autoencoder.score(whole), **_CLOSE)
    # What is held does not grow with the day.
    assert sum(part.height for part in live._context) <= 2 * 2 * (autoencoder.context_minutes + 2)


@pytest.mark.long
def test_a_minute_that_changes_late_is_scored_again_with_those_that_read_it(
    autoencoder: LstmAutoencoderDetector, minutes: list[pl.DataFrame]
) -> None:
    live = MinuteScores(autoencoder, "lstm_autoencoder/1")
    scored = [live.score(rows) for rows in minutes]
    late = minutes[-4].filter(pl.col("symbol") == "AAPL").with_columns(volume_ratio=pl.lit(40.0))
    again = live.score(late)
    assert again.select("symbol", "event_time").rows() == [("AAPL", rows["event_time"][0]) for rows in minutes[-4:]]
    corrected = pl.concat([*minutes, late]).unique(["symbol", "event_time"], keep="last").sort("symbol", "event_time")
    expected = autoencoder.score(corrected)
    assert np.allclose(scores_of([*scored, again])["score"].to_numpy(), expected, **_CLOSE)
    assert not np.allclose(scores_of(scored)["score"].to_numpy(), expected, **_CLOSE)
