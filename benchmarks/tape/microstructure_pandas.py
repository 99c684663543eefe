"""Minute microstructure in idiomatic pandas (groupby, rolling, merge_asof), as a peer in benchmarks and an oracle in tests.

It shares no code with `tapewatch.features`. VPIN is left out: its consecutive buckets would need a loop in pandas.
"""

import numpy as np
import pandas as pd

from tapewatch.market.conditions import STOCK_UPDATE_RULES, Updates, updates
from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Session

_KEY = ["symbol", "event_time"]
_BPS = 1e4


def microstructure(trades: pd.DataFrame, quotes: pd.DataFrame, session: Session) -> pd.DataFrame:
    """One row per symbol and minute, sorted, with the columns of `MICROSTRUCTURE` except `vpin`; NaN means null.

    Args:
        trades, quotes: columns as in their tables, times as int64 nanoseconds, symbols categorical in lexical order.
        session: a stock session.
    """
    kept = trades[~(trades["correction"].fillna(0) >= 7)]
    grid = _grid(trades, quotes, session)
    priced = _priced(kept, session)
    mids = _valid_mid(quotes)
    measured = _measured(_with_odd_lots(kept, priced, session), mids, session)
    sums = (
        _activity(kept, priced, session),
        _signed(measured),
        _realised(measured, mids),
        _book(quotes, grid.index, session),
    )
    rows = grid.join(list(sums)).reset_index()
    _fill(rows, session)
    _derive(rows)
    _trail(rows)
    return rows


def _grid(trades: pd.DataFrame, quotes: pd.DataFrame, session: Session) -> pd.DataFrame:
    seen = pd.concat([_minutes(trades), _minutes(quotes)]).drop_duplicates()
    regular = np.arange(session.regular_start, session.regular_end, NS_PER_MINUTE)
    every = pd.MultiIndex.from_product([seen["symbol"].unique(), regular], names=_KEY).to_frame(index=False)
    every["symbol"] = every["symbol"].astype(seen["symbol"].dtype)
    rows = pd.concat([seen, every]).drop_duplicates().sort_values(_KEY)
    return rows.set_index(_KEY)


def _minutes(rows: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"symbol": rows["symbol"], "event_time": _minute(rows["time"])}).drop_duplicates()


def _minute(time: pd.Series) -> pd.Series:
    return time - time % NS_PER_MINUTE


def _allowed(trades: pd.DataFrame, session: Session, field: Updates) -> pd.Series:
    lists = trades["conditions"].cat.categories
    regular = {text: bool(updates(text, STOCK_UPDATE_RULES, is_extended=False) & field) for text in lists}
    extended = {text: bool(updates(text, STOCK_UPDATE_RULES, is_extended=True) & field) for text in lists}
    is_regular = trades["time"].between(session.regular_start, session.regular_end, inclusive="left")
    codes = trades["conditions"].cat.codes
    by_code = [np.array([table[text] for text in lists]) for table in (regular, extended)]
    return pd.Series(np.where(is_regular, by_code[0][codes], by_code[1][codes]), trades.index)


def _priced(trades: pd.DataFrame, session: Session) -> pd.DataFrame:
    """Trades that set the last price, with tick direction and minute."""
    rows = trades[_allowed(trades, session, Updates.OPEN_CLOSE) & (trades["price"] > 0)].copy()
    rows["event_time"] = _minute(rows["time"])
    rows["change"] = rows.groupby("symbol", observed=True)["price"].diff()
    rows["before"] = rows.groupby("symbol", observed=True)["change"].shift()
    return rows


def _with_odd_lots(trades: pd.DataFrame, priced: pd.DataFrame, session: Session) -> pd.DataFrame:
    """The trades that have a side, with `tick`: those that set the last price, and odd lots, which are compared with it."""
    plain = trades.assign(conditions=trades["conditions"].map(_without_odd_lot).astype("category"))
    is_odd = ~trades.index.isin(priced.index) & (trades["price"] > 0)
    is_odd &= _allowed(plain, session, Updates.OPEN_CLOSE) & _allowed(plain, session, Updates.VOLUME)
    rows = trades[trades.index.isin(priced.index) | is_odd].copy()
    rows["event_time"] = _minute(rows["time"])
    is_priced, by_symbol = rows.index.isin(priced.index), rows["symbol"]
    last = rows["price"].where(is_priced).groupby(by_symbol, observed=True).ffill()
    moved = np.sign(rows["price"] - last.groupby(by_symbol, observed=True).shift()).replace(0, np.nan)
    direction = moved.where(is_priced).groupby(by_symbol, observed=True).ffill()
    rows["tick"] = moved.fillna(direction).fillna(0)
    return rows


