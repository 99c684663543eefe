"""Rows as the vendor's WebSocket messages, straight from columns: no object is made for an event."""

from collections.abc import Callable, Mapping

import polars as pl

from tapewatch.market.instruments import Market

#: Depth of the order books that are shown.
LEVELS = 10

_NS_PER_MS = 1_000_000
_NS_PER_US = 1_000
_LEVEL_STEP = 1e-4


def text(frame: pl.DataFrame, channel: str, market: Market) -> pl.Expr:
    """Each row of a channel's frame as a JSON object and the comma after it; the expression fits this frame alone.

    Args:
        frame: rows as `channels` makes them.
        channel: the vendor's name for it, `T`, `XQ`, ….
        market: whose spellings of symbols are used.
    """
    pieces = _SPELT[channel](frame, market)
    return pl.concat_str([pl.lit(f'{{"ev":"{channel}"'), *pieces, pl.lit("},")])


def unknown(market: Market) -> pl.Expr:
    """The same rows as messages of a kind that nobody has heard of."""
    return pl.concat_str([pl.lit('{"ev":"ZZ","sym":"'), _name(market), pl.lit('","t":'), _ms("time"), pl.lit("},")])


def with_unknown_field(message: pl.Expr) -> pl.Expr:
    """Messages with a field that nobody has heard of."""
    return message.str.replace(r"\},$", ',"zz":{"new":[1,null]}},')


