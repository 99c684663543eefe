"""Made-up anomalies for tests of the code that stores, serves and shows them."""

import datetime as dt
import json

import polars as pl

from tapewatch.market.tables.tape import ANOMALIES

MINUTE = dt.timedelta(minutes=1)
OPEN = dt.datetime(2024, 6, 3, 13, 30, tzinfo=dt.UTC)
REASONS = (
    {"feature": "return_bps", "value": -84.5, "shap_value": 0.9},
    {"feature": "volume", "value": 125_000.0, "shap_value": 0.4},
    {"feature": "quoted_spread_bps", "value": None, "shap_value": 0.1},
)


def event(symbol: str = "AAPL", start: dt.datetime = OPEN, **changes: object) -> dict[str, object]:
    """One row of the `anomalies` table."""
    return {
        "symbol": symbol,
        "start_time": start,
        "end_time": start + 3 * MINUTE,
        "known_time": start + MINUTE,
        "kind": "price_jump",
        "score": 0.71,
        "threshold": 0.55,
        "minutes": 3,
        "reasons": json.dumps(REASONS),
        "model": "isolation_forest/3",
        **changes,
    }


def events(*rows: dict[str, object]) -> pl.DataFrame:
    """The `ANOMALIES` frame of these rows in the table's order."""
    if not rows:
        return ANOMALIES.empty()
    return ANOMALIES.conform(pl.DataFrame(list(rows))).sort(ANOMALIES.sort)
