"""How MLflow loads a scan: this file is logged with the model and runs when the model is loaded.

Rows may come from `pd.read_parquet` of the lake's own file, from the input example, or from JSON. A time without a zone is UTC.
"""

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import polars as pl

from models.scan.detector import ScanDetector
from tapewatch.market.instruments import market_of, session_at
from tapewatch.market.tables.derived import BINS_5S, INCIDENTS

_TIMES = ("event_time", "known_time", "last_tick")


class ScanModel(mlflow.pyfunc.PythonModel):
    """Finds incidents in `BINS_5S` rows of one market's day, all its symbols from the first bin on."""

    def load_context(self, context: Any) -> None:
        self.detector = ScanDetector.load(Path(context.artifacts["detector"]))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:  # noqa: ARG002
        """`model_input`: the columns of `BINS_5S`; a row out for each incident, the columns of `INCIDENTS`."""
        utc = {name: pd.to_datetime(model_input[name], utc=True).astype("datetime64[ns, UTC]") for name in _TIMES}
        plain = model_input.assign(symbol=model_input["symbol"].astype(str), **utc)
        return found(self.detector, BINS_5S.conform(pl.from_pandas(plain)))


def as_pandas(rows: pl.DataFrame) -> pd.DataFrame:
    """Rows as the model receives them: for a signature and an input example."""
    text, times = pl.col(pl.Categorical).cast(pl.String), pl.col(pl.Datetime).dt.replace_time_zone(None)
    return rows.with_columns(text, times).to_pandas()


def found(detector: ScanDetector, bins: pl.DataFrame) -> pd.DataFrame:
    """The incidents of one session's bins."""
    if bins.is_empty():
        return as_pandas(INCIDENTS.empty())
    symbol, start = bins["symbol"].cast(pl.String)[0], bins["event_time"].dt.epoch("ns")[0]
    # A future looks like a stock.
    market = next((market for market, scan in detector.markets.items() if symbol in scan.symbols), market_of(symbol))
    session = session_at(market, int(start))
    if session is None:
        raise ValueError(f"{bins['event_time'][0]} is in no session of {market}, the market of {symbol}")
    return as_pandas(detector.incidents(bins, session))


mlflow.models.set_model(ScanModel())
