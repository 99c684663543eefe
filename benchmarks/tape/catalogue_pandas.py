"""A large part of the feature catalogue in idiomatic pandas, as a peer of the whole of it.

Of the minute: `microstructure_pandas`, windows of order flow, trade sizes, range volatility, indicators with entropy and SADF, correlation
and beta against the market. Of five seconds: the bins. Left out, so that its time is a lower bound: VPIN, spread estimators, Hasbrouck's
lambda, the remaining indicators, principal components, pairs, regimes, seasonality.
"""

import numpy as np
import pandas as pd

from benchmarks.tape import microstructure_pandas
from tapewatch.market.conditions import AUCTION_CODES, STOCK_UPDATE_RULES, Updates, has_any_code, updates
from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND, Session

_BPS = 1e4
_BIN, _SLOT = 5 * NS_PER_SECOND, NS_PER_SECOND // 10
_KEY = ["symbol", "event_time"]


def catalogue(trades: pd.DataFrame, quotes: pd.DataFrame, session: Session) -> dict[str, pd.DataFrame]:
    """The minute rows, the bins, the indicators and the features across symbols, by name."""
    minutes = microstructure_pandas.microstructure(trades, quotes, session)
    kept = trades[~(trades["correction"].fillna(0) >= 7)]
    minutes = minutes.merge(_sizes(kept, session), on=_KEY, how="left")
    regular = minutes["event_time"].between(session.regular_start, session.regular_end, "left")
    for width in (1, 3, 5, 8, 15, 25):
        minutes[f"imbalance_{width}m"] = _imbalance(minutes, regular, width)
    bars = _bars(kept, session)
    return {
        "minutes": minutes,
        "bins": _bins(kept, quotes, session),
        "indicators": bars,
        "cross": _cross(bars, session),
    }


def _may(trades: pd.DataFrame, session: Session, field: Updates) -> pd.Series:
    texts = trades["conditions"].cat.categories
    inside = trades["time"].between(session.regular_start, session.regular_end, "left")
    found = [
        trades["conditions"].map(
            {text: bool(updates(text, STOCK_UPDATE_RULES, is_extended=late) & field) for text in texts}
        )
        for late in (False, True)
    ]
    return found[0].astype(bool).where(inside, found[1].astype(bool))


