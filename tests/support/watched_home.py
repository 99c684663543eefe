"""A small home to watch: two stocks on two days, a burst of volume, alerts, an incident, live bars, all with known values."""

import datetime as dt
import json
from pathlib import Path

import polars as pl

from tapewatch.bars.time_bars import minute_bars, reconcile
from tapewatch.features.microstructure import microstructure
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.schema import Table
from tapewatch.market.tables.derived import INCIDENTS
from tapewatch.market.tables.live import ALERTS, LIVE_BARS
from tapewatch.market.tables.tape import BARS, DELIVERED_BARS, MICROSTRUCTURE, QUOTES, TRADES
from tapewatch.store.database.database import Database
from tapewatch.store.database.people.verdicts import incident_id
from tapewatch.store.lake.lake import Lake
from tests.support.burst_tape import tape
from tests.support.made_up_run import bars
from tests.support.price_bars import START

DAY = Partition(START.date(), Market.STOCKS)
LATER = Partition(dt.date(2024, 6, 3), Market.STOCKS)
SYMBOLS = ("AAPL", "MSFT")
#: The burst of the tape, and the alert about it.
BURST = (START + dt.timedelta(minutes=10), START + dt.timedelta(minutes=13))
HOSTILE = "<img src=x onerror=alert(1)> *bold* [a](javascript:alert(1))"
NEAR, FAR = "stocks:volume_spike:AAPL:near", "stocks:price_move:MSFT:far"
INCIDENT = incident_id(Market.STOCKS, "AAPL", BURST[0])


def write_home(home: Path) -> None:
    """Write the lake and the database under `home`."""
    home.mkdir(parents=True, exist_ok=True)
    lake = Lake(home / "lake")
    trades, quotes = (pl.concat(frames) for frames in zip(*map(_of_symbol, SYMBOLS), strict=True))
    lake.write(TRADES, DAY, trades)
    lake.write(QUOTES, DAY, quotes)
    lake.write(BARS, DAY, reconcile(minute_bars(trades, DAY.session), DELIVERED_BARS.empty()))
    lake.write(MICROSTRUCTURE, DAY, microstructure(trades, quotes, DAY.session))
    with Database(f"sqlite:///{home / 'tapewatch.db'}") as database:
        write_alerts(
            database, alert(NEAR, "AAPL", "volume_spike", 1.1), alert(FAR, "MSFT", "price_move", 40.0, HOSTILE)
        )
        database.replace_day(INCIDENTS, DAY, _incident())


def alert(alert_id: str, symbol: str, rule: str, multiple: float, message: str = "as made up") -> dict[str, object]:
    """A row of `ALERTS` about the burst, which has ended."""
    return {
        "alert_id": alert_id, "symbol": symbol, "rule": rule, "severity": "warning", "start_time": BURST[0],
        "end_time": BURST[1], "detected_time": BURST[0], "value": multiple, "baseline": 1.0, "multiple": multiple,
        "peak": multiple, "observations": 3, "message": f"{symbol}: {message}",
    }  # fmt: skip


def write_alerts(database: Database, *rows: dict[str, object]) -> None:
    database.upsert(ALERTS, DAY, ALERTS.conform(pl.DataFrame(list(rows))))


def live_bars(symbol: str, first: dt.datetime, closes: list[float], revision: int = 0) -> pl.DataFrame:
    """Live minutes (`LIVE_BARS`) with these closes."""
    rows = [
        {
            "symbol": symbol, "clock": "1m", "time": first + dt.timedelta(minutes=i),
            "known_time": first + dt.timedelta(minutes=i + 1), "open": close, "high": close + 1, "low": close - 1,
            "close": close, "volume": 10.0, "vwap": close, "transactions": 1, "source": "trades", "revision": revision,
        }
        for i, close in enumerate(closes)
    ]  # fmt: skip
    return LIVE_BARS.conform(pl.DataFrame(rows))


def day_of_bars(symbol: str, seed: int) -> pl.DataFrame:
    """A whole day of bars (`BARS`) on `LATER`."""
    return bars(symbol, Market.STOCKS, seed)


def _of_symbol(symbol: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    trades, quotes = tape(seed=SYMBOLS.index(symbol) + 1, burst=(600, 780) if symbol == "AAPL" else None)
    return _rows(TRADES, trades, symbol), _rows(QUOTES, quotes, symbol)


def _rows(table: Table, frame: pl.DataFrame, symbol: str) -> pl.DataFrame:
    fixed = {"symbol": symbol, "conditions": "", "correction": 0, "exchange": 1, "bid_size": 100.0, "ask_size": 100.0}
    rest = {name: pl.lit(value) for name, value in fixed.items() if name in table.by_name}
    return table.conform(frame.with_columns(sequence_number=pl.int_range(pl.len()), **rest))


def _incident() -> pl.DataFrame:
    reasons = [{"kind": "volume_spike", "statistic": "root_size", "value": 3.0, "words": "20 times the usual size"}]
    row = {
        "symbol": "AAPL", "start_time": BURST[0], "end_time": BURST[1], "known_time": BURST[0], "kind": "volume_spike",
        "surprise": 3.5, "hours": 2000.0, "reasons": json.dumps(reasons), "model": "scan/1",
    }  # fmt: skip
    return INCIDENTS.conform(pl.DataFrame([row]))
