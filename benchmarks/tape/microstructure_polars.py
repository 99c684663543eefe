"""Minute microstructure in idiomatic lazy Polars (group_by, rolling, join_asof), as a peer in benchmarks.

It shares no code with `tapewatch.features` and leaves out VPIN, as the peer in pandas does.
"""

import polars as pl

from tapewatch.market.conditions import STOCK_UPDATE_RULES, Updates, updates
from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Session

_KEY = ["symbol", "event_time"]
_BPS = 1e4
_GROUPS = ["symbol", "part"]
_ON = [*_GROUPS, "clock"]
_FLAGS = ("regular", "extended", "even_regular", "even_extended")
_MINUTE = (pl.col("time") - pl.col("time") % NS_PER_MINUTE).alias("event_time")
# Rows are sorted by symbol, so that a shift is cheaper than a window over the symbol.
_IS_SAME_SYMBOL = pl.col("symbol") == pl.col("symbol").shift()


def microstructure(trades: pl.DataFrame, quotes: pl.DataFrame, session: Session) -> pl.DataFrame:
    """One row per symbol and minute, sorted, with the columns of `MICROSTRUCTURE` except `vpin`.

    Args:
        trades, quotes: rows as in their tables, sorted.
        session: a stock session.
    """
    trade = trades.lazy().with_columns(pl.col("time").to_physical())
    quote = quotes.lazy().with_columns(pl.col("time").to_physical())
    kept = _flagged(trade.filter((pl.col("correction") < 7).fill_null(value=True)), trades, session)
    grid = _grid(trade, quote, session)
    priced = kept.filter(pl.col("sets_price") & (pl.col("price") > 0)).with_columns(
        change=pl.when(_IS_SAME_SYMBOL).then(pl.col("price").diff())
    )
    measured = _measured(kept, _valid_mid(quote))
    parts = [_volume(kept), _extremes(kept), _prices(priced), _squared(priced), _signed(measured)]
    parts += [_realised(measured, _valid_mid(quote)), _book(quote), _standing(quote, grid)]
    # Collected together, the parts share the prepared ticks; a single query took a quarter longer.
    grid, *parts = (part.lazy() for part in pl.collect_all([grid, *parts]))
    rows = grid
    for part in parts:
        rows = rows.join(part, on=_KEY, how="left", maintain_order="left")
    return _trailed(_derived(_filled(rows, session))).collect()


def _flagged(trade: pl.LazyFrame, trades: pl.DataFrame, session: Session) -> pl.LazyFrame:
    texts = trades["conditions"].unique().cast(pl.String).to_list()
    even = [",".join(code for code in text.split(",") if code != "37") for text in texts]
    priced = int(Updates.OPEN_CLOSE | Updates.VOLUME)
    table = pl.LazyFrame(
        {
            "conditions": texts,
            "regular": [int(updates(text, STOCK_UPDATE_RULES, is_extended=False)) for text in texts],
            "extended": [int(updates(text, STOCK_UPDATE_RULES, is_extended=True)) for text in texts],
            "even_regular": [int(updates(text, STOCK_UPDATE_RULES, is_extended=False)) for text in even],
            "even_extended": [int(updates(text, STOCK_UPDATE_RULES, is_extended=True)) for text in even],
        },
        schema={"conditions": pl.Categorical(), **dict.fromkeys(_FLAGS, pl.UInt8)},
    )
    is_regular = pl.col("time").is_between(session.regular_start, session.regular_end, closed="left")
    flag = pl.when(is_regular).then("regular").otherwise("extended")
    even_flag = pl.when(is_regular).then("even_regular").otherwise("even_extended")
    return trade.join(table, on="conditions", how="left", maintain_order="left").with_columns(
        _MINUTE,
        sets_volume=(flag & int(Updates.VOLUME)) > 0,
        sets_extremes=(flag & int(Updates.HIGH_LOW)) > 0,
        sets_price=(flag & int(Updates.OPEN_CLOSE)) > 0,
        # An odd lot has a side, too.
        has_side=((flag & int(Updates.OPEN_CLOSE)) > 0) | ((even_flag & priced) == priced),
    )


