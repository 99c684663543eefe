"""Rows as the vendor's WebSocket messages."""

from collections.abc import Callable, Mapping

import polars as pl

from tapewatch.emulator.vendor.json_fields import codes, decimal, epoch, escaped, field, number, optional, quoted, whole
from tapewatch.market.instruments import Market

_LEVELS = 10

_NS_PER_MS = 1_000_000
_NS_PER_US = 1_000
_LEVEL_STEP = 1e-4
_OHLC = "o:open c:close h:high l:low"


def text(frame: pl.DataFrame, channel: str, market: Market) -> pl.Expr:
    """Each row of a channel's frame as a JSON object with a comma after it; the expression is for this frame only.

    Args:
        frame: rows as `channels` builds them.
        channel: the vendor's name of the channel: `T`, `XQ`, ….
        market: determines the spelling of symbols.
    """
    pieces = _FIELDS_OF_MARKET.get((market, channel), _FIELDS[channel])(frame, market)
    return pl.concat_str([pl.lit(f'{{"ev":"{channel}"'), *pieces, pl.lit("},")])


def unknown(market: Market) -> pl.Expr:
    """The same rows as messages of an unknown kind."""
    return pl.concat_str([pl.lit('{"ev":"ZZ","sym":"'), _name(market), pl.lit('"'), _millis("t"), pl.lit("},")])


def with_unknown_field(message: pl.Expr) -> pl.Expr:
    """Messages with an unknown field added."""
    return message.str.replace(r"\},$", ',"zz":{"new":[1,null]}},')


def _stock_trades(frame: pl.DataFrame, market: Market) -> list[pl.Expr]:
    return [
        _symbol("sym", market),
        field("x", "exchange"),
        optional("i", quoted(escaped(frame, "id"))),
        *_columns(frame, "z:tape p:price"),
        whole("s", "size"),
        decimal("ds", "size"),
        codes("c", "conditions"),
        _millis("t"),
        field("q", "sequence_number"),
        optional("trfi", pl.when(pl.col("trf_id") != 0).then("trf_id")),
        _millis("trft", "trf_time"),
    ]


def _stock_quotes(frame: pl.DataFrame, market: Market) -> list[pl.Expr]:
    return [
        _symbol("sym", market),
        *_columns(frame, "bx:bid_exchange bp:bid_price bs:bid_size ax:ask_exchange ap:ask_price as:ask_size"),
        # One number in the message, the first of the list on the tape.
        optional("c", pl.col("conditions").cast(pl.String).str.extract(r"^(\d+)")),
        codes("i", "indicators"),
        _millis("t"),
        *_columns(frame, "z:tape q:sequence_number"),
    ]


def _option_quotes(frame: pl.DataFrame, market: Market) -> list[pl.Expr]:
    sides = "bx:bid_exchange ax:ask_exchange bp:bid_price ap:ask_price bs:bid_size as:ask_size"
    return [_symbol("sym", market), *_columns(frame, sides), _millis("t"), field("q", "sequence_number")]


def _future_quotes(frame: pl.DataFrame, market: Market) -> list[pl.Expr]:
    bid, ask = _columns(frame, "bp:bid_price bs:bid_size"), _columns(frame, "ap:ask_price as:ask_size")
    return [_symbol("sym", market), *bid, _millis("bt"), *ask, _millis("at"), _millis("t")]


def _option_trades(frame: pl.DataFrame, market: Market) -> list[pl.Expr]:
    trade = _columns(frame, "x:exchange p:price s:size")
    return [_symbol("sym", market), *trade, codes("c", "conditions"), _millis("t"), field("q", "sequence_number")]


def _future_trades(frame: pl.DataFrame, market: Market) -> list[pl.Expr]:
    return [_symbol("sym", market), *_columns(frame, "p:price s:size"), _millis("t"), field("q", "sequence_number")]


def _crypto_trades(frame: pl.DataFrame, market: Market) -> list[pl.Expr]:
    return [
        _symbol("pair", market),
        field("p", "price"),
        _millis("t"),
        number(frame, "s", "size"),
        pl.lit(',"c":[') + pl.col("conditions").cast(pl.String) + pl.lit("]"),
        optional("i", quoted(escaped(frame, "id"))),
        field("x", "exchange"),
        _millis("r", "_release"),
    ]


def _crypto_quotes(frame: pl.DataFrame, market: Market) -> list[pl.Expr]:
    sides = _columns(frame, "bp:bid_price bs:bid_size ap:ask_price as:ask_size")
    return [_symbol("pair", market), *sides, *_quoted_at(frame)]


def _crypto_book(frame: pl.DataFrame, market: Market) -> list[pl.Expr]:
    bids = _levels("b", "bid_price", "bid_size", -_LEVEL_STEP)
    asks = _levels("a", "ask_price", "ask_size", _LEVEL_STEP)
    return [_symbol("pair", market), *bids, *asks, *_quoted_at(frame)]


def _quoted_at(frame: pl.DataFrame) -> list[pl.Expr]:
    return [_millis("t"), *_columns(frame, "x:bid_exchange"), _millis("r", "_release")]


def _forex_quotes(frame: pl.DataFrame, market: Market) -> list[pl.Expr]:
    return [_symbol("p", market), *_columns(frame, "x:bid_exchange a:ask_price b:bid_price"), _millis("t")]


