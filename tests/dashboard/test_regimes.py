"""Runs of regimes: joined by hand, cut at nights and unknown blocks."""

import datetime as dt

import polars as pl

from dashboard.reading.regimes import regime_runs
from tapewatch.market.instruments import Market
from tapewatch.market.tables.features import REGIMES
from tapewatch.store.database.database import Database
from tapewatch.store.lake.lake import Lake
from tests.support.watched_home import DAY

OPEN = dt.datetime(2024, 3, 5, 15, tzinfo=dt.UTC)
BLOCK = dt.timedelta(minutes=5)


def block(number: int, regime: str | None, probability: float = 0.8) -> dict[str, object]:
    start = OPEN + number * BLOCK
    rest = {
        f"probability_{state}": probability if state == regime else 0.1 for state in ("calm", "normal", "turbulent")
    }
    return {
        "symbol": "AAPL",
        "event_time": start,
        "known_time": start + BLOCK,
        "volatility_bps": 1.0,
        "regime": regime,
        **rest,
    }


def test_neighbours_of_one_regime_are_joined_and_gaps_are_not_bridged(lake: Lake, database: Database) -> None:
    said = {0: "calm", 1: "calm", 2: "turbulent", 3: None, 4: "turbulent", 30: "turbulent"}
    rows = [block(number, regime, 0.7 if number == 1 else 0.9) for number, regime in said.items()]
    rows.append(block(0, "normal") | {"symbol": "MSFT"})
    lake.write(REGIMES, DAY, REGIMES.conform(pl.DataFrame(rows, infer_schema_length=None)).sort("symbol", "event_time"))
    found = regime_runs(lake, database, Market.STOCKS, "AAPL", OPEN, OPEN + dt.timedelta(hours=4))
    minutes = [(row[0], (row[1] - OPEN) / BLOCK, (row[2] - OPEN) / BLOCK) for row in found.rows()]
    assert minutes == [("calm", 0, 2), ("turbulent", 2, 5), ("turbulent", 30, 31)]
    assert found["probability"][0] == 0.8
    later = regime_runs(lake, database, Market.STOCKS, "AAPL", OPEN + 2 * BLOCK, OPEN + 4 * BLOCK)
    assert later["start_time"].to_list() == [OPEN + 2 * BLOCK]
    assert regime_runs(lake, database, Market.CRYPTO, "X:BTC-USD", OPEN, OPEN + BLOCK).is_empty()
    # Blocks that only the database has, of the lake's last regime and of another; one that both have is the lake's.
    live = [block(number, regime) for number, regime in {4: "calm", 31: "turbulent", 32: "calm"}.items()]
    database.upsert(REGIMES, DAY, REGIMES.conform(pl.DataFrame(live, infer_schema_length=None)))
    found = regime_runs(lake, database, Market.STOCKS, "AAPL", OPEN, OPEN + dt.timedelta(hours=4))
    minutes = [(row[0], (row[1] - OPEN) / BLOCK, (row[2] - OPEN) / BLOCK) for row in found.rows()]
    assert minutes == [("calm", 0, 2), ("turbulent", 2, 5), ("turbulent", 30, 32), ("calm", 32, 33)]