def _without_odd_lot(conditions: str) -> str:
    return ",".join(code for code in conditions.split(",") if code != "37")


def _activity(trades: pd.DataFrame, priced: pd.DataFrame, session: Session) -> pd.DataFrame:
    volume = trades[_allowed(trades, session, Updates.VOLUME)]
    # Nanoseconds of the day: nulls turn the column into floats, which cannot hold nanoseconds since 1970.
    volume = volume.assign(
        event_time=_minute(volume["time"]),
        notional=volume["price"] * volume["size"],
        since=volume["time"] - session.day_start,
    )
    entered = volume.groupby(_KEY, observed=True).agg(
        volume=("size", "sum"), notional=("notional", "sum"), trade_count=("size", "size"), last_trade=("since", "last")
    )
    extremes = trades[_allowed(trades, session, Updates.HIGH_LOW) & (trades["price"] > 0)]
    extremes = extremes.assign(event_time=_minute(extremes["time"]))
    reach = extremes.groupby(_KEY, observed=True)["price"].agg(high="max", low="min")
    pairs = priced[priced["before"].notna()]
    pairs = pairs.assign(product=pairs["change"] * pairs["before"])
    roll = pairs.groupby(_KEY, observed=True).agg(
        pairs=("product", "size"), product=("product", "sum"), change=("change", "sum"), before=("before", "sum")
    )
    last = priced.groupby(_KEY, observed=True)["price"].last().rename("last_price")
    return pd.concat([entered, reach, roll, last, _squared_returns(priced)], axis=1)


def _squared_returns(priced: pd.DataFrame) -> pd.DataFrame:
    sampled = priced.assign(at=priced["time"] - priced["time"] % (5 * NS_PER_SECOND))
    sampled = sampled.groupby(["symbol", "at"], observed=True)["price"].last().reset_index()
    sampled["event_time"] = _minute(sampled["at"])
    logs = np.log(sampled["price"])
    sampled["squared"] = logs.groupby(sampled["symbol"], observed=True).diff() ** 2
    return sampled.groupby(_KEY, observed=True)["squared"].agg(squared_returns=lambda s: s.sum(min_count=1))


def _signed(measured: pd.DataFrame) -> pd.DataFrame:
    rows = measured.copy()
    rows["effective"] = 2 * _BPS * (rows["price"] - rows["mid"]).abs() / rows["mid"] * rows["size"]
    rows["effective_size"] = rows["size"].where(rows["mid"].notna())
    for name, side in (("buy", 1), ("sell", -1)):
        rows[f"{name}_volume"] = rows["size"].where(rows["side"] == side)
        rows[f"{name}_count"] = rows["side"] == side
    rows["signed_notional"] = rows["side"] * rows["size"] * rows["price"]
    summed = ["buy_volume", "sell_volume", "buy_count", "sell_count", "signed_notional", "effective", "effective_size"]
    return rows.groupby(_KEY, observed=True)[summed].sum()


def _measured(rows: pd.DataFrame, mids: pd.DataFrame, session: Session) -> pd.DataFrame:
    """Trades with a side, by the quote rule (against the last earlier quote) or else by the tick rule."""
    rows = rows[_allowed(rows, session, Updates.VOLUME)].sort_values("time", kind="stable")
    rows = pd.merge_asof(rows, mids, on="time", by="symbol", allow_exact_matches=False)
    beyond = rows["price"] - rows["mid"]
    by_quote = np.sign(beyond).where(beyond.abs() > 1e-9 * rows["mid"], 0).fillna(0)
    rows["side"] = by_quote.where(by_quote != 0, rows["tick"])
    return rows


def _valid_mid(quotes: pd.DataFrame) -> pd.DataFrame:
    is_valid = (quotes["bid_price"] > 0) & (quotes["bid_price"] <= quotes["ask_price"])
    mid = ((quotes["bid_price"] + quotes["ask_price"]) / 2).where(is_valid)
    return quotes[["symbol", "time"]].assign(mid=mid).sort_values("time", kind="stable")