def _stock_bars(frame: pl.DataFrame, market: Market) -> list[pl.Expr]:
    return [
        _symbol("sym", market),
        *_volumes(market),
        *_columns(frame, "op:official_open"),
        optional("vw", pl.col("vwap").round(4)),
        *_columns(frame, _OHLC),
        optional("a", pl.col("day_vwap").round(4)),
        optional("z", pl.col("average_size").round(0).cast(pl.Int64)),
        *_span(),
    ]


def _pair_bars(frame: pl.DataFrame, market: Market) -> list[pl.Expr]:
    means = [optional("vw", pl.col("vwap").round(8)), optional("z", pl.col("average_size").round(8))]
    bar = [_symbol("pair", market), *_columns(frame, f"{_OHLC} v:volume"), *_span()]
    return bar if market is Market.FOREX else bar + means


def _index_bars(frame: pl.DataFrame, market: Market) -> list[pl.Expr]:
    return [_symbol("sym", market), *_columns(frame, f"op:official_open {_OHLC}"), *_span()]


def _future_bars(frame: pl.DataFrame, market: Market) -> list[pl.Expr]:
    notional = optional("dv", (pl.col("vwap") * pl.col("volume")).round(2))
    bar = _columns(frame, f"{_OHLC} n:transactions")
    return [_symbol("sym", market), number(frame, "v", "volume"), notional, *bar, *_span()]


def _bands(frame: pl.DataFrame, market: Market) -> list[pl.Expr]:
    return [
        _symbol("T", market),
        *_columns(frame, "h:high_price l:low_price"),
        pl.lit(',"i":[0]'),
        *_columns(frame, "z:tape"),
        epoch("t", unit_ns=_NS_PER_US),
        field("q", "sequence_number"),
    ]


def _imbalances(frame: pl.DataFrame, market: Market) -> list[pl.Expr]:
    return [
        _symbol("T", market),
        epoch("t"),
        field("at", "auction_time"),
        optional("a", quoted(pl.col("auction_type"))),
        *_columns(frame, "i:sequence_number x:exchange"),
        number(frame, "o", "imbalance"),
        number(frame, "p", "paired"),
        field("b", "clearing_price"),
    ]


def _values(_: pl.DataFrame, market: Market) -> list[pl.Expr]:
    return [field("val", "value"), _symbol("T", market), _millis("t")]


_FIELDS: Mapping[str, Callable[[pl.DataFrame, Market], list[pl.Expr]]] = {
    "T": _stock_trades,
    "Q": _stock_quotes,
    "A": _stock_bars,
    "AM": _stock_bars,
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
# Markets whose messages differ from those of stocks on the same channel.
_FIELDS_OF_MARKET = {
    (Market.OPTIONS, "T"): _option_trades,
    (Market.OPTIONS, "Q"): _option_quotes,
    (Market.FUTURES, "T"): _future_trades,
    (Market.FUTURES, "Q"): _future_quotes,
    (Market.FUTURES, "A"): _future_bars,
    (Market.FUTURES, "AM"): _future_bars,
    (Market.INDICES, "A"): _index_bars,
    (Market.INDICES, "AM"): _index_bars,
}


def _name(market: Market) -> pl.Expr:
    name = pl.col("symbol").cast(pl.String)
    if market is Market.CRYPTO:
        return name.str.strip_prefix("X:")
    if market is Market.FOREX:
        return name.str.strip_prefix("C:").str.replace("-", "/", literal=True)
    return name


def _symbol(name: str, market: Market) -> pl.Expr:
    return pl.lit(f',"{name}":"') + _name(market) + pl.lit('"')


def _volumes(market: Market) -> list[pl.Expr]:
    """Volumes in whole units, and for stocks with their fraction as text."""
    volumes = [whole("v", "volume"), whole("av", "day_volume")]
    return [*volumes, decimal("dv", "volume"), decimal("dav", "day_volume")] if market is Market.STOCKS else volumes


def _columns(frame: pl.DataFrame, names: str) -> list[pl.Expr]:
    """Fields of columns, from pairs `name:column`. Sizes and volumes that are all whole become integers."""
    fields = []
    for name, _, column in (pair.partition(":") for pair in names.split()):
        is_amount = column.endswith(("size", "volume"))
        fields.append(number(frame, name, column) if is_amount else optional(name, pl.col(column)))
    return fields


def _levels(name: str, price: str, size: str, step: float) -> list[pl.Expr]:
    """Made-up levels of a book: each is a little further from the best price and a little deeper."""
    pieces = [pl.lit(f',"{name}":[')]
    for level in range(_LEVELS):
        at = (pl.col(price) * (1.0 + step * level)).round(8).cast(pl.String)
        amount = (pl.col(size) * (1.0 + 0.25 * level)).round(8).cast(pl.String)
        pieces += [pl.lit("," if level else ""), pl.lit("["), at, pl.lit(","), amount, pl.lit("]")]
    return [*pieces, pl.lit("]")]


def _span() -> list[pl.Expr]:
    return [_millis("s"), _millis("e", "end")]


def _millis(name: str, column: str = "time") -> pl.Expr:
    return epoch(name, column, _NS_PER_MS)
