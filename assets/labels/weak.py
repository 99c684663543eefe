"""The votes of rules and detectors on a day's regular minutes."""

import numpy as np
import polars as pl

from models.rules import VOLUME_RATIO, volume_ratio
from tapewatch.labels.label_model import LabelModel
from tapewatch.labels.weak_labels import SOURCE_VOLUME, weak_labels
from tapewatch.market.instruments import Partition
from tapewatch.market.tables.derived import INCIDENTS
from tapewatch.market.tables.live import ALERTS
from tapewatch.market.tables.tape import ANOMALIES, MICROSTRUCTURE
from tapewatch.store.database.database import Database
from tapewatch.store.lake.lake import Lake
from tapewatch.streaming.detection.findings import CHAMPION

_SPAN = ("symbol", "start_time", "end_time")


def weak_labels_of(
    lake: Lake, database: Database, partition: Partition
) -> tuple[pl.DataFrame, LabelModel | None, list[str]]:
    """The WEAK_LABELS of a day, the label model, and its sources.

    Sources are the volume rule, the two detectors where the lake holds their findings, and each rule of the live stream that
    raised an alert that day. An alert that lasts counts up to the day's end.
    """
    columns = ["symbol", "event_time", "known_time", "is_regular", "volume"]
    minutes = lake.read(MICROSTRUCTURE, partition, columns=columns).filter("is_regular")
    fires = {SOURCE_VOLUME: np.asarray(volume_ratio(minutes).to_numpy() > VOLUME_RATIO)}
    spans = {
        table.name: lake.read(table, partition, columns=_SPAN)
        for table in (ANOMALIES, INCIDENTS)
        if lake.exists(table, partition)
    }
    alerts = database.read(ALERTS, market=partition.market, where={"date": partition.date})
    # The champion's live alerts are the day's anomalies, which are a source already.
    alerts = alerts.filter(pl.col("rule") != CHAMPION)
    day_end = pl.lit(partition.session.day_end).cast(ALERTS.schema["end_time"])
    alerts = alerts.with_columns(pl.col("end_time").fill_null(day_end))
    spans |= {f"alert_{name}": own.select(_SPAN) for (name,), own in alerts.partition_by("rule", as_dict=True).items()}
    return weak_labels(minutes, fires, spans)
