"""Windows of scaled minutes for the autoencoder, gaps masked."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from models.profile import Profile
from tapewatch.features.catalog import BY_NAME, Family, Feature, Transform, matrix

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]

MINUTE_NS = 60_000_000_000
#: The midquote's return is no column of its own: it follows from the midquotes of two minutes in a row.
MID_PRICE, MID_RETURN = "mid_price", "mid_return_bps"
#: What trades did, then what the bid and the ask did. Measures that remember half an hour are left out.
CATALOGUED: tuple[str, ...] = (
    "volume_ratio", "trade_count_ratio", "return_bps", "range_bps", "realised_volatility_bps", "signed_volume_ratio",
    "flow_score_5m", "trade_age_s", "tape_age_s",
    "quoted_spread_bps", "spread_ratio", "effective_spread_bps", "depth_imbalance", "best_level_ofi", "quote_count_ratio",
    "crossed_share", "quote_age_s",
)  # fmt: skip
INPUTS: tuple[Feature, ...] = (
    *(BY_NAME[name] for name in CATALOGUED),
    Feature(
        MID_RETURN,
        Family.PRICE,
        Transform.SIGNED_LOG1P,
        "price_jump",
        "price_jump",
        "the minute's return of the midquote",
    ),
)


@dataclass(frozen=True)
class Minutes:
    """Scaled minutes: `values` and `known` (rows x INPUTS; unknown values are 0), and which row is how many minutes before.

    `before` (rows x window) holds row numbers, the oldest minute first and the row itself last; -1 where the minute is missing.
    """

    values: Floats
    known: Flags
    before: Indices

    def windows(self, chosen: Indices) -> tuple[Floats, Floats]:
        """Values and mask (0 or 1) of the windows that end at rows `chosen`: windows x minutes x INPUTS."""
        at = self.before[chosen]
        mask = self.known[at] & (at >= 0)[:, :, None]
        return np.where(mask, self.values[at], np.float32(0.0)), mask.astype(np.float32)


def with_mid_return(rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` in their order with `mid_return_bps`, null unless the symbol's row of the minute before is among them."""
    mid = pl.col(MID_PRICE)
    earlier = rows.select(pl.col("symbol").cast(pl.String), pl.col("event_time").dt.offset_by("1m"), before=mid).unique(
        ["symbol", "event_time"], keep="first"
    )
    joined = rows.select(pl.col("symbol").cast(pl.String), "event_time", mid).join(
        earlier, on=["symbol", "event_time"], how="left", maintain_order="left"
    )
    is_known = (mid > 0) & (pl.col("before") > 0)
    change = pl.when(is_known).then(1e4 * (mid / pl.col("before")).log())
    return rows.with_columns(joined.select(change.alias(MID_RETURN)).to_series())


def minutes_of(rows: pl.DataFrame, profile: Profile, window: int) -> Minutes:
    """Scale MICROSTRUCTURE rows by a fitted profile, and find the minutes before each.

    Values are the inverse hyperbolic sine of deviations in scales: linear near 0, logarithmic beyond.

    Args:
        rows: of any symbols and days, in any order.
        profile: of `INPUTS`.
        window: minutes of a window.
    """
    rows = with_mid_return(rows)
    known = np.isfinite(matrix(rows, profile.features))
    values = np.arcsinh(profile.standardise(rows)).astype(np.float32)
    return Minutes(np.where(known, values, np.float32(0.0)), known, _before(rows, window))


def _before(rows: pl.DataFrame, window: int) -> Indices:
    symbol = rows["symbol"].cast(pl.String).rank("dense").to_numpy().astype(np.int64)
    minute = rows["event_time"].dt.epoch("ns").to_numpy() // MINUTE_NS
    # A stretch of free keys between two symbols: the minutes before a symbol's first belong to none.
    key = symbol * (minute.max() - minute.min() + 1 + window) + (minute - minute.min())
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    wanted = key[:, None] - np.arange(window - 1, -1, -1)
    at = np.minimum(np.searchsorted(ordered, wanted), key.size - 1)
    found = np.where(ordered[at] == wanted, order[at], -1)
    # A repeated minute is its own last one.
    found[:, -1] = np.arange(key.size)
    return np.asarray(found, dtype=np.int64)
