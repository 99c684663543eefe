"""The days on which a detector is evaluated, with the true anomalies.

If the source declares none (flat files, the vendor, an index of the built-in market), labelled anomalies are injected into a
copy of the day's tape and the features are computed again.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import polars as pl

from tapewatch.features.from_bars import bar_features
from tapewatch.features.microstructure import microstructure
from tapewatch.labels.injection.bars import inject_bars
from tapewatch.labels.injection.injection import inject
from tapewatch.labels.training.training_set import build_training_set
from tapewatch.labels.truth import truth_minutes
from tapewatch.market.instruments import Partition
from tapewatch.market.tables.tape import BARRIER_LABELS, BARS, TRAINING_SET, TRUTH_LABELS
from tapewatch.store.lake.lake import Lake
from tapewatch.store.lake.tape import has_ticks, symbol_batches, tape_end


@dataclass(frozen=True)
class ValidationDays:
    """Rows with the training set's columns and no null in `is_anomaly`, and the truth's minutes (TRUTH_LABELS).

    `lake` holds the days as they were, without anything injected.
    """

    rows: pl.DataFrame
    truth: pl.DataFrame
    origin: str
    lake: Lake | None = None


def validation_days(lake: Lake, partitions: Iterable[Partition], seed: int) -> ValidationDays:
    """The rows and truth of `partitions`, with injected anomalies where the source states no truth, or none happened."""
    rows, truth, origins = [TRAINING_SET.empty()], [TRUTH_LABELS.empty()], set()
    for partition in partitions:
        if lake.exists(TRUTH_LABELS, partition) and lake.rows(TRUTH_LABELS, partition):
            day, origin = (lake.read(TRAINING_SET, partition), lake.read(TRUTH_LABELS, partition)), "source"
        else:
            day, origin = _injected_day(lake, partition, seed), "injected"
        rows.append(day[0])
        truth.append(day[1])
        origins.add(origin)
    return ValidationDays(pl.concat(rows), pl.concat(truth), "+".join(sorted(origins)), lake)


def _injected_day(lake: Lake, partition: Partition, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    rows, truths = [TRAINING_SET.empty()], [TRUTH_LABELS.empty()]
    for features, events in _injected(lake, partition, seed):
        truth = truth_minutes(events, partition.session)
        rows.append(build_training_set(features, BARRIER_LABELS.empty(), truth))
        truths.append(truth)
    return pl.concat(rows), pl.concat(truths)


def _injected(lake: Lake, partition: Partition, seed: int) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Features of the distorted tape, and the events put in, a few symbols at a time."""
    session, through = partition.session, tape_end(lake, partition)
    if has_ticks(lake, partition):
        for trades, quotes in symbol_batches(lake, partition, all_columns=True):
            injected = inject(trades, quotes, session, seed=seed, through_ns=through)
            yield (
                microstructure(injected.trades, injected.quotes, session, through_ns=through),
                injected.truth_events,
            )
    elif lake.exists(BARS, partition):
        bars, events = inject_bars(lake.read(BARS, partition), session, seed=seed, through_ns=through)
        yield bar_features(bars, session, through_ns=through), events