def _grid(trade: pl.LazyFrame, quote: pl.LazyFrame, session: Session) -> pl.LazyFrame:
    seen = pl.concat([rows.select("symbol", _MINUTE).unique() for rows in (trade, quote)])
    regular = pl.LazyFrame({"event_time": range(session.regular_start, session.regular_end, NS_PER_MINUTE)})
    every = seen.select("symbol").unique().join(regular, how="cross")
    return pl.concat([seen, every]).unique().sort(pl.col("symbol").cast(pl.String), "event_time")


def _volume(kept: pl.LazyFrame) -> pl.LazyFrame:
    size, price = pl.col("size"), pl.col("price")
    return (
        kept.filter("sets_volume")
        .group_by(_KEY)
        .agg(volume=size.sum(), notional=(size * price).sum(), trade_count=pl.len(), last_trade=pl.col("time").last())
    )


def _extremes(kept: pl.LazyFrame) -> pl.LazyFrame:
    price = pl.col("price")
    return kept.filter(pl.col("sets_extremes") & (price > 0)).group_by(_KEY).agg(high=price.max(), low=price.min())


def _prices(priced: pl.LazyFrame) -> pl.LazyFrame:
    pairs = priced.with_columns(before=pl.when(_IS_SAME_SYMBOL).then(pl.col("change").shift()))
    change, before = pl.col("change"), pl.col("before")
    is_pair = before.is_not_null()
    return pairs.group_by(_KEY).agg(
        last_price=pl.col("price").last(),
        pairs=is_pair.sum(),
        product=(change * before).sum(),
        change=change.filter(is_pair).sum(),
        before=before.sum(),
    )


def _squared(priced: pl.LazyFrame) -> pl.LazyFrame:
    sampled = priced.group_by("symbol", at=pl.col("time") // (5 * NS_PER_SECOND), maintain_order=True).agg(
        pl.col("price").last(), pl.col("event_time").first()
    )
    returns = sampled.with_columns(squared=pl.when(_IS_SAME_SYMBOL).then(pl.col("price").log().diff().pow(2)))
    return returns.filter(pl.col("squared").is_not_null()).group_by(_KEY).agg(squared_returns=pl.col("squared").sum())


def _valid_mid(quote: pl.LazyFrame) -> pl.LazyFrame:
    bid, ask = pl.col("bid_price"), pl.col("ask_price")
    is_valid = (bid > 0) & (bid <= ask)
    return quote.select("symbol", "time", mid=pl.when(is_valid).then((bid + ask) / 2)).set_sorted("time")


def _measured(kept: pl.LazyFrame, mids: pl.LazyFrame) -> pl.LazyFrame:
    """Trades with a side, by the quote rule (against the last earlier quote) or else by the tick rule. Odd lots are compared with
    the last price, but set none."""
    last = pl.when("sets_price").then("price").forward_fill().shift().over("symbol")
    moved = (pl.col("price") - last).sign()
    tick = pl.when(moved != 0).then(moved)
    direction = pl.when("sets_price").then(tick).forward_fill().over("symbol")
    beyond = pl.col("price") - pl.col("mid")
    by_quote = pl.when(beyond.abs() > 1e-9 * pl.col("mid")).then(beyond.sign())
    return (
        kept.filter(pl.col("has_side") & (pl.col("price") > 0))
        .with_columns(tick=tick.fill_null(direction).fill_null(0.0))
        .filter("sets_volume")
        .join_asof(mids, on="time", by="symbol", allow_exact_matches=False, check_sortedness=False)
        .with_columns(side=by_quote.fill_null(pl.col("tick")))
    )


def _signed(measured: pl.LazyFrame) -> pl.LazyFrame:
    size, price, mid, side = (pl.col(name) for name in ("size", "price", "mid", "side"))
    return measured.group_by(_KEY).agg(
        buy_volume=size.filter(side == 1).sum(),
        sell_volume=size.filter(side == -1).sum(),
        buy_count=(side == 1).sum(),
        sell_count=(side == -1).sum(),
        signed_notional=(side * size * price).sum(),
        effective=(2 * _BPS * (price - mid).abs() / mid * size).sum(),
        effective_size=size.filter(mid.is_not_null()).sum(),
    )


