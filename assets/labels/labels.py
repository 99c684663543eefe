"""Labels of minutes: triple-barrier outcomes, the source's true anomalies, and the training set."""

import dagster as dg
import polars as pl

from assets.shared import look_ahead
from assets.shared.about import about_days
from assets.shared.checks import Check, Checked, commit_days
from resources.lake import LakeResource, LakeTable
from resources.tape_source import TapeSourceResource
from tapewatch.labels.barriers.barriers import triple_barrier
from tapewatch.labels.training.training_set import build_training_set
from tapewatch.labels.truth import truth_minutes
from tapewatch.market.instruments import Partition
from tapewatch.market.tables.tape import BARRIER_LABELS, TRAINING_SET, TRUTH_LABELS
from tapewatch.store.lake.tape import tape_end

_CHECKS = (Check(look_ahead.no_look_ahead),)


@dg.asset(
    **about_days(BARRIER_LABELS, "numba", checks=_CHECKS, is_day_by_day=True),
    ins={"bars": dg.AssetIn(["tape", "bars"])},
)
def barrier_labels(context: dg.AssetExecutionContext, bars: LakeTable) -> Checked:
    """Which barrier the price touched first after each CUSUM event, as far as the tape reaches."""

    def labels(day: Partition) -> pl.DataFrame:
        return triple_barrier(bars.read(day), session=day.session, through_ns=tape_end(bars.lake, day))

    yield from commit_days(context, BARRIER_LABELS, bars.lake, labels, _CHECKS)


@dg.asset(**about_days(TRUTH_LABELS, "polygon"))
def truth_labels(context: dg.AssetExecutionContext, tape_source: TapeSourceResource, lake: LakeResource) -> Checked:
    """The anomalies that the source declares. A source without such truth writes no partition."""
    source = tape_source.source()

    def minutes(partition: Partition) -> pl.DataFrame | None:
        truth = source.truth(partition, tape_source.symbols_of(partition.market))
        if truth is None:
            lake.open().remove(TRUTH_LABELS, partition)
            return None
        return truth_minutes(truth, partition.session)

    yield from commit_days(context, TRUTH_LABELS, lake.open(), minutes, needs_tape=False)


@dg.asset(
    **about_days(TRAINING_SET, is_day_by_day=True),
    ins={
        "microstructure": dg.AssetIn(["features", "microstructure"]),
        "barrier_labels": dg.AssetIn(["labels", "barrier_labels"]),
        "truth_labels": dg.AssetIn(["labels", "truth_labels"]),
        "human_labels": dg.AssetIn(["labels", "human_labels"]),
    },
)
def training_set(
    context: dg.AssetExecutionContext,
    microstructure: LakeTable,
    barrier_labels: LakeTable,
    truth_labels: LakeTable,
    human_labels: LakeTable,
) -> Checked:
    """Features of the regular session beside their labels; a label is null until it was known, or somebody gave it."""

    def rows(partition: Partition) -> pl.DataFrame:
        truth, said = (
            table.read(partition) if table.exists(partition) else None for table in (truth_labels, human_labels)
        )
        return build_training_set(microstructure.read(partition), barrier_labels.read(partition), truth, said)

    yield from commit_days(context, TRAINING_SET, microstructure.lake, rows)
