"""The usual centre and scale of each feature, by symbol and time of day."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl

from tapewatch.features.catalog import FEATURES, Feature, matrix
from tapewatch.features.robust import SCALE_QUANTILES, scale_of, shrunk
from tapewatch.market.instruments import market_of

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

BUCKET_MINUTES = 30
#: The bucket of a symbol's whole day, and the name of all markets together.
WHOLE_DAY, EVERY_MARKET = -1, "*"
#: Largest deviation, in scales.
CLIP = 30.0
#: Observations at which a bucket weighs as much as its symbol's day, and a symbol as its market (or a market as all).
_BUCKET_PRIOR, _SYMBOL_PRIOR = 100.0, 10.0
#: The least scale (features are logs or shares), and the least scales as shares of the parent's.
_SCALE_FLOOR, _SYMBOL_FLOOR, _MARKET_FLOOR = 0.05, 0.25, 0.1
_MOST_FOLDS = 5


@dataclass(frozen=True)
class Profile:
    """Centre and scale by (symbol, bucket of 30 minutes since the open): rows x features, in the order of `features`.

    The scale is the interquartile range, or half of the 5-95 % range if that is wider, as a normal standard deviation. Centre
    and scale are shrunk by the number of observations: a bucket's towards its symbol's day, a symbol's towards its market, a
    market's towards all markets. A feature that a symbol never has takes its market's values.
    """

    features: tuple[Feature, ...]
    centre: Floats
    scale: Floats
    row_of: Mapping[tuple[str, int], int]

    @classmethod
    def fit(cls, rows: pl.DataFrame, features: Sequence[Feature]) -> Self:
        """Fit the profile on `rows` alone (symbol, session_minute and the features)."""
        transformed = rows.select(
            pl.col("symbol").cast(pl.String),
            pl.col("session_minute").clip(lower_bound=0).floordiv(BUCKET_MINUTES).cast(pl.Int64).alias("bucket"),
            *(feature.expression().fill_nan(None).alias(feature.name) for feature in features),
        )
        names = [feature.name for feature in features]
        day_long = transformed.with_columns(bucket=pl.lit(WHOLE_DAY, pl.Int64))
        every = _statistics(day_long.with_columns(symbol=pl.lit(EVERY_MARKET)), names)
        markets = _statistics(day_long.with_columns(symbol=pl.Series(group_names(transformed["symbol"]))), names)
        days, buckets = _statistics(day_long, names), _statistics(transformed, names)
        top = np.nan_to_num(every.centre), np.fmax(every.scale, _SCALE_FLOOR)
        market = _settled(markets, *top, prior=_SYMBOL_PRIOR, floor=_MARKET_FLOOR)
        of_market = _positions(markets, group_names(pl.Series([symbol for symbol, _ in days.keys])))
        day = _settled(days, market[0][of_market], market[1][of_market], prior=_SYMBOL_PRIOR, floor=_MARKET_FLOOR)
        of_day = _positions(days, [symbol for symbol, _ in buckets.keys])
        bucket = _settled(buckets, day[0][of_day], day[1][of_day], prior=_BUCKET_PRIOR, floor=_SYMBOL_FLOOR)
        keys = [*every.keys, *markets.keys, *days.keys, *buckets.keys]
        return cls(
            tuple(features),
            np.concatenate([top[0], market[0], day[0], bucket[0]]),
            np.concatenate([top[1], market[1], day[1], bucket[1]]),
            {key: i for i, key in enumerate(keys)},
        )

    def standardise(self, rows: pl.DataFrame) -> Floats:
        """Deviations from the centre in scales, rows x features, within +-30; 0 for a null feature.

        An unseen time of day is compared with the symbol's day, an unseen symbol with its market, an unseen market with all.
        """
        symbols = rows["symbol"].cast(pl.String).to_list()
        buckets = rows["session_minute"].to_numpy() // BUCKET_MINUTES
        at = np.array([self._row(s, int(b)) for s, b in zip(symbols, buckets, strict=True)], dtype=np.int64)
        deviation = (matrix(rows, self.features) - self.centre[at]) / self.scale[at]
        return np.clip(np.nan_to_num(deviation, nan=0.0), -CLIP, CLIP)

    def _row(self, symbol: str, bucket: int) -> int:
        for key in ((symbol, bucket), (symbol, WHOLE_DAY), (group_name(symbol), WHOLE_DAY)):
            if key in self.row_of:
                return self.row_of[key]
        return self.row_of[EVERY_MARKET, WHOLE_DAY]

    def to_frame(self) -> pl.DataFrame:
        """The profile as a table: symbol, bucket, and `centre_` and `scale_` columns of each feature."""
        keys = list(self.row_of)
        columns = {"symbol": [symbol for symbol, _ in keys], "bucket": [bucket for _, bucket in keys]}
        frame = pl.DataFrame(columns, schema={"symbol": pl.String(), "bucket": pl.Int64()})
        return frame.with_columns(
            *(pl.Series(f"centre_{f.name}", self.centre[:, i]) for i, f in enumerate(self.features)),
            *(pl.Series(f"scale_{f.name}", self.scale[:, i]) for i, f in enumerate(self.features)),
        )

    @classmethod
    def from_frame(cls, frame: pl.DataFrame, features: Sequence[Feature] = FEATURES) -> Self:
        """The profile that `to_frame` wrote, of some of `features`; raises KeyError for another."""
        by_name = {feature.name: feature for feature in features}
        names = [name.removeprefix("centre_") for name in frame.columns if name.startswith("centre_")]
        keys = zip(frame["symbol"].to_list(), frame["bucket"].to_list(), strict=True)
        return cls(
            tuple(by_name[name] for name in names),
            frame.select(f"centre_{name}" for name in names).to_numpy(),
            frame.select(f"scale_{name}" for name in names).to_numpy(),
            {key: i for i, key in enumerate(keys)},
        )


def held_out_profiles(
    rows: pl.DataFrame, features: Sequence[Feature], *, folds: int = _MOST_FOLDS
) -> Iterator[tuple[Flags, Profile]]:
    """Days in at most `folds` groups, in turn: the rows of each group, and a profile of the other days' rows.

    Of a single day the profile is that day's own.
    """
    fold = folds_of(rows, folds)
    for each in np.unique(fold):
        mine = fold == each
        yield mine, Profile.fit(rows if mine.all() else rows.filter(~pl.Series(mine)), features)


def folds_of(rows: pl.DataFrame, folds: int = _MOST_FOLDS) -> npt.NDArray[np.int64]:
    """A fold for each row by its UTC day, assigned to the days in turn."""
    day = rows.select(pl.col("event_time").dt.date().rank("dense") - 1).to_series().to_numpy()
    return np.asarray(day % folds, dtype=np.int64)


def held_out_deviations(rows: pl.DataFrame, features: Sequence[Feature]) -> Floats:
    """Deviations of `rows` (rows x features), each day from a profile of the other days."""
    deviations = np.empty((rows.height, len(features)))
    for mine, others in held_out_profiles(rows, features):
        deviations[mine] = others.standardise(rows.filter(pl.Series(mine)))
    return deviations


def group_name(symbol: str) -> str:
    """The name of a symbol's market among the symbols, such as `*stocks`."""
    return f"{EVERY_MARKET}{market_of(symbol)}"