def _realised(measured: pd.DataFrame, mids: pd.DataFrame) -> pd.DataFrame:
    rows = measured[(measured["side"] != 0) & measured["mid"].notna()]
    rows = rows.assign(time=rows["time"] + 30 * NS_PER_SECOND)
    later = mids.rename(columns={"mid": "later"})
    rows = pd.merge_asof(rows, later, on="time", by="symbol", allow_exact_matches=False)
    rows = rows[rows["later"].notna()]
    gain = 2 * _BPS * rows["side"] * (rows["price"] - rows["later"]) / rows["mid"] * rows["size"]
    rows = rows.assign(realised=gain, realised_size=rows["size"], event_time=_minute(rows["time"]))
    return rows.groupby(_KEY, observed=True)[["realised", "realised_size"]].sum()


def _book(quotes: pd.DataFrame, grid: pd.MultiIndex, session: Session) -> pd.DataFrame:
    rows = quotes[["symbol", "time", "bid_price", "ask_price", "bid_size", "ask_size"]].copy()
    is_two_sided = (rows["bid_price"] > 0) & (rows["ask_price"] > 0)
    before = rows.groupby("symbol", observed=True)[["bid_price", "ask_price", "bid_size", "ask_size"]].shift()
    pressure = (
        rows["bid_size"] * (rows["bid_price"] >= before["bid_price"])
        - before["bid_size"] * (rows["bid_price"] <= before["bid_price"])
        - rows["ask_size"] * (rows["ask_price"] <= before["ask_price"])
        + before["ask_size"] * (rows["ask_price"] >= before["ask_price"])
    ).where(is_two_sided & (before["bid_price"] > 0) & (before["ask_price"] > 0))
    counted = pd.DataFrame(
        {
            "symbol": rows["symbol"],
            "event_time": _minute(rows["time"]),
            "quote_count": 1,
            "two_sided": is_two_sided,
            "crossed": is_two_sided & (rows["bid_price"] > rows["ask_price"]),
            "ofi": pressure,
            "turnover": pressure.abs(),
        }
    )
    sums = counted.groupby(_KEY, observed=True).sum()
    last = rows["time"].groupby([rows["symbol"], counted["event_time"]], observed=True).last() - session.day_start
    return pd.concat([sums, last.rename("last_quote"), _standing(rows, grid)], axis=1)


def _standing(quotes: pd.DataFrame, grid: pd.MultiIndex) -> pd.DataFrame:
    """Time-weighted spread and depth. Each quote lasts until the next; a minute begins with the previous quote."""
    ticks = quotes.assign(event_time=_minute(quotes["time"]))
    following = ticks.groupby("symbol", observed=True)["time"].shift(-1, fill_value=np.iinfo(np.int64).max)
    ticks["stood"] = np.minimum(following, ticks["event_time"] + NS_PER_MINUTE) - ticks["time"]
    first = ticks.groupby(_KEY, observed=True)["time"].first()
    carried = grid.to_frame(index=False).sort_values("event_time", kind="stable")
    earlier = quotes.sort_values("time", kind="stable").rename(columns={"time": "event_time"})
    carried = pd.merge_asof(carried, earlier, on="event_time", by="symbol", allow_exact_matches=False).set_index(_KEY)
    start = carried.index.get_level_values("event_time")
    first = first.reindex(carried.index, fill_value=0)
    carried["stood"] = np.where(first > 0, first - start, NS_PER_MINUTE)
    within = _weighted(ticks).groupby(_KEY, observed=True).agg(
        dict.fromkeys(["stood", "spread", "depth_stood", "depth"], "sum") | {"mid_price": "last"}
    )  # fmt: skip
    entered = _weighted(carried.reset_index()).set_index(_KEY).drop(columns="mid_price").fillna(0)
    sums = entered.add(within.drop(columns="mid_price").reindex(entered.index, fill_value=0))
    return sums.join(within["mid_price"])


