"""The shapes of the anomalies, by which similar ones are found."""

import dagster as dg
import polars as pl

from assets.shared.about import about_days
from assets.shared.checks import Checked, commit_days
from resources.lake import LakeTable
from resources.stores import DatabaseResource
from tapewatch.market.instruments import Partition
from tapewatch.market.tables.derived import ANOMALY_PATTERNS
from tapewatch.market.tables.tape import MICROSTRUCTURE
from tapewatch.store.database.people.verdicts import anomaly_id

#: Earlier days that say what is usual.
_DAYS = 3


@dg.asset(**about_days(ANOMALY_PATTERNS, "numpy"), ins={"anomalies": dg.AssetIn(["detections", "anomalies"])})
def anomaly_patterns(context: dg.AssetExecutionContext, anomalies: LakeTable, database: DatabaseResource) -> Checked:
    """The shape of each anomaly of the day, with what people have said of it so far."""
    from models.patterns.shape import patterns  # noqa: PLC0415 - only runs need it
    from tapewatch.reports.dossier.dossier import days_before, labels_of  # noqa: PLC0415 - likewise

    lake, opened = anomalies.lake, database.open()

    def found(day: Partition) -> pl.DataFrame:
        events = anomalies.read(day)
        if events.is_empty():
            return ANOMALY_PATTERNS.empty()
        symbols = events["symbol"].cast(pl.String).unique().sort().to_list()
        rows = [lake.read(MICROSTRUCTURE, each, symbols=symbols) for each in [*days_before(lake, day, _DAYS), day]]
        spans = events.select(pl.col("symbol").cast(pl.String), "start_time", "end_time").rows()
        names = [anomaly_id(day.market, symbol, start) for symbol, start, _ in spans]
        shapes = patterns(events, pl.concat(rows).filter("is_regular"), names)
        said = [labels_of(opened, *span, name) for span, name in zip(spans, names, strict=True)]
        labels = pl.Series([each[-1] if each else None for each in said], dtype=pl.String)
        return ANOMALY_PATTERNS.conform(shapes.with_columns(label=labels))

    yield from commit_days(context, ANOMALY_PATTERNS, lake, found, needs_tape=False)
