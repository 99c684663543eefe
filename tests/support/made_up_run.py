"""A small made-up run for tests of the report: random walks, labelled anomalies, and some detections."""

import datetime as dt
import json

import numpy as np
import polars as pl

from tapewatch.market.instruments import Market, Partition, session_of
from tapewatch.market.tables.derived import COMPARISON, INCIDENTS, SCAN_EVALUATION
from tapewatch.market.tables.tape import BARS, EVALUATION
from tapewatch.reports.run_report import RunSummary
from tests.support.anomalies import MINUTE, OPEN, event, events

DAY = OPEN.date()
KINDS = ("price_jump", "volume_spike", "spread_blowout", "quote_stuffing")


def bars(symbol: str, market: Market, seed: int) -> pl.DataFrame:
    """A day of minute bars (`BARS`) of a random walk."""
    session = session_of(market, DAY)
    assert session is not None
    minutes = session.regular_minutes
    noise = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(noise.normal(0, 6e-4, minutes)))
    open_ = np.concatenate([[100.0], close[:-1]])
    wick = np.abs(noise.normal(0, 4e-4, (2, minutes))) * close
    time = pl.Series("time", session.regular_start + 60_000_000_000 * np.arange(minutes)).cast(pl.Datetime("ns", "UTC"))
    frame = pl.DataFrame(
        {
            "symbol": [symbol] * minutes,
            "time": time,
            "open": open_,
            "high": np.maximum(open_, close) + wick[0],
            "low": np.minimum(open_, close) - wick[1],
            "close": close,
            "volume": noise.gamma(2, 500, minutes),
            "source": ["trades"] * minutes,
        }
    )
    return BARS.conform(frame.with_columns(known_time=pl.col("time") + MINUTE))


def truth() -> pl.DataFrame:
    """Eight labelled anomalies of AAPL and X:BTC-USD, an hour apart."""
    rows = [
        {
            "symbol": symbol,
            "event_id": f"{symbol}-{position}",
            "kind": kind,
            "start_time": OPEN + dt.timedelta(minutes=20 + 60 * position),
            "end_time": OPEN + dt.timedelta(minutes=25 + 60 * position),
        }
        for symbol in ("AAPL", "X:BTC-USD")
        for position, kind in enumerate(KINDS)
    ]
    return pl.DataFrame(rows)


def detections() -> pl.DataFrame:
    """Detections of AAPL's first three anomalies and X:BTC-USD's first, and one false alert."""
    found = [OPEN + dt.timedelta(minutes=21 + 60 * position) for position in range(3)]
    return events(
        *(
            event("AAPL", start, kind=kind, score=0.6 + 0.05 * n)
            for n, (start, kind) in enumerate(zip(found, KINDS, strict=False))
        ),
        event("AAPL", OPEN + dt.timedelta(minutes=50), score=0.56),
        event("X:BTC-USD", found[0], score=0.66),
    )


def incidents() -> pl.DataFrame:
    """Incidents of AAPL's four anomalies."""
    start = [OPEN + dt.timedelta(minutes=21 + 60 * position) for position in range(len(KINDS))]
    words = [{"kind": kind, "statistic": "jump", "value": 8.0, "words": f"a reason of {kind}"} for kind in KINDS]
    return INCIDENTS.conform(
        pl.DataFrame(
            {
                "symbol": ["AAPL"] * len(KINDS),
                "start_time": start,
                "end_time": [each + dt.timedelta(seconds=45) for each in start],
                "known_time": [each + dt.timedelta(seconds=5) for each in start],
                "kind": list(KINDS),
                "surprise": [1.5, 2.5, 3.5, 4.0],
                "hours": [20.6, 205.5, 2055.5, 10_000.0],
                "reasons": [json.dumps([word]) for word in words],
                "model": ["scan/1"] * len(KINDS),
            }
        )
    )


def evaluation() -> pl.DataFrame:
    """The Isolation Forest on unseen days: two kinds, and the whole."""
    return EVALUATION.conform(
        pl.DataFrame(
            {
                "kind": ["all", "price_jump", "quote_stuffing"],
                "truth": ["source"] * 3,
                "events": [4, 2, 2],
                "found": [2, 2, 0],
                "recall": [0.5, 1.0, 0.0],
                "rule_found": [1, 1, 0],
                "rule_recall": [0.25, 0.5, 0.0],
                "delay_s": [90.0, 90.0, None],
                "false_alerts_per_390_minutes": [1.25, None, None],
            }
        )
    )


def scan_evaluation() -> pl.DataFrame:
    """The scan on the same days."""
    return SCAN_EVALUATION.conform(
        pl.DataFrame(
            {
                "kind": ["all", "price_jump", "quote_stuffing", "flash_crash"],
                "truth": ["source"] * 4,
                "events": [4, 2, 2, 0],
                "found": [3, 2, 1, 0],
                "named": [3, 2, 1, 0],
                "false_alerts": [3, 1, 1, 1],
                "recall": [0.75, 1.0, 0.5, None],
                "recall_low": [0.3, 0.34, 0.1, None],
                "recall_high": [0.95, 1.0, 0.9, None],
                "delay_s": [14.0, 9.0, 40.0, None],
                "false_alerts_per_390_minutes": [0.75, 0.25, 0.25, 0.25],
            }
        )
    )


def comparison() -> pl.DataFrame:
    """The ensemble and the classifier on the same days."""
    of_ensemble = evaluation().with_columns(detector=pl.lit("ensemble"), found=pl.Series([3, 2, 1]))
    return COMPARISON.conform(
        pl.concat(
            [of_ensemble, evaluation().with_columns(detector=pl.lit("anomaly_classifier"))], how="diagonal_relaxed"
        )
    )


def summary(**changes: object) -> RunSummary:
    """A run of two markets and one day."""
    made: dict[str, object] = {
        "title": "Tapewatch demo",
        "source": "synthetic market, seed 7",
        "partitions": [Partition(DAY, Market.STOCKS), Partition(DAY, Market.CRYPTO)],
        "steps": [("tape/trades", 12.4), ("features/microstructure", 3.1), ("models/isolation_forest", 0.9)],
        "bars": pl.concat([bars("AAPL", Market.STOCKS, 1), bars("X:BTC-USD", Market.CRYPTO, 2)]),
        "anomalies": detections(),
        "truth": truth(),
        "incidents": incidents(),
        "evaluation": evaluation(),
        "scan_evaluation": scan_evaluation(),
        "model": {"name": "isolation_forest", "version": 3, "threshold": 0.55},
    }
    return RunSummary(**{**made, **changes})  # type: ignore[arg-type]
