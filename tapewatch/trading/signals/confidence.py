"""The meta-label's probability: how often earlier bets of the same strategy, kind and regime won after costs."""

import polars as pl

#: Columns that a bet is compared by, from the widest group to the narrowest.
LEVELS = (("strategy",), ("strategy", "kind"), ("strategy", "kind", "regime"))
#: Bets that the wider group's rate counts for, and the rate of a strategy without a record.
WEIGHT, PRIOR = 20.0, 0.5


def confidence(signals: pl.DataFrame, history: pl.DataFrame, *, weight: float = WEIGHT) -> pl.DataFrame:
    """The signals with `confidence`, the shrunken share of winning bets, and `bets_before`, their strategy's number.

    A group's rate is (wins + w r) / (bets + w), r the rate of the group around it: few bets say little (Efron and Morris 1975).
    With no bet at all it is one half, which no costs survive: a strategy without a record gets no money.

    Args:
        signals: strategy, kind and regime.
        history: OUTCOMES known before the first of the signals.
        weight: w.

    Returns: the signals in their order.
    """
    names = LEVELS[-1]
    keyed = signals.with_columns(pl.col(names).cast(pl.String))
    past = history.select(*(pl.col(name).cast(pl.String) for name in names), won=pl.col("label") == 1)
    rate = pl.lit(PRIOR)
    for at, level in enumerate(LEVELS):
        counts = past.group_by(level).agg(pl.len().alias(f"bets_{at}"), pl.col("won").sum().alias(f"wins_{at}"))
        keyed = keyed.join(counts, on=level, how="left", maintain_order="left")
        bets, wins = pl.col(f"bets_{at}").fill_null(0), pl.col(f"wins_{at}").fill_null(0)
        rate = (wins + weight * rate) / (bets + weight)
    extra = [f"{name}_{at}" for at in range(len(LEVELS)) for name in ("bets", "wins")]
    return keyed.with_columns(
        confidence=rate.cast(pl.Float64), bets_before=pl.col("bets_0").fill_null(0).cast(pl.Int64)
    ).drop(extra)