def _realised(measured: pl.LazyFrame, mids: pl.LazyFrame) -> pl.LazyFrame:
    price, mid, side, later = (pl.col(name) for name in ("price", "mid", "side", "later"))
    return (
        measured.filter((side != 0) & mid.is_not_null())
        .with_columns(time=pl.col("time") + 30 * NS_PER_SECOND)
        .join_asof(
            mids.rename({"mid": "later"}), on="time", by="symbol", allow_exact_matches=False, check_sortedness=False
        )
        .filter(later.is_not_null())
        .group_by("symbol", _MINUTE)
        .agg(
            realised=(2 * _BPS * side * (price - later) / mid * pl.col("size")).sum(),
            realised_size=pl.col("size").sum(),
        )
    )


def _book(quote: pl.LazyFrame) -> pl.LazyFrame:
    bid, ask, bid_size, ask_size = (pl.col(name) for name in ("bid_price", "ask_price", "bid_size", "ask_size"))
    was_bid, was_ask, was_bid_size, was_ask_size = (x.shift() for x in (bid, ask, bid_size, ask_size))
    is_two_sided = (bid > 0) & (ask > 0)
    pressure = (
        bid_size * (bid >= was_bid)
        - was_bid_size * (bid <= was_bid)
        - ask_size * (ask <= was_ask)
        + was_ask_size * (ask >= was_ask)
    )
    return (
        quote.select(
            "symbol",
            "time",
            _MINUTE,
            is_two_sided=is_two_sided,
            is_crossed=is_two_sided & (bid > ask),
            pressure=pl.when(is_two_sided & (was_bid > 0) & (was_ask > 0) & _IS_SAME_SYMBOL).then(pressure),
        )
        .group_by(_KEY)
        .agg(
            quote_count=pl.len(),
            two_sided=pl.col("is_two_sided").sum(),
            crossed=pl.col("is_crossed").sum(),
            ofi=pl.col("pressure").sum(),
            turnover=pl.col("pressure").abs().sum(),
            last_quote=pl.col("time").last(),
        )
    )


def _standing(quote: pl.LazyFrame, grid: pl.LazyFrame) -> pl.LazyFrame:
    """Time-weighted spread and depth. Each quote lasts until the next; a minute begins with the previous quote."""
    end = pl.col("event_time") + NS_PER_MINUTE
    following = pl.when(pl.col("symbol") == pl.col("symbol").shift(-1)).then(pl.col("time").shift(-1))
    ticks = quote.with_columns(_MINUTE).with_columns(stood=pl.min_horizontal(following, end) - pl.col("time"))
    within = ticks.group_by(_KEY).agg(first=pl.col("time").first(), **_weighted())
    book = quote.select("symbol", "time", "bid_price", "ask_price", "bid_size", "ask_size")
    carried = (
        grid.with_columns(time="event_time")
        .join_asof(book, on="time", by="symbol", allow_exact_matches=False, check_sortedness=False)
        .join(within, on=_KEY, how="left", maintain_order="left", suffix="_within")
        .with_columns(stood_carried=pl.col("first").fill_null(end) - pl.col("event_time"))
    )
    bid, ask, depth = pl.col("bid_price"), pl.col("ask_price"), pl.col("bid_size") + pl.col("ask_size")
    time = pl.when((bid > 0) & (bid <= ask)).then("stood_carried").fill_null(0)
    deep = pl.when(depth > 0).then(time).fill_null(0)
    spread = pl.when(time > 0).then(2 * _BPS * (ask - bid) / (ask + bid) * time).fill_null(0)
    imbalance = pl.when(deep > 0).then((pl.col("bid_size") - pl.col("ask_size")) / depth * time).fill_null(0)
    return carried.select(
        *_KEY,
        mid_price="mid_price",
        stood=pl.col("stood").fill_null(0) + time,
        spread=pl.col("spread").fill_null(0) + spread,
        depth_stood=pl.col("depth_stood").fill_null(0) + deep,
        depth=pl.col("depth").fill_null(0) + imbalance,
    )


def _weighted() -> dict[str, pl.Expr]:
    bid, ask, depth = pl.col("bid_price"), pl.col("ask_price"), pl.col("bid_size") + pl.col("ask_size")
    is_valid = (bid > 0) & (bid <= ask)
    stood = pl.when(is_valid).then("stood")
    is_deep = is_valid & (depth > 0)
    return {
        "stood": stood.sum(),
        "spread": (2 * _BPS * (ask - bid) / (ask + bid) * stood).sum(),
        "depth_stood": pl.when(is_deep).then("stood").sum(),
        "depth": pl.when(is_deep).then((pl.col("bid_size") - pl.col("ask_size")) / depth * pl.col("stood")).sum(),
        "mid_price": pl.when(is_valid).then((bid + ask) / 2).drop_nulls().last(),
    }


