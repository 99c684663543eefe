"""Answers as an Arrow IPC stream, written from arrays: an object a row would take longer than its score."""

from typing import Any, Final

import msgspec
import numpy as np

from serving.judged import SCORED, Judged
from serving.schemas import Model

#: Metadata of the stream's schema.
MODEL, VERSION, FEATURE_VERSION = b"model", b"version", b"feature_version"
_US: Final = "us"


def stream_of(judged: Judged, model: Model, feature_version: int) -> bytes:
    """The verdicts as one record batch, in the order of the rows.

    Columns are those of `Verdict`, null where a verdict has nothing to say: symbol and not_scored (dictionaries of text), event_time
    (microseconds, UTC), score, threshold and one_in_hours (float64), is_anomaly (bool), and `reasons` (a list of structs) if they were asked for.
    The schema's metadata name the model.
    """
    import pyarrow as pa  # noqa: PLC0415 - needed for Arrow alone

    minutes, is_blank = judged.minutes, ~judged.is_scored
    is_leveled = ~np.isnan(judged.hours)
    reasons = pa.array(judged.faults, pa.string())
    columns: dict[str, Any] = {
        "symbol": _coded(pa, minutes.of_name, pa.array(minutes.names, pa.string())),
        "event_time": pa.array(minutes.moments, pa.timestamp(_US, tz="UTC")).take(pa.array(minutes.of_moment)),
        "score": pa.array(judged.scores, mask=is_blank),
        "threshold": pa.array(np.full(len(judged), judged.threshold)),
        "is_anomaly": pa.array(judged.is_anomaly, mask=is_blank),
        "one_in_hours": pa.array(judged.hours, mask=~is_leveled),
        "not_scored": _coded(pa, judged.of_fault, reasons, mask=judged.of_fault == SCORED),
    }
    if judged.reasons:
        kind = pa.struct(
            {"feature": pa.string(), "value": pa.float64(), "shap_value": pa.float64(), "words": pa.string()}
        )
        plain = [[msgspec.structs.asdict(each) for each in own] for own in judged.reasons]
        columns["reasons"] = pa.array(plain, pa.list_(kind))
    facts = {
        MODEL: model.name.encode(),
        VERSION: model.version.encode(),
        FEATURE_VERSION: str(feature_version).encode(),
    }
    batch = pa.record_batch(columns).replace_schema_metadata(facts)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def _coded(pa: Any, places: Any, values: Any, mask: Any = None) -> Any:
    indices = pa.array(places.astype(np.int32), mask=mask)
    return pa.DictionaryArray.from_arrays(indices, values)
