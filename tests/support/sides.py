"""The side of each trade, from the three ways to sign it."""

import numpy as np
import polars as pl

from tapewatch.features.aggressor import sides_by_rule
from tapewatch.market.conditions import STOCK_UPDATE_RULES
from tapewatch.market.instruments import Market, Session


def aggressor_sides(trades: pl.DataFrame, quotes: pl.DataFrame | None, session: Session) -> pl.Series:
    """1 buyer, -1 seller, 0 unknown: in crypto by the vendor's codes, elsewhere by quote rule and then tick rule."""
    stated, by_quote, by_tick = sides_by_rule(trades, quotes, session, STOCK_UPDATE_RULES)
    if session.market is Market.CRYPTO:
        return pl.Series("aggressor", stated)
    return pl.Series("aggressor", np.where(by_quote != 0, by_quote, by_tick))
