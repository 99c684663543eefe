"""Weak labels: what rules and detectors say of each minute, joined by the label model."""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

from tapewatch.labels.label_model import LabelModel, fit
from tapewatch.market.arrays import flat, symbol_runs
from tapewatch.market.instruments import NS_PER_MINUTE
from tapewatch.market.tables.labels import WEAK_LABELS

#: The name of the volume rule as a source.
SOURCE_VOLUME = "volume_rule"
#: With fewer sources the model cannot tell their accuracies apart.
FEWEST_SOURCES = 3


def weak_labels(
    minutes: pl.DataFrame, fires: Mapping[str, npt.NDArray[np.bool_]], spans: Mapping[str, pl.DataFrame]
) -> tuple[pl.DataFrame, LabelModel | None, list[str]]:
    """Minutes for which at least one source votes, with the probability by all sources together.

    A source votes 1 on the minutes for which it fires or that its findings overlap, and 0 on all others. A finding without
    a symbol concerns every symbol. The model is fitted on these minutes alone, quiet ones included; with fewer than three
    sources that ever fire the probability is the share of them that do, and there is no model.

    Args:
        minutes: symbol, event_time, known_time; one row a minute, all of them, sorted.
        fires: by source, whether it fires for each row.
        spans: by source, its findings: symbol, start_time, end_time.

    Returns:
        A WEAK_LABELS frame, the model, and the sources that fired, in the model's order.
    """
    columns = dict(fires) | {name: covered(minutes, found) for name, found in spans.items()}
    sources = sorted(name for name, column in columns.items() if column.any())
    if not sources:
        return WEAK_LABELS.empty(), None, []
    votes = np.column_stack([columns[name] for name in sources]).astype(np.int8)
    model = fit(votes) if len(sources) >= FEWEST_SOURCES else None
    probability = votes.mean(axis=1) if model is None else model.probability(votes)
    names = [",".join(name for name, vote in zip(sources, row, strict=True) if vote) for row in votes]
    labelled = minutes.select(
        "symbol",
        "event_time",
        "known_time",
        probability=pl.Series(probability),
        label=pl.Series(probability >= 0.5),
        votes=pl.Series(names),
    )
    return WEAK_LABELS.conform(labelled.filter(pl.col("votes") != "")), model, sources


def covered(minutes: pl.DataFrame, found: pl.DataFrame) -> npt.NDArray[np.bool_]:
    """Whether each minute overlaps a finding of its symbol, or one without a symbol. An empty finding has its one minute."""
    starts, (symbols, offsets) = flat(minutes["event_time"]), symbol_runs(minutes)
    runs = dict(zip(symbols, pairwise(offsets), strict=True))
    overlaps = np.zeros(minutes.height, dtype=np.bool_)
    spans = found.select(pl.col("symbol").cast(pl.String), pl.col("start_time", "end_time").to_physical())
    for symbol, start, end in spans.iter_rows():
        concerned = runs.values() if symbol == "" else [runs[symbol]] if symbol in runs else []
        for begin, stop in concerned:
            own = starts[begin:stop]
            first = np.searchsorted(own, start - NS_PER_MINUTE, side="right")
            overlaps[begin + first : begin + np.searchsorted(own, max(end, start + 1))] = True
    return overlaps
