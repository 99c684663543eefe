"""The record of an account over days: its performance, turnover and exposure, and the capacity of the strategies."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from tapewatch.market.instruments import Partition
from tapewatch.trading.account import Account
from tapewatch.trading.signals.risk import RiskRules
from tapewatch.trading.statistics.performance import capacity, performance

_DAYS_A_YEAR = 252


@dataclass(frozen=True)
class AccountRecord:
    """Days of an account that starts each day with the same cash.

    Attributes:
        name: of the account.
        hours: time, and the hour's profit over the cash at the day's start.
        facts: days, fills, refused orders, profit, annual return, Sharpe, Sortino and Calmar ratio, deepest drawdown and share of
            hours won of the hourly returns; turnover (notional traded over equity, a day); share of the time with a position,
            and mean gross exposure. Ratios are those of a year of 252 days; NaN where they are not defined.
    """

    name: str
    hours: pl.DataFrame
    facts: Mapping[str, float]


def account_record(name: str, days: Mapping[Partition, Account]) -> AccountRecord:
    """The record of days that traded or not."""
    parts = [_hours(account) for _, account in sorted(days.items())]
    hours = pl.concat([_no_hours(), *parts])
    traded = [account for account in days.values() if account.orders]
    count = max(len(days), 1)
    found = performance(hours["profit_share"].to_numpy(), hours.height / count * _DAYS_A_YEAR) if hours.height else None
    exposed = np.concatenate([np.empty(0), *(account.gross_weights for account in traded)])
    facts = {
        "days": float(len(days)),
        "fills": float(sum(account.fills.height for account in traded)),
        "refused": float(sum(account.refusals.height for account in traded)),
        "profit": float(sum(account.profit for account in traded)),
        "annual_return": found.annual_return if found else 0.0,
        "sharpe": found.sharpe if found else float("nan"),
        "sortino": found.sortino if found else float("nan"),
        "calmar": found.calmar if found else float("nan"),
        "max_drawdown": found.max_drawdown if found else 0.0,
        "hours_won": found.hit_rate if found else float("nan"),
        "daily_turnover": float(sum(_turnover(account) for account in traded)) / count,
        "time_in_market": float((exposed > 0).mean()) if exposed.size else 0.0,
        "mean_exposure": float(exposed.mean()) if exposed.size else 0.0,
    }
    return AccountRecord(name, hours, facts)


def capacities(signals: pl.DataFrame, bets: pl.DataFrame, rules: RiskRules | None = None) -> pl.DataFrame:
    """strategy, mean_gross_bps, mean_spread_and_fees_bps, capacity: the notional of a bet at which impact eats the mean edge.

    0 where the edge does not pay the spread and the fees.

    Args:
        signals: SIGNALS; those that are tradable count.
        bets: OUTCOMES of them.
        rules: with which the signals were made.
    """
    rules = rules or RiskRules()
    own = pl.col("strategy").cast(pl.String)
    volume = rules.largest_notional / (rules.participation * pl.col("exit_minutes"))
    market = (
        signals.filter("is_tradable")
        .group_by(own)
        .agg(
            spread=pl.col("spread_bps").mean() + 2 * rules.fee_bps,
            volatility=pl.col("volatility_bps").mean(),
            volume=volume.mean(),
        )
    )
    gross = bets.group_by(own).agg(gross=pl.col("gross_bps").mean())
    rows = [
        {
            "strategy": row["strategy"],
            "mean_gross_bps": row["gross"],
            "mean_spread_and_fees_bps": row["spread"],
            "capacity": capacity(row["gross"], row["spread"], row["volatility"], row["volume"], impact=rules.impact),
        }
        for row in gross.join(market, on="strategy").sort("strategy").to_dicts()
    ]
    schema = {"strategy": pl.String(), "mean_gross_bps": pl.Float64(), "mean_spread_and_fees_bps": pl.Float64()}
    return pl.DataFrame(rows, schema={**schema, "capacity": pl.Float64()})


def _hours(account: Account) -> pl.DataFrame:
    if account.equity.is_empty():
        return _no_hours()
    last = account.equity.group_by(time=pl.col("time").dt.truncate("1h"), maintain_order=True).agg(
        pl.col("equity_cents").last()
    )
    value = np.concatenate([[account.cash], last["equity_cents"].to_numpy() / 100.0])
    return last.select("time", profit_share=pl.Series(np.diff(value) / account.cash))


def _no_hours() -> pl.DataFrame:
    return pl.DataFrame(schema={"time": pl.Datetime("ns", "UTC"), "profit_share": pl.Float64()})


def _turnover(account: Account) -> float:
    return float(account.fills["notional_cents"].abs().sum()) / 100.0 / account.cash
