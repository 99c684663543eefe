"""A small autoencoder, trained once."""

from pathlib import Path

import polars as pl
import pytest

from models.lstm_autoencoder.detector import LstmAutoencoderDetector
from models.lstm_autoencoder.training import AutoencoderParameters
from tests.support.detectors import ordinary_rows

SMALL = AutoencoderParameters(window=8, units=8, code=3, epochs=4, patience=4, batch=64, windows_an_epoch=256)


@pytest.fixture(scope="session")
def sequence_rows() -> pl.DataFrame:
    """A day of two symbols whose midquotes move by basis points, one of them without spreads for an hour, and gone at the end."""
    rows = ordinary_rows()
    is_blind = (pl.col("symbol").cast(pl.String) == "MSFT") & pl.col("session_minute").is_between(60, 119)
    mid = 100 + pl.col("mid_price") / 100
    rows = rows.filter((pl.col("symbol").cast(pl.String) == "AAPL") | (pl.col("session_minute") <= 350))
    rows = rows.with_columns(crossed_share=pl.lit(0.0))
    return rows.with_columns(mid_price=mid, quoted_spread_bps=pl.when(~is_blind).then("quoted_spread_bps"))


@pytest.fixture(scope="session")
def autoencoder(sequence_rows: pl.DataFrame) -> LstmAutoencoderDetector:
    return LstmAutoencoderDetector(SMALL, seed=3).fit(sequence_rows, partitions=["2024-06-03|stocks"])


@pytest.fixture(scope="session")
def saved(autoencoder: LstmAutoencoderDetector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("autoencoder")
    autoencoder.save(folder)
    return folder