def _weighted(rows: pd.DataFrame) -> pd.DataFrame:
    bid, ask, depth = rows["bid_price"], rows["ask_price"], rows["bid_size"] + rows["ask_size"]
    is_valid = (bid > 0) & (bid <= ask)
    stood = rows["stood"].where(is_valid)
    mid = ((bid + ask) / 2).where(is_valid)
    return rows[_KEY].assign(
        mid_price=mid,
        stood=stood,
        spread=_BPS * (ask - bid) / mid * stood,
        depth_stood=stood.where(depth > 0),
        depth=(rows["bid_size"] - rows["ask_size"]) / depth.where(depth > 0) * stood,
    )


def _fill(rows: pd.DataFrame, session: Session) -> None:
    """Zeros for minutes without events, and values carried forward from minute to minute."""
    by_symbol = rows.groupby("symbol", observed=True)
    for name in ("last_price", "mid_price", "last_trade", "last_quote"):
        rows[name] = by_symbol[name].ffill()
    counts = [
        "volume",
        "notional",
        "trade_count",
        "buy_volume",
        "sell_volume",
        "buy_count",
        "sell_count",
        "signed_notional",
        "pairs",
    ]
    rows[counts] = rows[counts].fillna(0)
    rows["quote_count"] = rows["quote_count"].fillna(0).where(rows["last_quote"].notna())
    rows["known_time"] = rows["event_time"] + NS_PER_MINUTE
    rows["session_minute"] = (rows["event_time"] - session.regular_start) // NS_PER_MINUTE
    rows["is_regular"] = rows["session_minute"].between(0, session.regular_minutes - 1)
    rows["part"] = (rows["session_minute"] >= 0) * 1 + (rows["session_minute"] >= session.regular_minutes)
    known = rows["known_time"] - session.day_start
    rows["trade_age_s"] = (known - rows["last_trade"].fillna(0)) / NS_PER_SECOND
    rows["quote_age_s"] = (known - rows["last_quote"]) / NS_PER_SECOND


def _derive(rows: pd.DataFrame) -> None:
    net, signed = rows["buy_volume"] - rows["sell_volume"], rows["buy_volume"] + rows["sell_volume"]
    rows["order_flow_imbalance"] = net / signed.where(signed > 0)
    before = rows.groupby("symbol", observed=True)["last_price"].shift()
    rows["return_bps"] = _BPS * np.log(rows["last_price"] / before)
    rows["range_bps"] = _BPS * np.log(rows["high"] / rows["low"])
    # A minute without a new sample keeps the previous price: it did not move.
    squared = rows["squared_returns"].where(rows["squared_returns"].notna(), (before * 0).where(before.notna()))
    rows["squared_returns"] = squared
    rows["realised_volatility_bps"] = _BPS * np.sqrt(squared)
    rows["quoted_spread_bps"] = rows["spread"] / rows["stood"].where(rows["stood"] > 0)
    rows["depth_imbalance"] = rows["depth"] / rows["depth_stood"].where(rows["depth_stood"] > 0)
    rows["effective_spread_bps"] = rows["effective"] / rows["effective_size"].where(rows["effective_size"] > 0)
    rows["realised_spread_bps"] = rows["realised"] / rows["realised_size"].where(rows["realised_size"] > 0)
    rows["best_level_ofi"] = rows["ofi"] / rows["turnover"].where(rows["turnover"] > 0)
    rows["crossed_share"] = rows["crossed"] / rows["two_sided"].where(rows["two_sided"] > 0)
    rows["quote_rate_hz"] = rows["quote_count"] / 60


