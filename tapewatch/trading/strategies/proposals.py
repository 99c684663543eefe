"""Proposals: bets before confidence, risk and size."""

import polars as pl

from tapewatch.market.instruments import NS_PER_MINUTE
from tapewatch.market.tables.tape import TIME

#: What every strategy returns: one row a proposed bet; unique by symbol, known_time, strategy and partner. `weight` is the leg's share of
#: the largest leg's size, 1 for a bet on its own.
PROPOSALS = pl.Schema(
    {
        "symbol": pl.String(),
        "event_time": TIME,
        "known_time": TIME,
        "strategy": pl.String(),
        "partner": pl.String(),
        "kind": pl.String(),
        "detector": pl.String(),
        "side": pl.Int8(),
        "horizon_minutes": pl.Int32(),
        "weight": pl.Float64(),
    }
)


def proposed(rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` as proposals: absent texts are empty, the kind is the strategy's name, weights are 1, sides of 0 are left out."""
    absent = {} if "weight" in rows.columns else {"weight": pl.lit(1.0)}
    texts = {name: pl.lit("") for name in ("partner", "detector") if name not in rows.columns} | (
        {} if "kind" in rows.columns else {"kind": pl.col("strategy")}
    )
    found = rows.with_columns(**texts, **absent).select(pl.col(name).cast(dtype) for name, dtype in PROPOSALS.items())
    return found.filter(pl.col("side") != 0).sort("known_time", "symbol", "strategy", "partner")


def spaced(rows: pl.DataFrame, minutes: int) -> pl.DataFrame:
    """The rows of each symbol that come at least `minutes` after its last kept one; `rows` are sorted by symbol and known_time."""
    kept: list[bool] = []
    last: dict[str, int] = {}
    for symbol, at in rows.select("symbol", pl.col("known_time").to_physical()).iter_rows():
        is_kept = at - last.get(symbol, -(2**62)) >= minutes * NS_PER_MINUTE
        if is_kept:
            last[symbol] = at
        kept.append(is_kept)
    return rows.filter(pl.Series(kept, dtype=pl.Boolean))
