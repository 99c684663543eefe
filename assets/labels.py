"""What was later learnt about a minute: triple-barrier outcomes, the source's truth, and the training set of both."""

from collections.abc import Generator

import dagster as dg
import polars as pl

from assets.about import about_days
from assets.checks import Checked, results
from assets.partitions import run_partitions
from resources.lake import Days, LakeResource, LakeTable
from resources.tape_source import TapeSourceResource
from tapewatch.labels.barriers import triple_barrier
from tapewatch.labels.training_set import build_training_set
from tapewatch.labels.truth import truth_minutes
from tapewatch.market.instruments import Partition
from tapewatch.market.tables import BARRIER_LABELS, TRAINING_SET, TRUTH_LABELS


@dg.asset(
    **about_days(BARRIER_LABELS, "numba"),
    ins={"bars": dg.AssetIn(["tape", "bars"])},
)
def barrier_labels(context: dg.AssetExecutionContext, bars: LakeTable) -> Checked:
    """Which barrier the price touched first after each CUSUM event."""
    yield dg.Output(
        Days(
            (partition, triple_barrier(bars.read(partition), session=partition.session))
            for partition in run_partitions(context)
        )
    )
    yield from results(context, BARRIER_LABELS, bars.lake)


@dg.asset(**about_days(TRUTH_LABELS, "polygon"))
def truth_labels(context: dg.AssetExecutionContext, tape_source: TapeSourceResource, lake: LakeResource) -> Checked:
    """The anomalies that the source itself declares. Where it knows of none, no partition is written at all."""
    source = tape_source.source()

    def days() -> Generator[tuple[Partition, pl.DataFrame | None], None, None]:
        for partition in run_partitions(context):
            truth = source.truth(partition, tape_source.symbols_of(partition.market))
            if truth is None:
                lake.open().remove(TRUTH_LABELS, partition)
            yield partition, None if truth is None else truth_minutes(truth, partition.session)

    yield dg.Output(Days(days()))
    yield from results(context, TRUTH_LABELS, lake.open())


@dg.asset(
    **about_days(TRAINING_SET),
    ins={
        "microstructure": dg.AssetIn(["features", "microstructure"]),
        "barrier_labels": dg.AssetIn(["labels", "barrier_labels"]),
        "truth_labels": dg.AssetIn(["labels", "truth_labels"]),
    },
)
def training_set(
    context: dg.AssetExecutionContext, microstructure: LakeTable, barrier_labels: LakeTable, truth_labels: LakeTable
) -> Checked:
    """Features of the regular session beside their labels; a label is null until it was known."""
    yield dg.Output(
        Days(
            (
                partition,
                build_training_set(
                    microstructure.read(partition),
                    barrier_labels.read(partition),
                    truth_labels.read(partition) if truth_labels.exists(partition) else None,
                ),
            )
            for partition in run_partitions(context)
        )
    )
    yield from results(context, TRAINING_SET, microstructure.lake)
