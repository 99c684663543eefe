"""Sampled requests scored again, and their vectors compared with what the lake's as-of join gives."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import polars as pl

from models.base import Scores
from models.served.minutes import Minutes
from serving.loader import Scorer
from serving.schemas import Model
from tapewatch.market.instruments import Market, Partition, market_of
from tapewatch.market.tables.serving import REPLAYED_REQUESTS
from tapewatch.market.tables.tape import MICROSTRUCTURE
from tapewatch.store.lake.joins.objects import Source
from tapewatch.store.lake.joins.point_in_time import join_as_of
from tapewatch.store.lake.lake import Lake

#: The operations whose vectors come from the online store.
_FROM_STORE: Final = ("score_symbols",)
#: A minute is known at its end.
_MINUTE: Final = pl.duration(minutes=1)
_NS: Final = pl.Datetime("ns", "UTC")


def rescored(kept: pl.DataFrame, scorer: Scorer) -> pl.DataFrame:
    """score_now and is_anomaly_now of sampled rows, in their order; null where the model does not score the row."""
    vectors = _vectors(kept, scorer.features)
    judged = scorer.judged(Minutes.of(scorer.features, kept["symbol"].to_list(), kept["event_time"].to_list(), vectors))
    again = pl.DataFrame({"score_now": judged.scores, "is_anomaly_now": judged.is_anomaly})
    return again.select(pl.when(pl.Series(judged.is_scored)).then(pl.all()))


def of_day(kept: pl.DataFrame, day: Partition) -> pl.DataFrame:
    """The sampled rows of a market's symbols that came within its day; those that name a minute alone."""
    start, end = (pl.lit(time).cast(_NS) for time in (day.session.day_start, day.session.day_end))
    mine = {symbol: market_of(symbol) is Market(day.market) for symbol in kept["symbol"].unique()}
    return kept.filter(
        pl.col("arrival_time").cast(_NS).is_between(start, end, "left"),
        pl.col("event_time").is_not_null(),
        pl.Series([mine[symbol] for symbol in kept["symbol"]], dtype=pl.Boolean),
    )


def replayed(kept: pl.DataFrame, lake: Lake, scorer_of: Callable[[Model], Scorer | None]) -> pl.DataFrame:
    """REPLAYED_REQUESTS of sampled rows.

    Args:
        kept: rows of `serving/traffic.py`, in order of arrival.
        lake: its microstructure rows are what vectors are compared with.
        scorer_of: the version that answered; None if it is gone.
    """
    parts = [REPLAYED_REQUESTS.empty()]
    for (name, version), own in kept.with_row_index("number").group_by("model", "version", maintain_order=True):
        scorer = scorer_of(Model(str(name), str(version)))
        again = rescored(own, scorer) if scorer else None
        made = own.hstack(_compared(own, lake)).with_columns(
            pl.col("event_time", "arrival_time").cast(_NS),
            model=pl.format("{}/{}", "model", "version"),
            score_again=again["score_now"] if again is not None else pl.lit(None, pl.Float64),
            is_from_store=pl.col("operation").is_in(_FROM_STORE),
        )
        parts.append(REPLAYED_REQUESTS.conform(made))
    return pl.concat(parts).sort("number")


def _compared(kept: pl.DataFrame, lake: Lake) -> pl.DataFrame:
    """is_in_lake, lag_s and differing of each row.

    The store may hold an older row than the newest that was known: then its vector is held against the join at its own time. Where the
    minute was corrected before the request came, either version counts.
    """
    names = tuple(dict.fromkeys(name for features in kept["features"] for name in features))
    source = Source(lake.root / MICROSTRUCTURE.group / MICROSTRUCTURE.name, ("symbol",))
    columns = {"event_time": pl.Int64(), **dict.fromkeys(names, pl.Float64())}
    served = kept["event_time"].dt.epoch("us")
    at_arrival = join_as_of(source, kept.select("symbol", time="arrival_time"), columns)
    known = pl.min_horizontal(pl.col("arrival_time"), pl.col("event_time") + _MINUTE)
    at_own = join_as_of(source, kept.select("symbol", time=known), columns)
    is_in_lake = (at_own["event_time"] == served).fill_null(value=False)
    vectors, sent = _vectors(kept, names), _sent(kept, names)
    first, newest = (
        sent & ~_same(vectors, rows.select(names).to_numpy().astype(np.float64)) for rows in (at_own, at_arrival)
    )
    is_newest = (at_arrival["event_time"] == served).fill_null(value=False).to_numpy() & (newest.sum(1) < first.sum(1))
    differs = np.where(is_newest[:, None], newest, first) & is_in_lake.to_numpy()[:, None]
    lag = (at_arrival["event_time"] - served).cast(pl.Float64) / 1e6
    return pl.DataFrame(
        {
            "is_in_lake": is_in_lake,
            "lag_s": pl.select(pl.when(lag >= 0).then(lag)).to_series(),
            "differing": [",".join(name for name, flag in zip(names, row, strict=True) if flag) for row in differs],
        }
    )


def _vectors(kept: pl.DataFrame, names: Sequence[str]) -> Scores:
    """Values of the features `names`: rows x names; NaN where a row has none."""
    found = [
        dict(zip(features, values, strict=True)) for features, values in kept.select("features", "values").iter_rows()
    ]
    return np.array([[each.get(name) for name in names] for each in found], dtype=np.float64).reshape(
        kept.height, len(names)
    )


def _sent(kept: pl.DataFrame, names: Sequence[str]) -> np.ndarray:
    return np.array([[name in features for name in names] for features in kept["features"]], dtype=np.bool_).reshape(
        kept.height, len(names)
    )


def _same(one: Scores, other: Scores) -> np.ndarray:
    return (one == other) | (np.isnan(one) & np.isnan(other))
