"""The rows of the REST API as typed structs with the vendor's field names.

Unknown fields are ignored, so that the vendor may add some; a row that lacks a required one is refused.
"""

from typing import Annotated, Any, Generic, TypeVar

import msgspec

Row = TypeVar("Row")
_I64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_I16 = Annotated[int, msgspec.Meta(ge=-(2**15), le=2**15 - 1)]
_I8 = Annotated[int, msgspec.Meta(ge=-(2**7), le=2**7 - 1)]


class Page(msgspec.Struct, Generic[Row]):
    """The envelope of every paged answer. `results` is None if the server sent none."""

    results: list[Row] | None = None
    status: str = ""
    next_url: str | None = None
    ticker: str | None = None
    error: str | None = None
    message: str | None = None
    # Sent with aggregates only.
    resultsCount: int | None = None  # noqa: N815
    queryCount: int | None = None  # noqa: N815


class BarRow(msgspec.Struct, gc=False):
    """One aggregate; `t` is the start of its window in milliseconds."""

    t: _I64
    o: float
    h: float
    l: float  # noqa: E741
    c: float
    v: float = 0.0
    vw: float | None = None
    n: _I64 | None = None


class TradeRow(msgspec.Struct, gc=False):
    """One trade. Crypto has no SIP time and no sequence number; times are nanoseconds.

    `size` holds whole units only; `decimal_size` is the same amount with its fraction.
    """

    price: float
    exchange: _I16
    size: float | None = None
    decimal_size: float | str | None = None
    sip_timestamp: _I64 | None = None
    participant_timestamp: _I64 | None = None
    sequence_number: _I64 | None = None
    conditions: tuple[int, ...] = ()
    id: str | None = None
    correction: _I8 | None = None
    trf_id: _I16 | None = None
    trf_timestamp: _I64 | None = None
    tape: _I8 | None = None


class QuoteRow(msgspec.Struct, gc=False):
    """One best bid and offer; the vendor omits an empty side. Times are nanoseconds."""

    bid_price: float = 0.0
    ask_price: float = 0.0
    bid_size: float | None = None
    ask_size: float | None = None
    bid_exchange: _I16 | None = None
    ask_exchange: _I16 | None = None
    sip_timestamp: _I64 | None = None
    participant_timestamp: _I64 | None = None
    sequence_number: _I64 | None = None
    conditions: tuple[int, ...] = ()
    indicators: tuple[int, ...] = ()
    trf_timestamp: _I64 | None = None
    tape: _I8 | None = None


class FuturesBarRow(msgspec.Struct, gc=False):
    """One aggregate of a futures contract; the vendor's specification and its client name the count differently."""

    window_start: _I64
    open: float
    high: float
    low: float
    close: float
    volume: float = 0.0
    transactions: _I64 | None = None
    transaction_count: _I64 | None = None


class FuturesTradeRow(msgspec.Struct, gc=False):
    """One trade of a futures contract, without an exchange. Trades of one packet share its `sequence_number`; their
    `report_sequence` differs. Either may be absent."""

    timestamp: _I64
    price: float
    size: float | None = None
    decimal_size: float | str | None = None
    sequence_number: _I64 | None = None
    report_sequence: _I64 | None = None


class FuturesQuoteRow(msgspec.Struct, gc=False):
    """One best bid and offer of a futures contract; the vendor omits an empty side."""

    timestamp: _I64
    bid_price: float = 0.0
    ask_price: float = 0.0
    bid_size: float | None = None
    ask_size: float | None = None
    sequence_number: _I64 | None = None


class SplitRow(msgspec.Struct):
    """One split: `split_from` old units became `split_to` new ones."""

    ticker: str
    execution_date: str
    split_from: float
    split_to: float


class DividendRow(msgspec.Struct):
    """One cash dividend of a unit, as it was declared."""

    ticker: str
    ex_dividend_date: str
    cash_amount: float
    currency: str | None = None


class TickerRow(msgspec.Struct):
    """One entry of `/v3/reference/tickers`, or of a list of contracts."""

    ticker: str


class UpdateRule(msgspec.Struct):
    """Which fields of a bar a trade with a condition updates."""

    updates_high_low: bool = True
    updates_open_close: bool = True
    updates_volume: bool = True


class UpdateRules(msgspec.Struct):
    """The rules of the consolidated tape; those of single exchanges are not used."""

    consolidated: UpdateRule | None = None


class ConditionRow(msgspec.Struct):
    """One entry of `/v3/reference/conditions`."""

    id: int
    data_types: tuple[str, ...] = ()
    update_rules: UpdateRules | None = None


class MarketStatus(msgspec.Struct):
    """`/v1/marketstatus/now`: the state of the stock market, and of exchanges and currencies by name."""

    market: str
    exchanges: dict[str, Any] = {}
    currencies: dict[str, Any] = {}


class TruthRow(msgspec.Struct):
    """One anomaly that an emulator put into its tape; times are nanoseconds."""

    ticker: str
    event_id: str
    kind: str
    start_ns: int
    end_ns: int