def _stock_trades(frame: pl.DataFrame, market: Market) -> list[pl.Expr]:
    return [
        _symbol("sym", market),
        _field("x", "exchange"),
        _optional("i", pl.lit('"') + _escaped(frame, "id") + pl.lit('"')),
        _optional("z", pl.col("tape")),
        _field("p", "price"),
        *_sizes(frame),
        _codes("c", "conditions"),
        *_millis("t"),
        _field("q", "sequence_number"),
        _optional("trfi", pl.when(pl.col("trf_id") != 0).then("trf_id")),
        _optional("trft", pl.col("trf_time").dt.epoch("ns") // _NS_PER_MS),
    ]


def _stock_quotes(frame: pl.DataFrame, market: Market) -> list[pl.Expr]:
    return [
        _symbol("sym", market),
        *_sides(frame, {"bid_exchange": "bx", "bid_price": "bp", "bid_size": "bs"}),
        *_sides(frame, {"ask_exchange": "ax", "ask_price": "ap", "ask_size": "as"}),
        # One number in the message, the first of the list on the tape.
        _optional("c", pl.col("conditions").cast(pl.String).str.extract(r"^(\d+)")),
        _codes("i", "indicators"),
        *_millis("t"),
        _optional("z", pl.col("tape")),
        _field("q", "sequence_number"),
    ]


def _option_quotes(frame: pl.DataFrame, market: Market) -> list[pl.Expr]:
    return [
        _symbol("sym", market),
        *_sides(frame, {"bid_exchange": "bx", "ask_exchange": "ax", "bid_price": "bp"}),
        *_sides(frame, {"ask_price": "ap", "bid_size": "bs", "ask_size": "as"}),
        *_millis("t"),
        _field("q", "sequence_number"),
    ]


def _future_quotes(frame: pl.DataFrame, market: Market) -> list[pl.Expr]:
    return [
        _symbol("sym", market),
        *_sides(frame, {"bid_price": "bp", "bid_size": "bs"}),
        *_millis("bt"),
        *_sides(frame, {"ask_price": "ap", "ask_size": "as"}),
        *_millis("at"),
        *_millis("t"),
    ]


def _option_trades(frame: pl.DataFrame, market: Market) -> list[pl.Expr]:
    return [
        _symbol("sym", market),
        _field("x", "exchange"),
        _field("p", "price"),
        _number(frame, "s", "size"),
        _codes("c", "conditions"),
        *_millis("t"),
        _field("q", "sequence_number"),
    ]


def _future_trades(frame: pl.DataFrame, market: Market) -> list[pl.Expr]:
    return [
        _symbol("sym", market),
        _field("p", "price"),
        _number(frame, "s", "size"),
        *_millis("t"),
        _field("q", "sequence_number"),
    ]


def _crypto_trades(frame: pl.DataFrame, market: Market) -> list[pl.Expr]:
    return [
        _symbol("pair", market),
        _field("p", "price"),
        *_millis("t"),
        _number(frame, "s", "size"),
        pl.lit(',"c":[') + pl.col("conditions").cast(pl.String) + pl.lit("]"),
        _optional("i", pl.lit('"') + _escaped(frame, "id") + pl.lit('"')),
        _field("x", "exchange"),
        *_millis("r", "_release"),
    ]


def _crypto_quotes(frame: pl.DataFrame, market: Market) -> list[pl.Expr]:
    return [
        _symbol("pair", market),
        *_sides(frame, {"bid_price": "bp", "bid_size": "bs", "ask_price": "ap", "ask_size": "as"}),
        *_millis("t"),
        _optional("x", pl.col("bid_exchange")),
        *_millis("r", "_release"),
    ]


def _crypto_book(_: pl.DataFrame, market: Market) -> list[pl.Expr]:
    return [
        _symbol("pair", market),
        *_levels("b", "bid_price", "bid_size", -_LEVEL_STEP),
        *_levels("a", "ask_price", "ask_size", _LEVEL_STEP),
        *_millis("t"),
        _optional("x", pl.col("bid_exchange")),
        *_millis("r", "_release"),
    ]


def _forex_quotes(_: pl.DataFrame, market: Market) -> list[pl.Expr]:
    return [
        _symbol("p", market),
        _optional("x", pl.col("bid_exchange")),
        _field("a", "ask_price"),
        _field("b", "bid_price"),
        *_millis("t"),
    ]


def _stock_bars(frame: pl.DataFrame, market: Market) -> list[pl.Expr]:
    return [
        _symbol("sym", market),
        _number(frame, "v", "volume"),
        _number(frame, "av", "day_volume"),
        _optional("op", pl.col("official_open")),
        _optional("vw", pl.col("vwap").round(4)),
        *_ohlc(),
        _optional("a", pl.col("day_vwap").round(4)),
        _optional("z", pl.col("average_size").round(0).cast(pl.Int64)),
        *_span(),
    ]


def _pair_bars(frame: pl.DataFrame, market: Market) -> list[pl.Expr]:
    size = [] if market is Market.FOREX else [_optional("z", pl.col("average_size").round(8))]
    price = [] if market is Market.FOREX else [_optional("vw", pl.col("vwap").round(8))]
    return [_symbol("pair", market), *_ohlc(), _number(frame, "v", "volume"), *_span(), *price, *size]


def _index_bars(_: pl.DataFrame, market: Market) -> list[pl.Expr]:
    return [_symbol("sym", market), _optional("op", pl.col("official_open")), *_ohlc(), *_span()]


def _future_bars(frame: pl.DataFrame, market: Market) -> list[pl.Expr]:
    return [
        _symbol("sym", market),
        _number(frame, "v", "volume"),
        _optional("dv", (pl.col("vwap") * pl.col("volume")).round(2)),
        *_ohlc(),
        _optional("n", pl.col("transactions")),
        *_span(),
    ]


def _bars(frame: pl.DataFrame, market: Market) -> list[pl.Expr]:
    spelt = {Market.INDICES: _index_bars, Market.FUTURES: _future_bars}.get(market, _stock_bars)
    return spelt(frame, market)


def _trades(frame: pl.DataFrame, market: Market) -> list[pl.Expr]:
    spelt = {Market.OPTIONS: _option_trades, Market.FUTURES: _future_trades}.get(market, _stock_trades)
    return spelt(frame, market)


def _quotes(frame: pl.DataFrame, market: Market) -> list[pl.Expr]:
    spelt = {Market.OPTIONS: _option_quotes, Market.FUTURES: _future_quotes}.get(market, _stock_quotes)
    return spelt(frame, market)


def _bands(_: pl.DataFrame, market: Market) -> list[pl.Expr]:
    return [
        _symbol("T", market),
        _field("h", "high_price"),
        _field("l", "low_price"),
        pl.lit(',"i":[0]'),
        _optional("z", pl.col("tape")),
        pl.lit(',"t":') + (pl.col("time").dt.epoch("ns") // _NS_PER_US).cast(pl.String),
        _field("q", "sequence_number"),
    ]


def _imbalances(frame: pl.DataFrame, market: Market) -> list[pl.Expr]:
    return [
        _symbol("T", market),
        pl.lit(',"t":') + pl.col("time").dt.epoch("ns").cast(pl.String),
        _field("at", "auction_time"),
        pl.lit(',"a":"') + pl.col("auction_type") + pl.lit('"'),
        _field("i", "sequence_number"),
        _field("x", "exchange"),
        _number(frame, "o", "imbalance"),
        _number(frame, "p", "paired"),
        _field("b", "clearing_price"),
    ]


def _values(_: pl.DataFrame, market: Market) -> list[pl.Expr]:
    return [_field("val", "value"), _symbol("T", market), *_millis("t")]


_Spelling = Callable[[pl.DataFrame, Market], list[pl.Expr]]
_SPELT: Mapping[str, _Spelling] = {
    "T": _trades,
    "Q": _quotes,
    "A": _bars,
    "AM": _bars,
    "LULD": _bands,
    "NOI": _imbalances,
    "C": _forex_quotes,
    "CA": _pair_bars,
    "CAS": _pair_bars,
    "XT": _crypto_trades,
    "XQ": _crypto_quotes,
    "XA": _pair_bars,
    "XAS": _pair_bars,
    "XL2": _crypto_book,
    "V": _values,
}


def _name(market: Market) -> pl.Expr:
    name = pl.col("symbol").cast(pl.String)
    if market is Market.CRYPTO:
        return name.str.strip_prefix("X:")
    if market is Market.FOREX:
        return name.str.strip_prefix("C:").str.replace("-", "/", literal=True)
    return name


def _symbol(field: str, market: Market) -> pl.Expr:
    return pl.lit(f',"{field}":"') + _name(market) + pl.lit('"')


def _field(name: str, column: str) -> pl.Expr:
    return pl.lit(f',"{name}":') + pl.col(column).cast(pl.String)


def _optional(name: str, value: pl.Expr) -> pl.Expr:
    return (pl.lit(f',"{name}":') + value.cast(pl.String)).fill_null("")


def _number(frame: pl.DataFrame, name: str, column: str) -> pl.Expr:
    # Whole amounts go out as integers, as the vendor writes them.
    is_whole = frame.select((pl.col(column) == pl.col(column).floor()).all()).item()
    return _optional(name, pl.col(column).cast(pl.Int64) if is_whole else pl.col(column))


def _sizes(frame: pl.DataFrame) -> list[pl.Expr]:
    """Shares as a whole number, and as a decimal in text where they are none."""
    whole = pl.lit(',"s":') + pl.col("size").floor().cast(pl.Int64).cast(pl.String)
    is_fraction = pl.col("size") != pl.col("size").floor()
    if not frame.select(is_fraction.any()).item():
        return [whole]
    return [whole, _optional("ds", pl.lit('"') + pl.when(is_fraction).then("size").cast(pl.String) + pl.lit('"'))]


def _sides(frame: pl.DataFrame, names: Mapping[str, str]) -> list[pl.Expr]:
    return [
        _number(frame, name, column) if column.endswith("_size") else _optional(name, pl.col(column))
        for column, name in names.items()
    ]


def _levels(field: str, price: str, size: str, step: float) -> list[pl.Expr]:
    """A made-up book behind the best price: each level a little further and a little deeper."""
    pieces = [pl.lit(f',"{field}":[')]
    for level in range(LEVELS):
        at = (pl.col(price) * (1.0 + step * level)).round(8).cast(pl.String)
        amount = (pl.col(size) * (1.0 + 0.25 * level)).round(8).cast(pl.String)
        pieces += [pl.lit("," if level else ""), pl.lit("["), at, pl.lit(","), amount, pl.lit("]")]
    return [*pieces, pl.lit("]")]


def _codes(field: str, column: str) -> pl.Expr:
    codes = pl.col(column).cast(pl.String)
    return pl.when(codes != "").then(pl.lit(f',"{field}":[') + codes + pl.lit("]")).otherwise(pl.lit(""))


def _ohlc() -> list[pl.Expr]:
    return [_field(name, column) for name, column in (("o", "open"), ("c", "close"), ("h", "high"), ("l", "low"))]


def _span() -> list[pl.Expr]:
    return [*_millis("s"), *_millis("e", "end")]


def _ms(column: str) -> pl.Expr:
    return (pl.col(column).dt.epoch("ns") // _NS_PER_MS).cast(pl.String)


def _millis(name: str, column: str = "time") -> list[pl.Expr]:
    return [pl.lit(f',"{name}":'), _ms(column)]


def _escaped(frame: pl.DataFrame, column: str) -> pl.Expr:
    if frame[column].str.contains(r'["\\\x00-\x1f]').any():
        return pl.col(column).str.replace_all(r'(["\\])', r"\$1").str.replace_all(r"[\x00-\x1f]", "")
    return pl.col(column)