def _trail(rows: pd.DataFrame) -> None:
    """Measures over trailing minutes within each session phase."""
    clock = rows.set_index(pd.to_datetime(rows["event_time"]))
    clock["known_flow"] = clock["return_bps"].notna() & (clock["buy_count"] + clock["sell_count"] > 0)
    x = (clock["signed_notional"] / 1e6).where(clock["known_flow"])
    y = clock["return_bps"].where(clock["known_flow"])
    clock = clock.assign(
        impact=clock["return_bps"].abs() * 1e6 / clock["notional"].where(clock["notional"] > 0),
        x=x, y=y, xy=x * y, xx=x * x, known=clock["known_flow"].astype(float),
        squared_score=clock["return_bps"] ** 2, squared_bps=clock["squared_returns"],
    )  # fmt: skip
    groups = ["symbol", "part"]
    summed = ["pairs", "product", "change", "before", "x", "y", "xy", "xx", "known", "return_bps"]
    counted = ["volume", "trade_count", "quote_count"]
    observed = ["squared_score", "squared_bps", "quoted_spread_bps"]
    within = clock.groupby(groups, observed=True)
    now = within[[*summed, "impact", "high"]].rolling("30min", min_periods=0)
    with_current, impacts, peak = now.sum(), now["impact"].mean(), now["high"].max()
    seen, returns = now["impact"].count(), now["return_bps"].count()
    earlier = within[[*counted, *observed]].rolling("30min", min_periods=0, closed="left")
    totals, means, counts = earlier.sum(), earlier[observed].mean(), earlier[observed].count()
    first = within["event_time"].transform("min").to_numpy()
    elapsed = np.minimum((rows["event_time"].to_numpy() - first) // NS_PER_MINUTE, 30)

    n = with_current["pairs"].where(with_current["pairs"] >= 20).to_numpy()
    sums = {name: with_current[name].to_numpy() for name in summed}
    covariance = sums["product"] / n - sums["change"] * sums["before"] / n**2
    last = rows["last_price"].to_numpy()
    rows["roll_spread_bps"] = 2 * _BPS * np.sqrt(np.maximum(-covariance, 0)) / last
    rows["amihud_illiquidity"] = impacts.where(seen >= 5).to_numpy()
    n = np.where(sums["known"] >= 10, sums["known"], np.nan)
    spread = sums["xx"] - sums["x"] ** 2 / n
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = (sums["xy"] - sums["x"] * sums["y"] / n) / spread
    rows["kyle_lambda"] = np.where(spread > 1e-9 * sums["xx"], slope, np.nan)
    rows["trailing_return_bps"] = np.where(returns > 0, sums["return_bps"], np.nan)
    rows["drawdown_bps"] = _BPS * np.log(np.fmax(peak.to_numpy(), last) / last)
    usual = {name: np.where(elapsed >= 5, totals[name] / np.maximum(elapsed, 1), np.nan) for name in counted}
    usual = {name: np.where(value > 0, value, np.nan) for name, value in usual.items()}
    for name in counted:
        rows[f"{name}_ratio"] = rows[name].to_numpy() / usual[name]
    _add_flow_scores(rows, clock, groups)
    usual_clock = clock.assign(usual=usual["volume"])
    for width in (2, 3):
        lasting = clock.groupby(groups, observed=True)["volume"].rolling(f"{width}min", min_periods=0)
        least = np.where(lasting.count().to_numpy() == width, lasting.min().to_numpy(), 0.0)
        usual_then = usual_clock.groupby(groups, observed=True)["usual"].shift(width - 1).to_numpy()
        sustained = np.where(least > 0, least / usual_then, 0.0)
        rows[f"sustained_volume_{width}m"] = np.where(elapsed >= 4 + width, sustained, np.nan)
    rows["tape_age_s"] = np.fmin(rows["trade_age_s"], rows["quote_age_s"])
    rows["signed_volume_ratio"] = (rows["buy_volume"] - rows["sell_volume"]) / usual["volume"]
    # Updated rolling means keep a rounding residue when all values are 0.
    residue = dict(zip(observed, (1e-9, 1e-17, 1e-9), strict=True))
    mean = {
        name: means[name].where((counts[name] >= 5) & (means[name] > residue[name])).to_numpy() for name in observed
    }
    rows["return_score"] = rows["return_bps"] / np.sqrt(mean["squared_score"])
    rows["volatility_ratio"] = np.sqrt(rows["squared_returns"] / mean["squared_bps"])
    rows["spread_ratio"] = rows["quoted_spread_bps"] / mean["quoted_spread_bps"]


def _add_flow_scores(rows: pd.DataFrame, clock: pd.DataFrame, groups: list[str]) -> None:
    net = rows["buy_count"] - rows["sell_count"]
    clock = clock.assign(net=net.to_numpy(), sided=(rows["buy_count"] + rows["sell_count"]).to_numpy())
    for width in (3, 5):
        sides = clock.groupby(groups, observed=True)[["net", "sided"]].rolling(f"{width}min", min_periods=0).sum()
        of_window, sided = sides["net"].to_numpy(), sides["sided"].to_numpy()
        score = np.divide(of_window, np.sqrt(sided), out=np.full(len(sided), np.nan), where=sided > 0)
        rows[f"flow_score_{width}m"] = np.where((of_window * net > 0) | (sided == 0), score, 0.0)
