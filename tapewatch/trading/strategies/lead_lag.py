"""Cross-market correlation: symbols that follow the moves of others a minute later."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from tapewatch.market.instruments import NS_PER_MINUTE
from tapewatch.market.tables.tape import TIME
from tapewatch.trading.strategies.closes import Closes, Floats
from tapewatch.trading.strategies.proposals import PROPOSALS, proposed, spaced

STRATEGY = "lead_lag"


@dataclass(frozen=True, slots=True)
class LeadRules:
    """How leaders are chosen and followed.

    Attributes:
        formation: minutes on which a leader is chosen; the next `trading` minutes follow it.
        t_value: least of the correlation of the leader's return with the follower's of the next minute.
        move: least move of the leader, in its standard deviations of the formation.
    """

    formation: int = 120
    trading: int = 60
    t_value: float = 4.5
    move: float = 2.5
    horizon_minutes: int = 5

    def __post_init__(self) -> None:
        if self.formation < 30 or self.trading < 1 or min(self.t_value, self.move) <= 0:
            raise ValueError(f"leaders need 30 minutes of formation at least, and positive limits: {self}")


def lagged_t_values(leaders: Floats, followers: Floats) -> Floats:
    """t-values of the correlation of each leader's return with each follower's a minute later: leaders x followers.

    Args:
        leaders: minutes x symbols, returns without NaN.
        followers: the same minutes.

    Returns: 0 where a return never moves.
    """
    x, y = leaders[:-1] - leaders[:-1].mean(axis=0), followers[1:] - followers[1:].mean(axis=0)
    scale = np.sqrt((x**2).sum(axis=0))[:, None] * np.sqrt((y**2).sum(axis=0))[None, :]
    r = np.divide(x.T @ y, scale, out=np.zeros_like(scale), where=scale > 0)
    return np.asarray(r * np.sqrt((len(x) - 2) / np.maximum(1.0 - r * r, 1e-12)))


def lead_lag(followers: Closes, leaders: Closes, rules: LeadRules | None = None) -> pl.DataFrame:
    """A proposal where the leader of a symbol has just moved far: the symbol is expected to follow.

    Args:
        followers: of the session that is traded.
        leaders: may be of other markets; only minutes in which both exist count. A symbol does not lead itself.
        rules: `LeadRules()` by default.

    Returns: PROPOSALS, with the leader as `partner`; the strongest leader of each symbol alone.
    """
    rules = rules or LeadRules()
    known, mine, theirs = np.intersect1d(followers.known_ns, leaders.known_ns, assume_unique=True, return_indices=True)
    rows: list[pl.DataFrame] = []
    moved, led = followers.returns[mine], leaders.returns[theirs]
    is_own = np.array([[leader == name for name in followers.symbols] for leader in leaders.symbols], dtype=np.bool_)
    for start in range(rules.formation, known.size, rules.trading):
        past = slice(start - rules.formation + 1, start)
        t_values = np.where(is_own, 0.0, lagged_t_values(_filled(led[past]), _filled(moved[past])))
        best = np.abs(t_values).argmax(axis=0)
        deviation = _filled(led[past]).std(axis=0)
        for column, leader in enumerate(best):
            t_value = t_values[leader, column]
            if abs(t_value) >= rules.t_value and deviation[leader] > 0:
                scaled = led[start : start + rules.trading, leader] / deviation[leader]
                found = np.flatnonzero(np.abs(scaled) >= rules.move)
                rows.append(
                    pl.DataFrame(
                        {
                            "symbol": [followers.symbols[column]] * found.size,
                            "partner": [leaders.symbols[leader]] * found.size,
                            "known_time": pl.Series(known[start + found]).cast(TIME),
                            "event_time": pl.Series(known[start + found] - NS_PER_MINUTE).cast(TIME),
                            "side": np.sign(scaled[found] * t_value).astype(np.int8),
                        },
                        schema_overrides={"symbol": pl.String, "partner": pl.String},
                    )
                )
    if not rows:
        return pl.DataFrame(schema=PROPOSALS)
    kept = spaced(pl.concat(rows).sort("symbol", "known_time"), rules.horizon_minutes)
    return proposed(kept.with_columns(strategy=pl.lit(STRATEGY), horizon_minutes=pl.lit(rules.horizon_minutes)))


def _filled(returns: Floats) -> Floats:
    return np.nan_to_num(returns, nan=0.0)
