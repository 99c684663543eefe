"""Frames as the vendor's JSON rows, comma-separated."""

from collections.abc import Sequence

import polars as pl

from tapewatch.emulator.vendor.json_fields import codes, decimal, epoch, escaped, field, number, optional, quoted, whole
from tapewatch.market.instruments import Market

_NS_PER_MS = 1_000_000
_SESSION = optional("session_end_date", quoted(pl.col("session_end_date")))


def trades(frame: pl.DataFrame, market: Market) -> str:
    """`TRADES` rows as in `/v3/trades`."""
    has_sip = _has_sip(market)
    pieces = [
        codes("conditions"),
        optional("correction", pl.when(pl.col("correction") != 0).then("correction")),
        optional("id", quoted(escaped(frame, "id"))),
        epoch("participant_timestamp", "participant_time" if has_sip else "time"),
        field("price"),
        # The vendor numbers no trades of options.
        *([field("sequence_number")] if has_sip and market is not Market.OPTIONS else []),
        *([epoch("sip_timestamp")] if has_sip else []),
        *([whole("size"), decimal("decimal_size", "size")] if market is Market.STOCKS else [number(frame, "size")]),
        optional("tape", pl.col("tape")),
        optional("trf_id", pl.when(pl.col("trf_id") != 0).then("trf_id")),
        _trf_timestamp(),
    ]
    return _rows(frame, "exchange", pl.col("exchange"), pieces)


def quotes(frame: pl.DataFrame, market: Market) -> str:
    """`QUOTES` rows as in `/v3/quotes`. Quotes of forex have no sizes."""
    has_sip = _has_sip(market)
    pieces = [
        optional("ask_exchange", pl.col("ask_exchange")),
        number(frame, "ask_size"),
        optional("bid_exchange", pl.col("bid_exchange")),
        field("bid_price"),
        number(frame, "bid_size"),
        codes("conditions"),
        codes("indicators"),
        epoch("participant_timestamp", "participant_time" if has_sip else "time"),
        *([field("sequence_number"), epoch("sip_timestamp")] if has_sip else []),
        optional("tape", pl.col("tape")),
        _trf_timestamp(),
    ]
    return _rows(frame, "ask_price", pl.col("ask_price"), pieces)


def bars(frame: pl.DataFrame, ticker: str | None = None) -> str:
    """Bars (`time`, open, high, low, close, volume, vwap, transactions) as in the aggregates; `T` is `ticker`, or the
    column `ticker` of a frame that has one."""
    value = pl.col("ticker").cast(pl.String) if ticker is None else pl.lit(ticker)
    pieces = [
        *([optional("T", quoted(value))] if ticker is not None or "ticker" in frame.columns else []),
        number(frame, "v", "volume"),
        optional("vw", pl.col("vwap").round(4)),
        *(field(name, column) for name, column in (("c", "close"), ("h", "high"), ("l", "low"))),
        epoch("t", unit_ns=_NS_PER_MS),
        optional("n", pl.col("transactions")),
    ]
    return _rows(frame, "o", pl.col("open"), pieces)


def futures_trades(frame: pl.DataFrame, ticker: str) -> str:
    """`TRADES` rows with the column `session_end_date` as in `/futures/vX/trades`."""
    pieces = [epoch("timestamp"), _SESSION, field("price"), number(frame, "size"), field("sequence_number")]
    return _rows(frame, "ticker", quoted(pl.lit(ticker)), pieces)


def futures_quotes(frame: pl.DataFrame, ticker: str) -> str:
    """`QUOTES` rows with the column `session_end_date` as in `/futures/vX/quotes`."""
    pieces = [epoch("timestamp"), _SESSION]
    for side in ("ask", "bid"):
        pieces += [field(f"{side}_price"), number(frame, f"{side}_size"), epoch(f"{side}_timestamp")]
    return _rows(frame, "ticker", quoted(pl.lit(ticker)), pieces)


def futures_bars(frame: pl.DataFrame, ticker: str) -> str:
    """Bars with the column `session_end_date` as in `/futures/vX/aggs`."""
    pieces = [
        epoch("window_start"),
        _SESSION,
        *(field(name) for name in ("open", "high", "low", "close")),
        number(frame, "volume"),
        optional("dollar_volume", (pl.col("vwap") * pl.col("volume")).round(2)),
        optional("transaction_count", pl.col("transactions")),
    ]
    return _rows(frame, "ticker", quoted(pl.lit(ticker)), pieces)


def _has_sip(market: Market) -> bool:
    return market not in (Market.CRYPTO, Market.FOREX)


def _trf_timestamp() -> pl.Expr:
    ns = pl.col("trf_time").dt.epoch("ns")
    return optional("trf_timestamp", pl.when(ns > 0).then(ns))


def _rows(frame: pl.DataFrame, name: str, value: pl.Expr, pieces: Sequence[pl.Expr]) -> str:
    """Rows of a first field, which has no nulls, and further pieces, which begin with commas."""
    if frame.is_empty():
        return ""
    row = pl.concat_str([pl.lit(f'{{"{name}":'), value.cast(pl.String), *pieces, pl.lit("}")])
    return str(frame.select(row.str.join(",")).item())
