"""The requests and answers of the scoring service, made from the table of microstructure rows."""

import datetime as dt
import re
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import polars as pl

from tapewatch.market.schema import Column
from tapewatch.market.tables.tape import MICROSTRUCTURE

MAX_ROWS = 10_000
#: No market quantity is larger, and the model's single-precision trees could not compare it.
MAX_MAGNITUDE = 1e30
#: The years of nanosecond times.
FIRST_YEAR, LAST_YEAR = 1678, 2261
_IDENTITY = ("symbol", "event_time")
_REQUIRED_TEXT = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
_AWARE_TIME = Annotated[dt.datetime, msgspec.Meta(tz=True)]


class RequestError(ValueError):
    """A request that cannot be scored; the message names the row and the reason."""


class Reason(msgspec.Struct, frozen=True, omit_defaults=True):
    """One feature's part in a score. A positive `shap_value` makes the row more anomalous; a null `value` is not known.

    `words` say what the feature measures and what its value hints at.
    """

    feature: str
    value: float | None
    shap_value: float
    words: str = ""


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """The result for one row; the strongest of its `reasons`, if they were asked for, first.

    A row that the model was not made for has no score: `not_scored` says why. `one_in_hours` is how many hours of
    a symbol's ordinary tape lie between scores as high; absent if the model was trained on too few minutes for it. `age_s` is how old features
    from a store are.
    """

    symbol: str
    event_time: dt.datetime | None
    score: float | None
    threshold: float
    is_anomaly: bool | None
    one_in_hours: float | None = None
    age_s: float | None = None
    reasons: list[Reason] = []
    not_scored: str = ""


class Model(msgspec.Struct, frozen=True):
    """The registered model that scored."""

    name: str
    version: str


class Answer(msgspec.Struct, frozen=True):
    """The body of a successful answer; a result per row, in the order of the request.

    `feature_version` is that of the catalogue of features that the model reads.
    """

    model: Model
    results: list[Verdict]
    feature_version: int = 0
    request_id: str = ""


def _field(column: Column) -> tuple[str, Any, Any]:
    if column.dtype == pl.Boolean():
        return column.name, bool | None, None
    if isinstance(column.dtype, pl.Datetime):
        return column.name, _AWARE_TIME | None, None
    bounds = msgspec.Meta(
        ge=-MAX_MAGNITUDE if column.minimum is None else column.minimum,
        le=MAX_MAGNITUDE if column.maximum is None else column.maximum,
    )
    return column.name, Annotated[float, bounds] | None, None


#: One microstructure row. Every column but symbol and time may be null or left out; no other field is accepted.
Row: type[msgspec.Struct] = msgspec.defstruct(
    "Row",
    [
        ("symbol", _REQUIRED_TEXT),
        ("event_time", _AWARE_TIME),
        *(_field(column) for column in MICROSTRUCTURE.columns if column.name not in _IDENTITY),
    ],
    forbid_unknown_fields=True,
    frozen=True,
)
Batch: type[msgspec.Struct] = msgspec.defstruct(
    "Batch",
    [("rows", Annotated[list[Row], msgspec.Meta(min_length=1, max_length=MAX_ROWS)])],  # type: ignore[valid-type]
    forbid_unknown_fields=True,
)
_NOT_FINITE = re.compile(rb'"([^"\\\\]{1,64})"\s*:\s*(-?(?:NaN|nan|Infinity|[Ii]nf))')
_envelope = msgspec.json.Decoder(dict[str, msgspec.Raw])
_batch = msgspec.json.Decoder(Batch)
_single = msgspec.json.Decoder(Row)


def _frame_type(column: Column) -> pl.DataType:
    if column.dtype.is_numeric():
        return pl.Float64()
    # Polars keeps categories for the life of the process: clients must not add any.
    return pl.String() if column.dtype == pl.Categorical() else column.dtype


_FRAME_SCHEMA = {column.name: _frame_type(column) for column in MICROSTRUCTURE.columns}


def parse_rows(body: bytes, features: Sequence[str]) -> list[Any]:
    """The rows of a request body, `{"rows": [row, …]}` or a single row, each with the fields of `Row`.

    Raises:
        RequestError: there is an infinity, a value outside its column's range, a time without a zone, an unknown field, an
            empty list, or a row in which all `features` are null. The message names the row.
    """
    try:
        envelope = _envelope.decode(body)
        rows = _batch.decode(body).rows if "rows" in envelope else [_single.decode(body)]  # type: ignore[attr-defined]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise fault_of(body, error) from error
    except RecursionError as error:
        raise RequestError("the JSON is nested too deeply: send an object of plain values for each row") from error
    for index, row in enumerate(rows):
        _check(row, index, features)
    return rows


def fault_of(body: bytes, error: Exception) -> RequestError:
    """What is wrong with a body that could not be decoded. Many programs write NaN and infinities, which JSON does not have."""
    found = _NOT_FINITE.search(body) if "malformed" in str(error) else None
    if found is None:
        return RequestError(str(error))
    name, value = (found[group].decode("utf-8", "replace") for group in (1, 2))
    return RequestError(f"{name} is {value}, which JSON has no number for: send null or leave it out - at `$.{name}`")


def parse_request(body: bytes, features: Sequence[str]) -> pl.DataFrame:
    """`parse_rows` as a frame of `MICROSTRUCTURE`'s columns: numbers are float64, symbols text, absent values null."""
    rows = parse_rows(body, features)
    return pl.DataFrame([msgspec.structs.asdict(row) for row in rows], schema=_FRAME_SCHEMA)


def _check(row: msgspec.Struct, index: int, features: Sequence[str]) -> None:
    if all(getattr(row, name) is None for name in features):
        raise RequestError(f"row {index} holds no feature: give at least one of {', '.join(features)}")
    for name in ("event_time", "known_time"):
        time = getattr(row, name)
        if time is not None and not FIRST_YEAR <= time.year <= LAST_YEAR:
            raise RequestError(f"row {index}: {name} {time.isoformat()} lies outside {FIRST_YEAR} to {LAST_YEAR}")
