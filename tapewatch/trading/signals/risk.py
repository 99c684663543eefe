"""The risk of each proposal: what it costs, how far the price may go, how long it takes to get out, and whether it may be traded."""

from dataclasses import dataclass

import polars as pl

from tapewatch.trading.strategies.execution import exit_minutes


@dataclass(frozen=True, slots=True)
class RiskRules:
    """What a bet may cost and how large it may be.

    Attributes:
        largest_notional: notional of a bet of size 1, in the quote currency.
        participation: share of the volume that closing a bet may take.
        fee_bps: fee of one trade.
        impact: of trading one minute's notional at once, in one-minute volatilities; it grows with the root of the share.
        floor_bps: least target.
        greatest_cost: cost as a share of the target from which a bet is not worth it.
        stale_s: seconds without a trade or quote from which the tape counts as stale.
        dynamic_limits: open sized bets at the price at which they break even on their way from nothing (`DynamicSize`), not at the
            spread's other side.
    """

    largest_notional: float = 10_000.0
    participation: float = 0.1
    fee_bps: float = 0.5
    impact: float = 0.5
    floor_bps: float = 5.0
    greatest_cost: float = 1.0
    stale_s: float = 60.0
    dynamic_limits: bool = False

    def __post_init__(self) -> None:
        if (
            min(self.largest_notional, self.participation, self.greatest_cost) <= 0
            or min(self.fee_bps, self.impact) < 0
        ):
            raise ValueError(f"notional, participation and cost share must be above zero, fees not negative: {self}")


def assessed(proposals: pl.DataFrame, minutes: pl.DataFrame, rules: RiskRules) -> pl.DataFrame:
    """The proposals with what was known of their symbol when they were decided, and the verdict.

    Args:
        proposals: PROPOSALS.
        minutes: `context`; the symbol's last minute known by then counts.
        rules: limits.

    Returns:
        The proposals with regime, price, spread_bps, volatility_bps, target_bps, cost_bps, exit_minutes, is_tradable and reason;
        proposals of symbols without a minute are left out. Cost is the spread, two fees and twice the square-root impact of the
        largest notional.
    """
    columns = (
        "symbol",
        "known_time",
        "regime",
        "price",
        "spread_bps",
        "volatility_bps",
        "minute_notional",
        "tape_age_s",
    )
    known = minutes.select(*columns, minute_known="known_time").sort("known_time")
    found = proposals.sort("known_time").join_asof(known, on="known_time", by="symbol", check_sortedness=False)
    age = (pl.col("known_time") - pl.col("minute_known")).dt.total_seconds() + pl.col("tape_age_s")
    share = rules.largest_notional / pl.col("minute_notional")
    impact = rules.impact * pl.col("volatility_bps") * share.sqrt()
    target = pl.max_horizontal(pl.col("volatility_bps") * pl.col("horizon_minutes").sqrt(), pl.lit(rules.floor_bps))
    priced = found.filter(pl.col("minute_known").is_not_null()).with_columns(
        target_bps=pl.when(pl.col("volatility_bps").is_not_null()).then(target),
        cost_bps=pl.when(pl.col("minute_notional") > 0).then(pl.col("spread_bps") + 2 * rules.fee_bps + 2 * impact),
        exit_minutes=exit_minutes(pl.lit(rules.largest_notional), pl.col("minute_notional"), rules.participation),
        age_s=age,
    )
    reason = _reason(rules)
    return priced.with_columns(reason=reason, is_tradable=reason == "").drop(
        "minute_known", "minute_notional", "tape_age_s", "age_s"
    )


def _reason(rules: RiskRules) -> pl.Expr:
    """The first objection, empty where there is none."""
    objections = {
        "no price": pl.col("price").is_null() | (pl.col("price") <= 0),
        "the tape is stale": pl.col("age_s") > rules.stale_s,
        "no spread: neither quotes nor trades to estimate it from": pl.col("spread_bps").is_null(),
        "no volatility yet": pl.col("volatility_bps").is_null(),
        "no volume is known, so no way out": pl.col("exit_minutes").is_null(),
        "getting out takes longer than the horizon": pl.col("exit_minutes") > pl.col("horizon_minutes"),
        "costs exceed the target": pl.col("cost_bps") > rules.greatest_cost * pl.col("target_bps"),
    }
    found = pl.lit("")
    for text, applies in reversed(objections.items()):
        found = pl.when(applies).then(pl.lit(text)).otherwise(found)
    return found
