"""An account's outcome in a few figures."""

import math

import numpy as np
import polars as pl

from tapewatch.trading.engine import Outcome
from tapewatch.trading.statistics.performance import drawdown, performance

_CENTS = 100.0
_DAYS_A_YEAR = 252
#: Ratios of fewer hourly returns say nothing.
LEAST_HOURS = 10


def summary(outcome: Outcome) -> dict[str, float | int | None]:
    """The figures by name, money in the quote currency and shares as fractions.

    Orders by state (orders, filled, expired, cancelled, refused, open, waiting), fills, notional, fees, borrow_and_dividends; equity,
    profit and return; max_drawdown of the equity's intervals; turnover (notional over the start capital), time_in_market and
    mean_exposure (gross value over equity); sharpe, sortino, calmar and hours_won of the hourly returns, for a year of 252 days as
    long as the traded ones.

    Returns: None where a figure is not defined: without a tape, or ratios of fewer than `LEAST_HOURS` hours.
    """
    states = dict(outcome.orders["state"].value_counts().rows())
    known = ("filled", "expired", "cancelled", "refused", "open", "waiting")
    cash = outcome.cash_cents
    notional, fees, flows = (
        int(frame[column].sum())
        for frame, column in (
            (outcome.fills, "notional_cents"),
            (outcome.fills, "fee_cents"),
            (outcome.cash_flows, "amount_cents"),
        )
    )
    counts = {"orders": outcome.orders.height, **{name: int(states.get(name, 0)) for name in known}}
    money = {
        "fills": outcome.fills.height,
        "notional": notional / _CENTS,
        "fees": fees / _CENTS,
        "borrow_and_dividends": flows / _CENTS,
    }
    return {**counts, **money, **_of_equity(outcome.equity, cash), "turnover": notional / cash}


def _of_equity(equity: pl.DataFrame, cash: int) -> dict[str, float | None]:
    names = (
        "equity", "profit", "return", "max_drawdown", "time_in_market", "mean_exposure", "sharpe", "sortino", "calmar", "hours_won",
    )  # fmt: skip
    if equity.is_empty():
        return dict.fromkeys(names)
    value = equity["equity_cents"].to_numpy().astype(np.float64)
    gross = equity["gross_cents"].to_numpy() / np.maximum(value, 1.0)
    curve = np.concatenate([[cash], value])
    hourly = equity.group_by(hour=pl.col("time").dt.truncate("1h"), maintain_order=True).agg(
        pl.col("equity_cents").last()
    )
    hours = np.concatenate([[cash], hourly["equity_cents"].to_numpy()]).astype(np.float64)
    found: dict[str, float | None] = {
        "equity": value[-1] / _CENTS,
        "profit": (value[-1] - cash) / _CENTS,
        "return": value[-1] / cash - 1.0,
        "max_drawdown": drawdown(np.diff(curve) / curve[:-1])[0] if (curve > 0).all() else 1.0,
        "time_in_market": float((gross > 0).mean()),
        "mean_exposure": float(gross.mean()),
        **dict.fromkeys(("sharpe", "sortino", "calmar", "hours_won")),
    }
    if len(hours) > LEAST_HOURS and (hours > 0).all():
        days = hourly["hour"].dt.date().n_unique()
        ratios = performance(np.diff(hours) / hours[:-1], hourly.height / days * _DAYS_A_YEAR)
        found |= {
            "sharpe": ratios.sharpe,
            "sortino": ratios.sortino,
            "calmar": ratios.calmar,
            "hours_won": ratios.hit_rate,
        }
    return {name: None if (figure := found[name]) is None or math.isnan(figure) else float(figure) for name in names}