def _sizes(trades: pd.DataFrame, session: Session) -> pd.DataFrame:
    counted = trades[_may(trades, session, Updates.VOLUME)]
    groups = counted["size"].groupby(
        [counted["symbol"], counted["time"] // NS_PER_MINUTE * NS_PER_MINUTE], observed=True
    )
    found = pd.DataFrame({"trade_size_median": groups.median(), "trade_size_p90": groups.quantile(0.9)})
    found["largest_trade_share"] = groups.max() / groups.sum()
    return found.rename_axis(_KEY).reset_index()


def _imbalance(minutes: pd.DataFrame, regular: pd.Series, width: int) -> pd.Series:
    """Of whole windows of regular minutes."""
    groups = minutes[regular].groupby("symbol", observed=True)
    sums = {name: groups[name].rolling(width).sum().reset_index(0, drop=True) for name in ("buy_volume", "sell_volume")}
    total = sums["buy_volume"] + sums["sell_volume"]
    return ((sums["buy_volume"] - sums["sell_volume"]) / total.where(total > 0)).reindex(minutes.index)


def _bins(trades: pd.DataFrame, quotes: pd.DataFrame, session: Session) -> pd.DataFrame:
    texts = trades["conditions"].cat.categories
    auctions = texts[has_any_code(list(texts), AUCTION_CODES)]
    counted = trades[_may(trades, session, Updates.VOLUME) & ~trades["conditions"].isin(auctions)]
    touched = pd.merge_asof(
        counted.sort_values("time", kind="stable"), quotes[["symbol", "time", "bid_price", "ask_price"]].sort_values("time", kind="stable"),
        on="time", by="symbol", allow_exact_matches=False,
    )  # fmt: skip
    price, bid, ask = touched["price"], touched["bid_price"], touched["ask_price"]
    touched["side"] = np.where(price >= ask, 1, np.where(price <= bid, -1, 0))
    touched["root"] = np.sqrt(touched["size"])
    touched["signed_root"] = touched["side"] * touched["root"]
    quoted = quotes.assign(
        spread=_BPS * (quotes["ask_price"] - quotes["bid_price"]) / (quotes["ask_price"] + quotes["bid_price"]) * 2
    )
    before = quoted.groupby("symbol", observed=True)[["bid_price", "ask_price"]].shift()
    quoted["is_same"] = (before["bid_price"] == quoted["bid_price"]) & (before["ask_price"] == quoted["ask_price"])
    parts = {}
    for name, rows in (("trade", touched), ("quote", quoted)):
        inside = rows[rows["time"].between(session.regular_start, session.regular_end, "left")]
        key = [inside["symbol"], inside["time"] // _BIN * _BIN]
        slots = inside.assign(bin=key[1], slot=inside["time"] // _SLOT).drop_duplicates(["symbol", "slot"])
        parts[f"{name}_slots"] = slots.groupby(["symbol", "bin"], observed=True).size()
        for column, how in (
            ("root", "sum"),
            ("signed_root", "sum"),
            ("side", "sum"),
            ("is_same", "sum"),
            ("spread", "last"),
        ):
            if column in inside:
                parts[f"{name}_{column}"] = inside.groupby(key, observed=True)[column].agg(how)
    return pd.DataFrame(parts).rename_axis(_KEY).reset_index()


def _bars(trades: pd.DataFrame, session: Session) -> pd.DataFrame:
    inside = trades[trades["time"].between(session.regular_start, session.regular_end, "left")]
    fields = {
        "open": Updates.OPEN_CLOSE,
        "high": Updates.HIGH_LOW,
        "low": Updates.HIGH_LOW,
        "close": Updates.OPEN_CLOSE,
    }
    how = {"open": "first", "high": "max", "low": "min", "close": "last"}
    found = {}
    for name, field in fields.items():
        rows = inside[_may(inside, session, field)]
        key = [rows["symbol"], rows["time"] // NS_PER_MINUTE * NS_PER_MINUTE]
        found[name] = rows.groupby(key, observed=True)["price"].agg(how[name])
    rows = inside[_may(inside, session, Updates.VOLUME)]
    found["volume"] = rows.groupby([rows["symbol"], rows["time"] // NS_PER_MINUTE * NS_PER_MINUTE], observed=True)[
        "size"
    ].sum()
    bars = pd.DataFrame(found).rename_axis(_KEY).dropna(subset=["close"]).reset_index()
    return pd.concat([_indicators(part.reset_index(drop=True)) for _, part in bars.groupby("symbol", observed=True)])


def _indicators(bars: pd.DataFrame) -> pd.DataFrame:
    close, high, low = bars["close"], bars["high"], bars["low"]
    step = close.diff()
    middle, deviation = close.rolling(20).mean(), close.rolling(20).std(ddof=0)
    fast, slow = close.ewm(span=12, adjust=False).mean(), close.ewm(span=26, adjust=False).mean()
    logs = np.log(close)
    true_range = np.maximum(high - low, np.maximum((high - close.shift()).abs(), (low - close.shift()).abs()))
    share, log_range, drift = 1 / 30, np.log(high / low), np.log(close / bars["open"])
    return bars.assign(
        bollinger_position=(close - middle + 2 * deviation) / (4 * deviation),
        macd_bps=_BPS * (fast - slow) / close,
        rsi_gain=step.clip(lower=0).ewm(alpha=1 / 14, adjust=False).mean(),
        rsi_loss=(-step).clip(lower=0).ewm(alpha=1 / 14, adjust=False).mean(),
        atr=true_range.ewm(alpha=1 / 14, adjust=False).mean(),
        obv=(np.sign(step).fillna(0) * bars["volume"]).cumsum(),
        stochastic=100 * (close - low.rolling(14).min()) / (high.rolling(14).max() - low.rolling(14).min()),
        parkinson=np.sqrt((log_range**2).rolling(30).mean() / (4 * np.log(2))),
        garman_klass=np.sqrt((0.5 * log_range**2 - (2 * np.log(2) - 1) * drift**2).rolling(30).mean()),
        ewma=np.sqrt((logs.diff() ** 2).ewm(alpha=share, adjust=False).mean()),
        shannon_entropy=np.sign(logs.diff()).rolling(60).apply(_shannon, raw=True),
        cusum_break=logs.rolling(60).apply(_departure, raw=True),
        sadf=logs.rolling(60).apply(_explosiveness, raw=True),
        **{f"return_{width}": logs.diff(width) for width in (5, 15, 30, 60)},
    )


def _shannon(steps: np.ndarray) -> float:
    shares = np.unique(steps, return_counts=True)[1] / steps.size
    return float(-(shares * np.log2(shares)).sum())


def _departure(closes: np.ndarray) -> float:
    deviation = np.sqrt((np.diff(closes) ** 2).mean())
    back = np.arange(1, closes.size)
    moved = np.abs(closes[-1] - closes[-1 - back]) / (deviation * np.sqrt(back))
    return float((moved / np.sqrt(4.6 + np.log(back))).max()) if deviation > 0 else np.nan


def _explosiveness(closes: np.ndarray) -> float:
    """The largest Dickey-Fuller statistic over starts, by NumPy's covariances."""
    largest = -np.inf
    for start in range(closes.size - 20 + 1):
        level, change = closes[start:-1], np.diff(closes[start:])
        x, y = level - level.mean(), change - change.mean()
        xx = x @ x
        if xx > 0:
            slope = (x @ y) / xx
            error = ((y - slope * x) ** 2).sum() / (x.size - 2)
            largest = max(largest, slope / np.sqrt(error / xx)) if error > 0 else largest
    return largest


def _cross(bars: pd.DataFrame, session: Session) -> pd.DataFrame:
    closes = bars.pivot(index="event_time", columns="symbol", values="close")
    minutes = np.arange(session.regular_start, session.regular_end, NS_PER_MINUTE)
    returns = _BPS * np.log(closes.reindex(minutes).ffill()).diff()
    found = []
    for symbol in returns:
        own, market = returns[symbol], returns.drop(columns=symbol).mean(axis=1)
        beta = {width: own.rolling(width).cov(market) / market.rolling(width).var() for width in (15, 30, 60)}
        now, before = own.rolling(30).corr(market), own.rolling(60).corr(market).shift(30)
        values = {
            "market_return_bps": market,
            "market_correlation_30m": now,
            "correlation_break": (np.arctanh(now) - np.arctanh(before)) / np.sqrt(1 / 27 + 1 / 57),
            "lead_lag_30m": own.rolling(30).corr(market.shift()) - own.shift().rolling(30).corr(market),
            "beta_15m": beta[15],
            "beta_30m": beta[30],
            **{
                f"residual_{width}m_bps": own.rolling(width).sum() - beta[60].shift(width) * market.rolling(width).sum()
                for width in (5, 15, 30)
            },
        }
        found.append(pd.DataFrame(values).assign(symbol=symbol).reset_index(names="event_time"))
    return pd.concat(found)