def _filled(rows: pl.LazyFrame, session: Session) -> pl.LazyFrame:
    """Zeros for minutes without events, and values carried forward from minute to minute."""
    carried = ("last_price", "mid_price", "last_trade", "last_quote")
    zeros = ("volume", "notional", "trade_count", "buy_volume", "sell_volume", "buy_count", "sell_count")
    zeros += ("signed_notional", "pairs", "product", "change", "before")
    minute = (pl.col("event_time") - session.regular_start) // NS_PER_MINUTE
    return rows.with_columns(
        pl.col(*carried).forward_fill().over("symbol"),
        pl.col(*zeros).fill_null(0),
        known_time=pl.col("event_time") + NS_PER_MINUTE,
        session_minute=minute,
        part=(minute >= 0).cast(pl.Int8) + (minute >= session.regular_minutes).cast(pl.Int8),
    ).with_columns(
        quote_count=pl.when(pl.col("last_quote").is_not_null()).then(pl.col("quote_count").fill_null(0)),
        is_regular=pl.col("session_minute").is_between(0, session.regular_minutes - 1),
        trade_age_s=(pl.col("known_time") - pl.col("last_trade").fill_null(session.day_start)) / NS_PER_SECOND,
        quote_age_s=(pl.col("known_time") - pl.col("last_quote")) / NS_PER_SECOND,
        price_before=pl.col("last_price").shift().over("symbol"),
    )


def _derived(rows: pl.LazyFrame) -> pl.LazyFrame:
    net = pl.col("buy_volume") - pl.col("sell_volume")
    # A minute without a new sample keeps the previous price: it did not move.
    squared = pl.coalesce("squared_returns", pl.when(pl.col("price_before").is_not_null()).then(0.0))
    return rows.with_columns(
        order_flow_imbalance=_over(net, pl.col("buy_volume") + pl.col("sell_volume")),
        return_bps=_BPS * (pl.col("last_price") / pl.col("price_before")).log(),
        range_bps=_BPS * (pl.col("high") / pl.col("low")).log(),
        squared_returns=squared,
        realised_volatility_bps=_BPS * squared.sqrt(),
        quoted_spread_bps=_over(pl.col("spread"), pl.col("stood")),
        depth_imbalance=_over(pl.col("depth"), pl.col("depth_stood")),
        effective_spread_bps=_over(pl.col("effective"), pl.col("effective_size")),
        realised_spread_bps=_over(pl.col("realised"), pl.col("realised_size")),
        best_level_ofi=_over(pl.col("ofi"), pl.col("turnover")),
        crossed_share=_over(pl.col("crossed"), pl.col("two_sided")),
        quote_rate_hz=pl.col("quote_count") / 60,
    )


def _over(numerator: pl.Expr, denominator: pl.Expr) -> pl.Expr:
    return pl.when(denominator > 0).then(numerator / denominator)


