"""The recorded flat files as frames, read with Polars, independently of the platform's own loader."""

import datetime as dt
from pathlib import Path

import polars as pl

from tapewatch.market.tables.tape import DELIVERED_BARS, QUOTES, TRADES

TICK_DAYS = (dt.date(2013, 10, 7), dt.date(2013, 10, 8), dt.date(2013, 10, 9))


def day_file(root: Path, layout: str, date: dt.date) -> Path:
    """The path of a day's file in a layout."""
    return root / layout / f"{date:%Y/%m}" / f"{date}.csv.gz"


def recorded_trades(root: Path, date: dt.date) -> pl.DataFrame:
    """The stock trades of a day as `TRADES`."""
    raw = pl.read_csv(
        day_file(root, "us_stocks_sip/trades_v1", date), schema_overrides={"conditions": pl.String, "id": pl.String}
    )
    return TRADES.conform(
        raw.with_columns(
            pl.col("conditions").fill_null(""),
            symbol="ticker",
            time=_utc("sip_timestamp"),
            participant_time=_utc("participant_timestamp"),
        )
    )


def recorded_quotes(root: Path, date: dt.date) -> pl.DataFrame:
    """The stock quotes of a day as `QUOTES`."""
    raw = pl.read_csv(
        day_file(root, "us_stocks_sip/quotes_v1", date),
        schema_overrides={"conditions": pl.String, "indicators": pl.String},
    )
    return QUOTES.conform(
        raw.with_columns(symbol="ticker", time=_utc("sip_timestamp"), participant_time=_utc("participant_timestamp"))
    )


def recorded_bars(root: Path, date: dt.date, market: str = "us_stocks_sip") -> pl.DataFrame:
    """The delivered minute bars of a day as `DELIVERED_BARS`; an index has no volume, which counts as 0."""
    raw = pl.read_csv(day_file(root, f"{market}/minute_aggs_v1", date), schema_overrides={"volume": pl.Float64})
    if "volume" not in raw.columns:
        raw = raw.with_columns(volume=0.0)
    return DELIVERED_BARS.conform(raw.with_columns(symbol="ticker", time=_utc("window_start")))


def recorded_quote_bars(root: Path, date: dt.date, market: str = "us_stocks") -> pl.DataFrame:
    """The recorded minute bars of the best bid and offer, unchanged but with `symbol` and `time`."""
    raw = pl.read_csv(day_file(root, f"lean_quote_bars/{market}/minute", date))
    return raw.with_columns(symbol="ticker", time=_utc("window_start"))


def _utc(name: str) -> pl.Expr:
    return pl.from_epoch(name, time_unit="ns").dt.replace_time_zone("UTC")
