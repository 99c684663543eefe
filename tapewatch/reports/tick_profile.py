"""Measures of a day's trades and quotes, a few symbols at a time."""

from collections.abc import Iterable

import polars as pl

from tapewatch.features.aggressor import sides_by_rule
from tapewatch.features.microstructure import microstructure
from tapewatch.market.conditions import STOCK_UPDATE_RULES, in_words, updates
from tapewatch.market.instruments import Market, Session
from tapewatch.market.tables.tape import QUOTES, TRADES

#: A minute with this many times the mean volume of the half hour before is listed as a spike.
SPIKE_MULTIPLE = 5.0
_SPIKES_A_DAY = 25
_FRAMES = ("repeats", "volatility", "half_hours", "spikes", "spreads", "conditions")
_SAME_TRADE = ("symbol", "time", "price", "size", "exchange", "conditions")
_SAME_QUOTE = ("symbol", "time", "bid_price", "ask_price", "bid_size", "ask_size")


def profile_ticks(batches: Iterable[tuple[pl.DataFrame, pl.DataFrame]], session: Session) -> dict[str, pl.DataFrame]:
    """Measures of a day by the names of `TapeProfile`; frames without columns where there are no batches.

    Args:
        batches: trades and quotes of whole symbols.
        session: the day's hours.
    """
    parts = [_measure(trades, quotes, session) for trades, quotes in batches]
    if not parts:
        return dict.fromkeys(_FRAMES, pl.DataFrame())
    frames = {name: pl.concat([part[name] for part in parts], how="diagonal") for name in _FRAMES}
    conditions = frames["conditions"].group_by("conditions", "allows").sum().sort("trades", descending=True)
    spikes = frames["spikes"].sort("multiple", descending=True).head(_SPIKES_A_DAY)
    return frames | {"conditions": conditions, "spikes": spikes}


def _measure(trades: pl.DataFrame, quotes: pl.DataFrame, session: Session) -> dict[str, pl.DataFrame]:
    minutes = microstructure(trades, quotes, session).with_columns(pl.col("symbol").cast(pl.String))
    regular = minutes.filter("is_regular")
    return {
        "repeats": _repeats(trades, quotes),
        "volatility": regular.group_by("symbol", maintain_order=True).agg(
            realised=pl.when(pl.col("realised_volatility_bps").count() > 0).then(
                (pl.col("realised_volatility_bps") ** 2).sum().sqrt() / 100
            )
        ),
        "half_hours": minutes.group_by("symbol", time=pl.col("event_time").dt.truncate("30m"), maintain_order=True).agg(
            volume=pl.col("volume").sum(),
            trades=pl.col("trade_count").sum(),
            quotes=pl.col("quote_count").sum(),
            spread_bps=pl.col("quoted_spread_bps").median(),
        ),
        "spikes": regular.filter(pl.col("volume_ratio") >= SPIKE_MULTIPLE).select(
            "symbol", time="event_time", volume="volume", multiple="volume_ratio"
        ),
        "spreads": regular.group_by("symbol", maintain_order=True).agg(
            pl.col(f"{kind}_spread_bps").quantile(share, "linear").alias(f"{kind}_{name}")
            for kind in ("quoted", "effective")
            for name, share in (("p05", 0.05), ("median", 0.5), ("p95", 0.95))
        ),
        "conditions": _conditions(trades, quotes, session),
    }


def _repeats(trades: pl.DataFrame, quotes: pl.DataFrame) -> pl.DataFrame:
    bid, ask = pl.col("bid_price"), pl.col("ask_price")
    has_both = (bid > 0) & (ask > 0)
    quoted = {
        "crossed": (has_both & (bid > ask)).sum(),
        "locked": (has_both & (bid == ask)).sum(),
        "one_sided": (~has_both).sum(),
    }
    parts = []
    for table, frame, same, extra in ((TRADES, trades, _SAME_TRADE, {}), (QUOTES, quotes, _SAME_QUOTE, quoted)):
        counts = frame.group_by(pl.col("symbol").cast(pl.String), maintain_order=True).agg(
            rows=pl.len(), repeated=pl.len() - pl.struct(same[1:]).n_unique(), **extra
        )
        parts.append(counts.select(pl.lit(table.name).alias("table"), pl.all()))
    return pl.concat(parts, how="diagonal")


def _conditions(trades: pl.DataFrame, quotes: pl.DataFrame, session: Session) -> pl.DataFrame:
    """Counts by list of conditions, and how the rules for the aggressor side agree."""
    stated, by_quote, by_tick = sides_by_rule(trades, quotes, session, STOCK_UPDATE_RULES)
    quote, codes, tick = pl.col("quote"), pl.col("codes"), pl.col("tick_side")
    quoted = quotes["symbol"].cast(pl.String).unique()
    counted = (
        trades.select("conditions", "size", is_quoted=pl.col("symbol").cast(pl.String).is_in(quoted.implode()))
        .with_columns(quote=pl.Series(by_quote), codes=pl.Series(stated), tick_side=pl.Series(by_tick))
        .group_by(pl.col("conditions").cast(pl.String))
        .agg(
            trades=pl.len(),
            volume=pl.col("size").sum(),
            quoted=pl.col("is_quoted").sum(),
            buys=(quote > 0).sum(),
            sells=(quote < 0).sum(),
            stated=((codes != 0) & (quote != 0)).sum(),
            stated_agrees=((codes != 0) & (codes == quote)).sum(),
            tick=((tick != 0) & (quote != 0)).sum(),
            tick_agrees=((tick != 0) & (tick == quote)).sum(),
        )
    )
    rules = STOCK_UPDATE_RULES if session.market is Market.STOCKS else {}
    allows = pl.col("conditions").map_elements(
        lambda codes: in_words(updates(codes, rules, is_extended=False)), pl.String
    )
    return counted.with_columns(allows=allows)