def _trailed(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Measures over trailing minutes within each session phase."""
    known = pl.col("return_bps").is_not_null() & (pl.col("buy_count") + pl.col("sell_count") > 0)
    x, y = pl.when(known).then(pl.col("signed_notional") / 1e6), pl.when(known).then("return_bps")
    moments = rows.with_columns(
        clock=pl.col("event_time").cast(pl.Datetime("ns")),
        x=x, y=y, xy=x * y, xx=x * x, known=known.cast(pl.Int64),
        impact=_over(pl.col("return_bps").abs() * 1e6, pl.col("notional")),
        squared_score=pl.col("return_bps") ** 2,
    )  # fmt: skip
    summed = ["pairs", "product", "change", "before", "x", "y", "xy", "xx", "known", "return_bps"]
    with_current = moments.rolling("clock", period="30m", closed="right", group_by=_GROUPS).agg(
        pl.col(summed).sum().name.prefix("sum_"),
        amihud_illiquidity=pl.when(pl.col("impact").count() >= 5).then(pl.col("impact").mean()),
        returns=pl.col("return_bps").count(),
        peak=pl.col("high").max(),
    )
    counted, observed = (
        ["volume", "trade_count", "quote_count"],
        ["squared_score", "squared_returns", "quoted_spread_bps"],
    )
    # Updated rolling means keep a rounding residue when all values are 0.
    residue = {"squared_score": 1e-9, "squared_returns": 1e-17, "quoted_spread_bps": 1e-9}
    before = moments.rolling("clock", period="30m", closed="left", group_by=_GROUPS).agg(
        pl.col(counted).sum().name.prefix("usual_"),
        *(
            pl.when((pl.col(name).count() >= 5) & (pl.col(name).mean() > residue[name]))
            .then(pl.col(name).mean())
            .alias(f"mean_{name}")
            for name in observed
        ),
    )
    joined = moments.join(with_current, on=_ON, how="left", maintain_order="left").join(
        before, on=_ON, how="left", maintain_order="left"
    )
    joined = _with_flow_scores(joined, moments)
    elapsed = ((pl.col("event_time") - pl.col("event_time").min().over(_GROUPS)) // NS_PER_MINUTE).clip(0, 30)
    usual = {name: pl.when(elapsed >= 5).then(pl.col(f"usual_{name}") / elapsed) for name in counted}
    joined = _with_sustained_volume(joined, moments, usual["volume"], elapsed)
    s = {name: pl.col(f"sum_{name}") for name in summed}
    pairs, n = pl.when(s["pairs"] >= 20).then(s["pairs"]), pl.when(s["known"] >= 10).then(s["known"])
    covariance = s["product"] / pairs - s["change"] * s["before"] / pairs**2
    spread = s["xx"] - s["x"] ** 2 / n
    return joined.with_columns(
        roll_spread_bps=2 * _BPS * pl.max_horizontal(-covariance, pl.when(pairs.is_not_null()).then(0.0)).sqrt() / pl.col("last_price"),
        kyle_lambda=pl.when(spread > 1e-9 * s["xx"]).then((s["xy"] - s["x"] * s["y"] / n) / spread),
        trailing_return_bps=pl.when(pl.col("returns") > 0).then(s["return_bps"]),
        drawdown_bps=_BPS * (pl.max_horizontal("peak", "last_price") / pl.col("last_price")).log(),
        **{f"{name}_ratio": _over(pl.col(name), value) for name, value in usual.items()},
        tape_age_s=pl.min_horizontal("trade_age_s", "quote_age_s"),
        signed_volume_ratio=_over(pl.col("buy_volume") - pl.col("sell_volume"), usual["volume"]),
        return_score=_over(pl.col("return_bps"), pl.col("mean_squared_score").sqrt()),
        volatility_ratio=_over(pl.col("squared_returns").sqrt(), pl.col("mean_squared_returns").sqrt()),
        spread_ratio=_over(pl.col("quoted_spread_bps"), pl.col("mean_quoted_spread_bps")),
    )  # fmt: skip


def _with_flow_scores(joined: pl.LazyFrame, moments: pl.LazyFrame) -> pl.LazyFrame:
    bought, sold = (pl.col(name).cast(pl.Int64) for name in ("buy_count", "sell_count"))
    net, sided = bought - sold, bought + sold
    for width in (3, 5):
        sides = moments.rolling("clock", period=f"{width}m", group_by=_GROUPS).agg(total=net.sum(), of=sided.sum())
        leans = (pl.col("total") * net > 0) | (pl.col("of") == 0)
        score = _over(pl.col("total"), pl.col("of").sqrt())
        joined = (
            joined.join(sides, on=_ON, how="left", maintain_order="left")
            .with_columns(pl.when(leans).then(score).otherwise(0.0).alias(f"flow_score_{width}m"))
            .drop("total", "of")
        )
    return joined


def _with_sustained_volume(
    joined: pl.LazyFrame, moments: pl.LazyFrame, usual_volume: pl.Expr, elapsed: pl.Expr
) -> pl.LazyFrame:
    for width in (2, 3):
        least = moments.rolling("clock", period=f"{width}m", group_by=_GROUPS).agg(
            least=pl.when(pl.len() == width).then(pl.col("volume").min()).otherwise(0.0)
        )
        usual_then = usual_volume.shift(width - 1).over(_GROUPS)
        sustained = pl.when(pl.col("least") > 0).then(_over(pl.col("least"), usual_then)).otherwise(0.0)
        joined = (
            joined.join(least, on=_ON, how="left", maintain_order="left")
            .with_columns(pl.when(elapsed >= 4 + width).then(sustained).alias(f"sustained_volume_{width}m"))
            .drop("least")
        )
    return joined