def group_names(symbols: pl.Series) -> list[str]:
    """`group_name` of each symbol."""
    names = {symbol: group_name(symbol) for symbol in symbols.cast(pl.String).unique()}
    return [names[symbol] for symbol in symbols.cast(pl.String)]


@dataclass(frozen=True)
class _Statistics:
    keys: list[tuple[str, int]]
    centre: Floats
    scale: Floats
    count: Floats


def _statistics(transformed: pl.DataFrame, names: Sequence[str]) -> _Statistics:
    """Median, robust scale and number of values of each feature by (symbol, bucket); NaN without values."""
    grouped = (
        transformed.group_by("symbol", "bucket")
        .agg(
            *(pl.col(n).quantile(q, "linear").alias(f"{n} {q}") for q in (0.5, *SCALE_QUANTILES) for n in names),
            *(pl.col(n).count().alias(f"{n} count") for n in names),
        )
        .sort("symbol", "bucket")
    )
    middle, *ends = (
        grouped.select(f"{n} {q}" for n in names).to_numpy().astype(np.float64) for q in (0.5, *SCALE_QUANTILES)
    )
    return _Statistics(
        list(zip(grouped["symbol"].to_list(), grouped["bucket"].to_list(), strict=True)),
        middle,
        scale_of(*ends),
        grouped.select(f"{n} count" for n in names).to_numpy().astype(np.float64),
    )


def _positions(statistics: _Statistics, names: Sequence[str]) -> npt.NDArray[np.int64]:
    at = {name: i for i, (name, _) in enumerate(statistics.keys)}
    return np.array([at[name] for name in names], dtype=np.int64)


def _settled(own: _Statistics, centre: Floats, scale: Floats, *, prior: float, floor: float) -> tuple[Floats, Floats]:
    """`own` shrunk towards its parents' centre and scale, the scale kept above the floors."""
    settled = np.maximum(shrunk(own.scale, scale, own.count, prior), np.maximum(floor * scale, _SCALE_FLOOR))
    return shrunk(own.centre, centre, own.count, prior), settled
