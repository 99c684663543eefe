"""Frames as the vendor's JSON rows, straight from columns: no object is made for a row."""

from collections.abc import Sequence

import polars as pl

from tapewatch.market.instruments import Market

_NOTHING = pl.lit("")
_NEEDS_ESCAPE = r'["\\\x00-\x1f]'


def trades(frame: pl.DataFrame, market: Market) -> str:
    """`TRADES` rows as `/v3/trades` spells them, comma-separated."""
    has_sip = market not in (Market.CRYPTO, Market.FOREX)
    pieces = [
        _codes("conditions"),
        _optional("correction", pl.when(pl.col("correction") != 0).then("correction"), is_leading=True),
        _field("exchange", "exchange", is_first=True),
        _optional("id", pl.lit('"') + _text(frame, "id") + pl.lit('"')),
        *_optional_ns("participant_timestamp", "participant_time" if has_sip else "time", is_nullable=has_sip),
        _field("price", "price"),
        # The vendor states no numbers for trades of options.
        *([_field("sequence_number", "sequence_number")] if has_sip and market is not Market.OPTIONS else []),
        *([_time("sip_timestamp")] if has_sip else []),
        _amount(frame, "size"),
        _optional("tape", pl.col("tape")),
        _optional("trf_id", pl.when(pl.col("trf_id") != 0).then("trf_id")),
        _optional("trf_timestamp", _positive_ns("trf_time")),
    ]
    return _rows(frame, pieces)


def quotes(frame: pl.DataFrame, market: Market) -> str:
    """`QUOTES` rows as `/v3/quotes` spells them, comma-separated."""
    has_sip = market not in (Market.CRYPTO, Market.FOREX)
    pieces = [
        _optional("ask_exchange", pl.col("ask_exchange"), is_leading=True),
        _field("ask_price", "ask_price", is_first=True),
        *([_amount(frame, "ask_size")] if has_sizes(frame) else []),
        _optional("bid_exchange", pl.col("bid_exchange")),
        _field("bid_price", "bid_price"),
        *([_amount(frame, "bid_size")] if has_sizes(frame) else []),
        _codes("conditions", is_leading=False),
        _codes("indicators", is_leading=False),
        *_optional_ns("participant_timestamp", "participant_time" if has_sip else "time", is_nullable=has_sip),
        *([_field("sequence_number", "sequence_number"), _time("sip_timestamp")] if has_sip else []),
        _optional("tape", pl.col("tape")),
        _optional("trf_timestamp", _positive_ns("trf_time")),
    ]
    return _rows(frame, pieces)


