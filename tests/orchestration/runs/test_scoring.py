"""The features that a scoring request is made of."""

import datetime as dt
from pathlib import Path

import polars as pl
import pytest

from orchestration.runs.detectors.scoring import minute_row
from tapewatch.market.instruments import Partition, day_of, market_of
from tapewatch.market.tables.tape import MICROSTRUCTURE
from tapewatch.settings import Settings
from tapewatch.store.lake.lake import Lake


@pytest.mark.parametrize("symbol", ["AAPL", "X:BTC-USD", "C:EUR-USD", "I:SPX"])
@pytest.mark.parametrize("hour", range(4))
def test_a_minute_after_midnight_utc_is_found_under_its_market_s_day(tmp_path: Path, symbol: str, hour: int) -> None:
    settings = Settings(home=tmp_path, _env_file=None)
    minute = dt.datetime(2024, 3, 6, hour, 30, tzinfo=dt.UTC)
    ages = {name: 0.0 for name in MICROSTRUCTURE.schema if name.endswith("_age_s")}
    counts = {"is_regular": False, "session_minute": 0, "trade_count": 0}
    row = {"symbol": symbol, "event_time": minute, "known_time": minute + dt.timedelta(minutes=1), **ages, **counts}
    blank = {name: row.get(name, 0.0 if dtype.is_float() else 0) for name, dtype in MICROSTRUCTURE.schema.items()}
    frame = MICROSTRUCTURE.conform(pl.DataFrame([blank]))
    partition = Partition(day_of(market_of(symbol), minute), market_of(symbol))
    assert partition.date == dt.date(2024, 3, 6 if symbol[:2] in ("X:", "C:") else 5)
    Lake(settings.lake_root).write(MICROSTRUCTURE, partition, frame)
    assert minute_row(settings, symbol, minute.replace(second=30))["event_time"].to_list() == [minute]
