"""A small fitted detector and rows to score, for tests of serving."""

import numpy as np
import polars as pl

from models.anomaly_classifier.detector import AnomalyClassifierDetector
from models.anomaly_classifier.learning import Growth
from models.ensemble.detector import EnsembleDetector
from models.isolation_forest.detector import ForestParameters, IsolationForestDetector
from tapewatch.market.instruments import Market, session_of
from tapewatch.market.tables.tape import MICROSTRUCTURE
from tests.support.anomalies import MINUTE, OPEN

SYMBOLS = ("AAPL", "MSFT")


def ordinary_rows(seed: int = 0) -> pl.DataFrame:
    """A regular day of `MICROSTRUCTURE` rows of two symbols, every feature drawn from a narrow gamma."""
    session = session_of(Market.STOCKS, OPEN.date())
    assert session is not None
    noise = np.random.default_rng(seed)
    minutes = session.regular_minutes
    start = pl.Series(session.regular_start + 60_000_000_000 * np.arange(minutes)).cast(pl.Datetime("ns", "UTC"))
    frames = [
        pl.DataFrame({"event_time": start}).with_columns(
            pl.lit(symbol).alias("symbol"),
            (pl.col("event_time") + MINUTE).alias("known_time"),
            pl.lit(value=True).alias("is_regular"),
            pl.int_range(pl.len()).alias("session_minute"),
            *(
                pl.Series(column.name, noise.gamma(20, 0.02, minutes)).clip(0, 1).cast(column.dtype)
                for column in MICROSTRUCTURE.columns
                if column.dtype.is_numeric() and column.name != "session_minute"
            ),
        )
        for symbol in SYMBOLS
    ]
    return MICROSTRUCTURE.conform(pl.concat(frames)).sort("symbol", "event_time")


def extreme(rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` with extreme volumes and price moves."""
    return rows.with_columns(volume_ratio=pl.lit(400.0), return_bps=pl.lit(-900.0), range_bps=pl.lit(900.0))


def fitted() -> IsolationForestDetector:
    """A detector of few trees, fitted on `ordinary_rows`."""
    detector = IsolationForestDetector(ForestParameters(trees=50, samples=256), seed=1)
    return detector.fit(ordinary_rows(), partitions=["2024-06-03|stocks"])


def fitted_ensemble() -> EnsembleDetector:
    """That detector and a small classifier together."""
    rows, days = ordinary_rows(), ["2024-06-03|stocks"]
    labelled = extreme(rows.gather_every(6)).with_columns(kind=pl.lit("price_jump"), weight=pl.lit(1.0))
    classifier = AnomalyClassifierDetector(Growth(iterations=10, leaves=4), seed=1)
    classifier.fit(rows, partitions=days, labelled=labelled)
    return EnsembleDetector((fitted(), classifier)).fit(rows, partitions=days)
