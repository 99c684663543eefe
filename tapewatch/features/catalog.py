"""The catalogue of features: all of them with their definitions, and the ordered list for models with its version.

The list serves training, scoring and the feature store. Levels (prices, shares, notional) are left out of it: they
distinguish symbols, not their states.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import polars as pl

from tapewatch.features.definitions.definition import Definition
from tapewatch.features.definitions.detector import DETECTOR
from tapewatch.features.definitions.families import FAMILIES
from tapewatch.features.definitions.indicators import BAR_INDICATORS
from tapewatch.features.definitions.market import MARKET_FEATURES
from tapewatch.features.definitions.seasonality import SEASONAL

#: Every feature of every table: window, warm-up, inputs, source and null policy.
DEFINITIONS: tuple[Definition, ...] = (*DETECTOR, *FAMILIES, *BAR_INDICATORS, *MARKET_FEATURES, *SEASONAL)

#: Increases with every change to the list below or to the meaning of one of its columns.
CATALOG_VERSION = 5


class Family(StrEnum):
    """The part of the market that a feature describes."""

    VOLUME = "volume"
    PRICE = "price"
    VOLATILITY = "volatility"
    SPREAD = "spread"
    FLOW = "flow"
    QUOTES = "quotes"
    OUTAGE = "outage"


class Transform(StrEnum):
    """Transformation of a feature for models.

    Waiting times take the root: their distribution is close to a stretched exponential (Raberto, Scalas and Mainardi 2002).
    """

    NONE = "none"
    LOG1P = "log1p"
    SIGNED_LOG1P = "signed_log1p"
    SQRT = "sqrt"


@dataclass(frozen=True, slots=True)
class Feature:
    """A model feature: a column of `MICROSTRUCTURE`, and the anomaly kinds of its extreme values.

    `high` and `low` are anomaly kinds; None where that direction is no sign of trouble.
    """

    name: str
    family: Family
    transform: Transform
    high: str | None
    low: str | None
    description: str

    def expression(self) -> pl.Expr:
        """The transformed feature as a Polars expression; null stays null."""
        column = pl.col(self.name).cast(pl.Float64)
        match self.transform:
            case Transform.LOG1P:
                return column.log1p()
            case Transform.SQRT:
                return column.sqrt()
            case Transform.SIGNED_LOG1P:
                return column.sign() * column.abs().log1p()
            case _:
                return column


_NONE, _LOG, _SIGNED, _ROOT = Transform.NONE, Transform.LOG1P, Transform.SIGNED_LOG1P, Transform.SQRT

FEATURES: tuple[Feature, ...] = (
    Feature("volume_ratio", Family.VOLUME, _LOG, "volume_spike", "feed_outage", "volume against the half hour before"),
    Feature("trade_count_ratio", Family.VOLUME, _LOG, "volume_spike", "feed_outage", "trades against the half hour before"),
    Feature("sustained_volume_2m", Family.VOLUME, _LOG, "volume_spike", None, "the quietest of 2 minutes against the half hour before"),
    Feature("sustained_volume_3m", Family.VOLUME, _LOG, "volume_spike", None, "the quietest of 3 minutes against the half hour before"),
    Feature("return_bps", Family.PRICE, _SIGNED, "price_jump", "price_jump", "the minute's return"),
    Feature("return_score", Family.PRICE, _SIGNED, "price_jump", "price_jump", "the minute's return against its usual size"),
    Feature("range_bps", Family.PRICE, _LOG, "flash_crash", None, "the minute's high over its low"),
    Feature("trailing_return_bps", Family.PRICE, _SIGNED, "pump_and_dump", "flash_crash", "return over the last half hour"),
    Feature("drawdown_bps", Family.PRICE, _LOG, "flash_crash", None, "fall from the half hour's high"),
    Feature("realised_volatility_bps", Family.VOLATILITY, _LOG, "volatility_burst", None, "5-second volatility in the minute"),
    Feature("volatility_ratio", Family.VOLATILITY, _LOG, "volatility_burst", None, "volatility against the half hour before"),
    Feature("quoted_spread_bps", Family.SPREAD, _LOG, "spread_blowout", None, "time-weighted bid-ask spread"),
    Feature("spread_ratio", Family.SPREAD, _LOG, "spread_blowout", None, "quoted spread against the half hour before"),
    Feature("effective_spread_bps", Family.SPREAD, _LOG, "spread_blowout", None, "spread that trades paid"),
    Feature("realised_spread_bps", Family.SPREAD, _SIGNED, "spread_blowout", "price_jump", "spread that the liquidity provider kept"),
    Feature("roll_spread_bps", Family.SPREAD, _LOG, "spread_blowout", None, "spread implied by the bounce of trade prices"),
    Feature("amihud_illiquidity", Family.SPREAD, _LOG, "spread_blowout", None, "return per traded value"),
    Feature("kyle_lambda", Family.FLOW, _SIGNED, "one_sided_flow", None, "price impact of signed flow"),
    Feature("order_flow_imbalance", Family.FLOW, _NONE, "one_sided_flow", "one_sided_flow", "buying against selling"),
    Feature("signed_volume_ratio", Family.FLOW, _SIGNED, "one_sided_flow", "one_sided_flow", "net buying against usual volume"),
    Feature("flow_score_3m", Family.FLOW, _NONE, "one_sided_flow", "one_sided_flow", "net count of buyers over 3 minutes, against coin tosses"),
    Feature("flow_score_5m", Family.FLOW, _NONE, "one_sided_flow", "one_sided_flow", "net count of buyers over 5 minutes, against coin tosses"),
    Feature("vpin", Family.FLOW, _NONE, "one_sided_flow", None, "how one-sided the last volume buckets are"),
    Feature("best_level_ofi", Family.FLOW, _NONE, "one_sided_flow", "one_sided_flow", "pressure at the best prices"),
    Feature("depth_imbalance", Family.FLOW, _NONE, "one_sided_flow", "one_sided_flow", "bid size against ask size"),
    Feature("quote_rate_hz", Family.QUOTES, _LOG, "quote_stuffing", "feed_outage", "quotes a second"),
    Feature("quote_count_ratio", Family.QUOTES, _LOG, "quote_stuffing", "feed_outage", "quotes against the half hour before"),
    Feature("crossed_share", Family.QUOTES, _NONE, "quote_stuffing", None, "share of quotes with bid above ask"),
    Feature("trade_age_s", Family.OUTAGE, _ROOT, "feed_outage", None, "time since the last trade"),
    Feature("quote_age_s", Family.OUTAGE, _ROOT, "feed_outage", None, "time since the last quote"),
    Feature("tape_age_s", Family.OUTAGE, _ROOT, "feed_outage", None, "time since anything came"),
)  # fmt: skip

NAMES: tuple[str, ...] = tuple(feature.name for feature in FEATURES)
BY_NAME: dict[str, Feature] = {feature.name: feature for feature in FEATURES}


def matrix(rows: pl.DataFrame, features: Sequence[Feature] = FEATURES) -> npt.NDArray[np.float64]:
    """The transformed features of `MICROSTRUCTURE` rows, rows × features, float64; NaN where a feature is null."""
    return rows.select(feature.expression() for feature in features).to_numpy().astype(np.float64, copy=False)