def bars(frame: pl.DataFrame, ticker: str | None = None) -> str:
    """Bars (`time`, open, high, low, close, volume, vwap, transactions) as the aggregates spell them; with `ticker`
    set as `T`, or with the column `ticker` where the frame has one."""
    names = (("o", "open"), ("c", "close"), ("h", "high"), ("l", "low"))
    head = [_amount(frame, "volume", "v", is_first=True)]
    if ticker is not None or "ticker" in frame.columns:
        value = pl.lit(ticker) if ticker is not None else pl.col("ticker").cast(pl.String)
        head = [pl.lit('"T":"') + value + pl.lit('"'), _amount(frame, "volume", "v")]
    pieces = [
        *head,
        _optional("vw", pl.col("vwap").round(4)),
        *(_field(short, name) for short, name in names),
        pl.lit(',"t":') + (pl.col("time").dt.epoch("ns") // 1_000_000).cast(pl.String),
        _optional("n", pl.col("transactions")),
    ]
    return _rows(frame, pieces)


def futures_trades(frame: pl.DataFrame, ticker: str) -> str:
    """`TRADES` rows with the column `session_end_date` as `/futures/vX/trades` spells them."""
    pieces = [
        *_of_contract(ticker, "timestamp"),
        _field("price", "price"),
        _amount(frame, "size"),
        _field("sequence_number", "sequence_number"),
    ]
    return _rows(frame, pieces)


def futures_quotes(frame: pl.DataFrame, ticker: str) -> str:
    """`QUOTES` rows with the column `session_end_date` as `/futures/vX/quotes` spells them."""
    pieces = _of_contract(ticker, "timestamp")
    for side in ("ask", "bid"):
        pieces += [_field(f"{side}_price", f"{side}_price"), _amount(frame, f"{side}_size"), _time(f"{side}_timestamp")]
    return _rows(frame, pieces)


def futures_bars(frame: pl.DataFrame, ticker: str) -> str:
    """Bars with the column `session_end_date` as `/futures/vX/aggs` spells them."""
    pieces = [
        *_of_contract(ticker, "window_start"),
        *(_field(name, name) for name in ("open", "high", "low", "close")),
        _amount(frame, "volume"),
        _optional("dollar_volume", (pl.col("vwap") * pl.col("volume")).round(2)),
        _optional("transaction_count", pl.col("transactions")),
    ]
    return _rows(frame, pieces)


def _of_contract(ticker: str, time: str) -> list[pl.Expr]:
    date = pl.lit(',"session_end_date":"') + pl.col("session_end_date") + pl.lit('"')
    return [pl.lit(f'"ticker":"{ticker}"'), _time(time), date]


def has_sizes(frame: pl.DataFrame) -> bool:
    """Whether quotes state sizes; a forex market's do not."""
    return frame["bid_size"].null_count() == 0


def _rows(frame: pl.DataFrame, pieces: Sequence[pl.Expr]) -> str:
    if frame.is_empty():
        return ""
    row = pl.concat_str([pl.lit("{"), *pieces, pl.lit("}")])
    return str(frame.select(row.str.join(",")).item())


def _field(name: str, column: str, *, is_first: bool = False) -> pl.Expr:
    return pl.lit(f'{"" if is_first else ","}"{name}":') + pl.col(column).cast(pl.String)


def _optional(name: str, value: pl.Expr, *, is_leading: bool = False) -> pl.Expr:
    text = value.cast(pl.String)
    full = pl.lit(f'"{name}":') + text + pl.lit(",") if is_leading else pl.lit(f',"{name}":') + text
    return full.fill_null(_NOTHING)


def _amount(frame: pl.DataFrame, column: str, name: str | None = None, *, is_first: bool = False) -> pl.Expr:
    # Whole sizes go out as integers, as the vendor writes them.
    is_whole = frame.select((pl.col(column) == pl.col(column).floor()).all()).item()
    value = pl.col(column).cast(pl.Int64) if is_whole else pl.col(column)
    return pl.lit(f'{"" if is_first else ","}"{name or column}":') + value.cast(pl.String)


def _codes(column: str, *, is_leading: bool = True) -> pl.Expr:
    text = pl.col(column).cast(pl.String)
    before, after = ("", ",") if is_leading else (",", "")
    full = pl.lit(f'{before}"{column}":[') + text + pl.lit(f"]{after}")
    return pl.when(text != "").then(full).otherwise(_NOTHING).fill_null(_NOTHING)


def _optional_ns(name: str, column: str, *, is_nullable: bool) -> list[pl.Expr]:
    value = pl.col(column).dt.epoch("ns")
    if is_nullable:
        return [_optional(name, value)]
    return [pl.lit(f',"{name}":') + value.cast(pl.String)]


def _time(name: str) -> pl.Expr:
    return pl.lit(f',"{name}":') + pl.col("time").dt.epoch("ns").cast(pl.String)


def _positive_ns(column: str) -> pl.Expr:
    ns = pl.col(column).dt.epoch("ns")
    return pl.when(ns > 0).then(ns)


def _text(frame: pl.DataFrame, column: str) -> pl.Expr:
    if frame[column].str.contains(_NEEDS_ESCAPE).any():
        return pl.col(column).str.replace_all(r'(["\\])', r"\$1").str.replace_all(r"[\x00-\x1f]", "")
    return pl.col(column)
