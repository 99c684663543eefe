"""A small made-up run for tests of the report: random walks, labelled anomalies, and some detections."""

import datetime as dt

import numpy as np
import polars as pl

from tapewatch.market.instruments import Market, Partition, session_of
from tapewatch.market.tables import BARS
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
        "model": {"name": "isolation_forest", "version": 3, "threshold": 0.55},
    }
    return RunSummary(**{**made, **changes})  # type: ignore[arg-type]
