"""Bets on the events' sides, weights of their labels, people's labels and weak labels."""

import dagster as dg
import polars as pl

from assets.labels import judgements
from assets.shared.about import about_days
from assets.shared.checks import Check, Checked, commit_days
from resources.lake import LakeResource, LakeTable
from resources.stores import DatabaseResource
from tapewatch.labels.barriers.barriers import BarrierRules
from tapewatch.labels.barriers.events import cusum_events
from tapewatch.labels.barriers.meta_labels import meta_labels as bets_of
from tapewatch.labels.barriers.volatility import usable_bars
from tapewatch.labels.people.adjudication import settled
from tapewatch.labels.people.edges import refine
from tapewatch.labels.training.weights import label_weights
from tapewatch.market.instruments import Partition
from tapewatch.market.tables.labels import HUMAN_LABELS, LABEL_WEIGHTS, META_LABELS, WEAK_LABELS
from tapewatch.market.tables.live import LABELS
from tapewatch.market.tables.review import ADJUDICATIONS
from tapewatch.store.lake.tape import symbol_ticks

_CHECKS = (Check(judgements.no_look_ahead),)


@dg.asset(
    **about_days(META_LABELS, "numba", checks=_CHECKS, is_day_by_day=True), ins={"bars": dg.AssetIn(["tape", "bars"])}
)
def meta_labels(context: dg.AssetExecutionContext, bars: LakeTable) -> Checked:
    """Whether a bet on the direction of each CUSUM event would have won."""
    yield from commit_days(
        context, META_LABELS, bars.lake, lambda day: bets_of(bars.read(day), session=day.session), _CHECKS
    )


@dg.asset(
    **about_days(LABEL_WEIGHTS, checks=_CHECKS, is_day_by_day=True),
    ins={"bars": dg.AssetIn(["tape", "bars"]), "barrier_labels": dg.AssetIn(["labels", "barrier_labels"])},
)
def weights(context: dg.AssetExecutionContext, bars: LakeTable, barrier_labels: LakeTable) -> Checked:
    """Uniqueness and attributed return of each barrier label."""

    def weighed(day: Partition) -> pl.DataFrame:
        kept = usable_bars(bars.read(day), day.session)
        events = cusum_events(kept, span=BarrierRules().volatility_span)
        return label_weights(kept, events, barrier_labels.read(day))

    yield from commit_days(context, LABEL_WEIGHTS, bars.lake, weighed, _CHECKS)


@dg.asset(**about_days(HUMAN_LABELS, "sqlalchemy"), deps=[["tape", "trades"], ["tape", "quotes"]])
def human_labels(context: dg.AssetExecutionContext, lake: LakeResource, database: DatabaseResource) -> Checked:
    """People's labels from the database, with edges tightened to the tape; where they differ, what was decided.

    A day without labels is an empty partition.
    """
    opened = lake.open()

    def said(day: Partition) -> pl.DataFrame:
        store, of_day = database.open(), {"market": day.market, "where": {"date": day.date}}
        rows = settled(store.read(LABELS, **of_day), store.read(ADJUDICATIONS, **of_day))
        refined = [
            refine(*symbol_ticks(opened, day, symbol), start, end)
            for symbol, start, end in rows.select("symbol", pl.col("start_time", "end_time").to_physical()).iter_rows()
        ]
        edges = {"refined_start": [r.start for r in refined], "refined_end": [r.end for r in refined]}
        columns = [
            column
            for name, found in edges.items()
            for column in (
                pl.Series(name, [edge and edge.time_ns for edge in found], pl.Int64),
                pl.Series(f"{name}_s", [edge and edge.uncertainty_s for edge in found], pl.Float64),
            )
        ]
        return HUMAN_LABELS.conform(rows.with_columns(*columns, known_time="created_time"))

    yield from commit_days(context, HUMAN_LABELS, opened, said, needs_tape=False)


@dg.asset(
    **about_days(WEAK_LABELS),
    ins={"microstructure": dg.AssetIn(["features", "microstructure"])},
    deps=[["detections", "anomalies"], ["detections", "incidents"]],
)
def weak_labels(context: dg.AssetExecutionContext, microstructure: LakeTable, database: DatabaseResource) -> Checked:
    """Minutes for which a rule or detector votes, with the probability that a label model gives to all votes together."""
    from assets.labels.weak import weak_labels_of  # noqa: PLC0415 - the models are slow to import

    def voted(day: Partition) -> pl.DataFrame:
        labelled, model, sources = weak_labels_of(microstructure.lake, database.open(), day)
        if model is not None:
            rates = {
                name: {"sensitivity": round(float(hits), 3), "specificity": round(float(rests), 3)}
                for name, hits, rests in zip(sources, model.sensitivity, model.specificity, strict=True)
            }
            context.add_asset_metadata(
                {"share_anomalous": model.prior, "sources": dg.MetadataValue.json(rates)}, partition_key=str(day)
            )
        return labelled

    yield from commit_days(context, WEAK_LABELS, microstructure.lake, voted)
