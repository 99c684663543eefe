"""Minute features, bars and signals from given prices, for tests of trading."""

import datetime as dt
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from tapewatch.market.instruments import NS_PER_MINUTE, Market, Session, session_of
from tapewatch.market.tables.signals import OUTCOMES, SIGNALS
from tapewatch.market.tables.tape import MICROSTRUCTURE, TIME

DAY = dt.date(2024, 6, 4)


def session() -> Session:
    """A day of the stock market."""
    found = session_of(Market.STOCKS, DAY)
    assert found is not None
    return found


def minute(number: int) -> dt.datetime:
    """The start of a minute of the regular session, from 0."""
    return dt.datetime.fromtimestamp(session().regular_start // 10**9, dt.UTC) + dt.timedelta(minutes=number)


def minute_rows(prices: Mapping[str, Sequence[float]], **columns: object) -> pl.DataFrame:
    """MICROSTRUCTURE of each symbol's prices, a minute each; `columns` replace others (a value, or one a minute)."""
    frames = []
    for symbol, given in prices.items():
        price = np.asarray(given, dtype=float)
        moves = np.diff(np.log(price), prepend=np.log(price[0])) * 1e4
        usual = max(float(np.sqrt(np.mean(moves**2))), 1e-3)
        start = session().regular_start + np.arange(price.size) * NS_PER_MINUTE
        values: dict[str, object] = {
            "symbol": symbol, "event_time": start, "known_time": start + NS_PER_MINUTE, "is_regular": True,
            "session_minute": np.arange(price.size), "last_price": price, "mid_price": price, "volume": 1e3,
            "notional": 1e6, "trade_count": 10, "buy_volume": 5e2, "sell_volume": 5e2, "buy_count": 5, "sell_count": 5,
            "trade_age_s": 1.0, "tape_age_s": 1.0, "return_bps": moves, "return_score": moves / usual, "range_bps": np.abs(moves),
            "quoted_spread_bps": 2.0, "spread_ratio": 1.0, "volatility_ratio": 1.0, "flow_score_3m": 0.0, "flow_score_5m": 0.0,
            "best_level_ofi": 0.0, "quote_count_ratio": 1.0, "volume_ratio": 1.0,
        } | columns  # fmt: skip
        rows = {
            name: np.resize(np.asarray(value), price.size) if not isinstance(value, str) else [value] * price.size
            for name, value in values.items()
        }
        times = {name: pl.Series(rows.pop(name)).cast(TIME) for name in ("event_time", "known_time")}
        frames.append(MICROSTRUCTURE.conform(pl.DataFrame({**rows, **times})))
    return pl.concat(frames).sort(pl.col("symbol").cast(pl.String), "event_time")


def bars_at(prices: Mapping[str, Sequence[float]]) -> pl.DataFrame:
    """Minute bars whose four prices are the given one."""
    frames = [
        pl.DataFrame(
            {
                "symbol": [symbol] * len(given),
                "time": pl.Series(session().regular_start + np.arange(len(given)) * NS_PER_MINUTE).cast(TIME),
                **{name: np.asarray(given, dtype=float) for name in ("open", "high", "low", "close")},
            }
        )
        for symbol, given in prices.items()
    ]
    return pl.concat(frames).with_columns(pl.col("symbol").cast(pl.Categorical()))


def signal(at: int, side: int = 1, **columns: object) -> pl.DataFrame:
    """A tradable signal known at the start of a minute."""
    values = {
        "symbol": "AAA", "event_time": minute(at - 1), "known_time": minute(at), "strategy": "reversal", "partner": "",
        "kind": "unusual", "detector": "scan", "side": side, "horizon_minutes": 10, "regime": "usual", "price": 100.0,
        "spread_bps": 2.0, "volatility_bps": 5.0, "target_bps": 20.0, "cost_bps": 4.0, "exit_minutes": 1.0, "is_tradable": True,
        "reason": "", "bets_before": 0, "confidence": 0.5, "size": 0.0, "limit_price": None,
    } | columns  # fmt: skip
    return SIGNALS.conform(pl.DataFrame([values]))


def outcome(number: int, net_bps: float, **columns: object) -> pl.DataFrame:
    """An outcome, closed five minutes after it was opened; one every ten minutes of a week by `number`."""
    opened = minute(10 * (number % 36)) + dt.timedelta(days=number // 36)
    values = {
        "symbol": "AAA", "event_time": opened, "known_time": opened + dt.timedelta(minutes=5), "strategy": "reversal",
        "partner": "", "kind": "unusual", "detector": "scan", "side": 1, "regime": "usual", "barrier": 1 if net_bps > 0 else -1,
        "label": int(net_bps > 0), "entry_price": 100.0, "gross_bps": net_bps + 4.0, "cost_bps": 4.0, "net_bps": net_bps,
        "target_bps": 20.0, "holding_minutes": 5, "size": 0.0,
    } | columns  # fmt: skip
    return OUTCOMES.conform(pl.DataFrame([values]))
