"""Requests and answers of the operations besides `/score`, as types."""

import datetime as dt
from typing import Annotated, Literal

import msgspec

from serving.schemas import Model

MAX_SYMBOLS = 1_000
MAX_TICKS = 50_000
_TEXT = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
_TIME = Annotated[dt.datetime, msgspec.Meta(tz=True)]
_PRICE = Annotated[float, msgspec.Meta(ge=-1e12, le=1e12)]
_SIZE = Annotated[float, msgspec.Meta(ge=0, le=1e15)]
_CODE = Annotated[int, msgspec.Meta(ge=0, le=255)]


class SymbolsRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Score the newest features of symbols. With `time`, features known only later are not scored, nor those older by `max_age_s`."""

    symbols: Annotated[list[_TEXT], msgspec.Meta(min_length=1, max_length=MAX_SYMBOLS)]
    time: _TIME | None = None
    max_age_s: Annotated[float, msgspec.Meta(gt=0, le=31_536_000)] = 86_400.0
    reasons: bool = False


class Trade(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One trade, in the order of the tape; `conditions` are the vendor's codes."""

    symbol: _TEXT
    time: _TIME
    price: _PRICE
    size: _SIZE
    conditions: Annotated[list[_CODE], msgspec.Meta(max_length=8)] = []


class Quote(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One best bid and offer, in the order of the tape; a side without a price is 0."""

    symbol: _TEXT
    time: _TIME
    bid_price: _PRICE
    ask_price: _PRICE
    bid_size: _SIZE | None = None
    ask_size: _SIZE | None = None


class Bar(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One minute bar; `time` is its start."""

    symbol: _TEXT
    time: _TIME
    open: _PRICE
    high: _PRICE
    low: _PRICE
    close: _PRICE
    volume: _SIZE
    vwap: _PRICE | None = None
    transactions: Annotated[int, msgspec.Meta(ge=0, le=10**9)] | None = None


class BarsRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Score minutes computed from recent tape: trades and quotes, or minute bars, of one market and day.

    Features compare a minute with the half hour before it, so send at least 35 minutes. `last` is how many minutes of each
    symbol are answered, the newest first in time order; `through` is the end of what is known, by default the last minute that
    is complete.
    """

    trades: Annotated[list[Trade], msgspec.Meta(max_length=MAX_TICKS)] = []
    quotes: Annotated[list[Quote], msgspec.Meta(max_length=MAX_TICKS)] = []
    bars: Annotated[list[Bar], msgspec.Meta(max_length=MAX_TICKS)] = []
    through: _TIME | None = None
    last: Annotated[int, msgspec.Meta(ge=1, le=1_440)] = 1
    reasons: bool = False


Source = Literal["alert", "incident", "anomaly"]


class Alert(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entry of `/alerts`: an alert of the live rules, an incident of the scan, or an anomaly of the detector.

    `level` is the severity of an alert, or once in how many hours ordinary tape raises such an incident or scores as high as such an
    anomaly, which `one_in_hours` says as a number; both are absent for an anomaly of a detector without a level. `traceparent` is the
    W3C header with which a request about a traced alert joins its trace.
    """

    id: str
    source: Source
    market: str
    symbol: str
    kind: str
    start_time: dt.datetime
    known_time: dt.datetime
    end_time: dt.datetime | None = None
    level: str = ""
    one_in_hours: float | None = None
    score: float | None = None
    message: str = ""
    traceparent: str = ""


class Alerts(msgspec.Struct, frozen=True):
    """Alerts, newest first. `is_cut` is true if `limit` left some out."""

    alerts: list[Alert]
    is_cut: bool
    request_id: str = ""


class Feedback(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a person says of an alert or incident."""

    alert_id: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    verdict: Literal["confirmed", "dismissed"]
    note: Annotated[str, msgspec.Meta(max_length=2_000)] | None = None


class FeedbackAnswer(msgspec.Struct, frozen=True):
    """A verdict as it was recorded."""

    alert_id: str
    verdict: str
    author: str
    request_id: str = ""


class Agreement(msgspec.Struct, frozen=True):
    """The challenger's verdicts beside the champion's, since either was loaded.

    `gained` are rows that the challenger alone calls anomalous, `lost` those that the champion alone does; `share` have the same
    verdict. `dropped` came faster than they were scored.
    """

    rows: int = 0
    gained: int = 0
    lost: int = 0
    not_scored: int = 0
    dropped: int = 0
    mean_difference: float = 0.0
    share: float | None = None


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """A model: its role, its threshold, its features, and the days and the run that made it; of a challenger how it agrees."""

    name: str
    version: str
    role: str = "champion"
    detector: str
    threshold: float
    feature_version: int
    schema_hash: str
    features: tuple[str, ...]
    markets: tuple[str, ...]
    fit_window: tuple[str, ...]
    training_rows: int
    partitions: tuple[str, ...]
    lineage: dict[str, str] = {}
    agreement: Agreement | None = None


class Models(msgspec.Struct, frozen=True):
    """The champion, and the challenger that scores beside it in shadow, if there is one."""

    models: list[ModelCard]
    request_id: str = ""


class WebhookAnswer(msgspec.Struct, frozen=True):
    """What became of an event: `served`, `ignored`, `refused`, or `waiting` for the version to be packaged."""

    outcome: str
    reason: str = ""
    request_id: str = ""


class Health(msgspec.Struct, frozen=True):
    """Whether the service is ready, and for whom it is open."""

    status: str
    model: Model
    access: str
