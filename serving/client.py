"""A typed client of the scoring service, synchronous and asynchronous: pandas and Polars in and out, with retries."""

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

import httpx
import msgspec
import polars as pl
from tenacity import AsyncRetrying, RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from serving.contract.messages import Alerts, Bar, FeedbackAnswer, Models, Quote, Trade
from serving.schemas import MAX_ROWS, Answer, Verdict
from tapewatch.market.tables.tape import MICROSTRUCTURE

_ARROW: Final = "application/vnd.apache.arrow.stream"
_JSON: Final = "application/json"
#: The service is starting, busy, swapping a store, or asks for a pause.
_AGAIN: Final = frozenset({429, 502, 503, 504})
_LONGEST_PAUSE_S: Final = 30.0
#: The columns of a frame of verdicts.
_VERDICTS: Final[dict[str, pl.DataType]] = {
    "symbol": pl.String(),
    "event_time": pl.Datetime("us", "UTC"),
    "score": pl.Float64(),
    "threshold": pl.Float64(),
    "is_anomaly": pl.Boolean(),
    "one_in_hours": pl.Float64(),
    "age_s": pl.Float64(),
    "not_scored": pl.String(),
}
_SWAPPED: Final = "the model was swapped while the rows were scored: score them again"
_backoff = wait_exponential(multiplier=0.2, max=5.0)


class ScoringClientError(RuntimeError):
    """The service refuses, or cannot be reached; `status` is 0 if it gave no answer. The message names the way out."""

    def __init__(self, message: str, status: int = 0, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status, self.retry_after_s = status, retry_after_s


class _Requests:
    """How requests are written and answers read."""

    def __init__(self, url: str, key: str | None, timeout_s: float, attempts: int) -> None:
        headers = {"X-API-Key": key} if key else {}
        self._options: dict[str, Any] = {"base_url": url.rstrip("/"), "headers": headers, "timeout": timeout_s}
        self._retrying: dict[str, Any] = {
            "stop": stop_after_attempt(attempts),
            "retry": retry_if_exception(_is_passing),
            "wait": _pause,
            "reraise": True,
        }

    @staticmethod
    def frames(rows: Any) -> list[dict[str, Any]]:
        """Requests that score a Polars or pandas frame, to be answered as Arrow."""
        requests = _Requests.rows(rows if isinstance(rows, pl.DataFrame) else pl.from_pandas(rows), reasons=False)
        return [request | {"headers": {"Content-Type": _ARROW, "Accept": _ARROW}} for request in requests]

    @staticmethod
    def rows(rows: Any, *, reasons: bool) -> list[dict[str, Any]]:
        """Requests that score a Polars or pandas frame, or rows as mappings: one for every MAX_ROWS."""
        path = "/score?reasons=true" if reasons else "/score"
        if isinstance(rows, Sequence):
            parts = [rows[start : start + MAX_ROWS] for start in range(0, len(rows), MAX_ROWS)]
            return [_json(path, {"rows": part}) for part in parts]
        frame = rows if isinstance(rows, pl.DataFrame) else pl.from_pandas(rows)
        known = frame.select(name for name in frame.columns if name in MICROSTRUCTURE.by_name)
        plain = known.with_columns(pl.col("symbol").cast(pl.String), pl.col(pl.Float64, pl.Float32).fill_nan(None))
        # Most features are not needed, but whole rows of the table are easier to send.
        return [
            {"method": "POST", "url": path, "content": _stream(part), "headers": {"Content-Type": _ARROW}}
            for part in plain.iter_slices(MAX_ROWS)
        ]

    @staticmethod
    def symbols(symbols: Sequence[str], **options: Any) -> dict[str, Any]:
        """A request for the newest features of symbols."""
        return _json("/score_symbols", {"symbols": list(symbols), **options})

    @staticmethod
    def tape(trades: Sequence[Trade], quotes: Sequence[Quote], bars: Sequence[Bar], **options: Any) -> dict[str, Any]:
        """A request for minutes of recent tape."""
        return _json("/score_bars", {"trades": trades, "quotes": quotes, "bars": bars, **options})

    @staticmethod
    def alerts(wanted: Mapping[str, Any]) -> dict[str, Any]:
        """A request for alerts."""
        plain = {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in wanted.items()}
        return {"method": "GET", "url": "/alerts", "params": {n: v for n, v in plain.items() if v is not None}}

    @staticmethod
    def feedback(alert_id: str, verdict: str, note: str | None) -> dict[str, Any]:
        """A request that records a verdict."""
        return _json("/feedback", {"alert_id": alert_id, "verdict": verdict, "note": note})


class ScoringClient(_Requests):
    """Use as a context manager, or call `close`.

    Args:
        url: address of the service.
        key: an API key; None where the service is open.
        timeout_s: of one attempt.
        attempts: how often a request is made while the service cannot be reached, is busy or asks for a pause.

    Every method raises ScoringClientError.
    """

    def __init__(self, url: str, key: str | None = None, *, timeout_s: float = 30.0, attempts: int = 4) -> None:
        super().__init__(url, key, timeout_s, attempts)
        self._http = httpx.Client(**self._options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def score(self, rows: Any, *, reasons: bool = False) -> Answer:
        """Verdicts for microstructure rows: a Polars or pandas frame, or a sequence of mappings."""
        return _joined([self._ask(request, Answer) for request in self.rows(rows, reasons=reasons)])

    def score_frame(self, rows: Any) -> pl.DataFrame:
        """Verdicts for a Polars or pandas frame as a frame, with the columns of `as_frame`: quickest for many rows."""
        return _stacked([self._ask(request, pl.DataFrame) for request in self.frames(rows)])

    def score_symbols(self, symbols: Sequence[str], **options: Any) -> Answer:
        """Verdicts for the newest features of symbols; options are those of `SymbolsRequest`."""
        return self._ask(self.symbols(symbols, **options), Answer)

    def score_bars(
        self,
        *,
        trades: Sequence[Trade] = (),
        quotes: Sequence[Quote] = (),
        bars: Sequence[Bar] = (),
        **options: Any,
    ) -> Answer:
        """Verdicts for minutes of recent tape; options are those of `BarsRequest`."""
        return self._ask(self.tape(trades, quotes, bars, **options), Answer)

    def list_alerts(self, **wanted: Any) -> Alerts:
        """Alerts by the parameters of `/alerts`."""
        return self._ask(self.alerts(wanted), Alerts)

    def give_feedback(self, alert_id: str, verdict: str, note: str | None = None) -> FeedbackAnswer:
        """Confirm or dismiss an alert."""
        return self._ask(self.feedback(alert_id, verdict, note), FeedbackAnswer)

    def models(self) -> Models:
        """The model that scores."""
        return self._ask({"method": "GET", "url": "/models"}, Models)

    def _ask(self, request: Mapping[str, Any], kind: Any) -> Any:
        for attempt in Retrying(**self._retrying):
            with attempt:
                try:
                    response = self._http.request(**request)
                except httpx.TransportError as error:
                    raise _unreached(self._http.base_url, error) from error
                return _read(response, kind)
        raise AssertionError("tenacity raises the last error")


class AsyncScoringClient(_Requests):
    """As `ScoringClient`, for asyncio."""

    def __init__(self, url: str, key: str | None = None, *, timeout_s: float = 30.0, attempts: int = 4) -> None:
        super().__init__(url, key, timeout_s, attempts)
        self._http = httpx.AsyncClient(**self._options)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def score(self, rows: Any, *, reasons: bool = False) -> Answer:
        """As `ScoringClient.score`."""
        return _joined([await self._ask(request, Answer) for request in self.rows(rows, reasons=reasons)])

    async def score_frame(self, rows: Any) -> pl.DataFrame:
        """As `ScoringClient.score_frame`."""
        return _stacked([await self._ask(request, pl.DataFrame) for request in self.frames(rows)])

    async def score_symbols(self, symbols: Sequence[str], **options: Any) -> Answer:
        """As `ScoringClient.score_symbols`."""
        return await self._ask(self.symbols(symbols, **options), Answer)

    async def list_alerts(self, **wanted: Any) -> Alerts:
        """As `ScoringClient.list_alerts`."""
        return await self._ask(self.alerts(wanted), Alerts)

    async def give_feedback(self, alert_id: str, verdict: str, note: str | None = None) -> FeedbackAnswer:
        """As `ScoringClient.give_feedback`."""
        return await self._ask(self.feedback(alert_id, verdict, note), FeedbackAnswer)

    async def models(self) -> Models:
        """As `ScoringClient.models`."""
        return await self._ask({"method": "GET", "url": "/models"}, Models)

    async def _ask(self, request: Mapping[str, Any], kind: Any) -> Any:
        async for attempt in AsyncRetrying(**self._retrying):
            with attempt:
                try:
                    response = await self._http.request(**request)
                except httpx.TransportError as error:
                    raise _unreached(self._http.base_url, error) from error
                return _read(response, kind)
        raise AssertionError("tenacity raises the last error")


def as_frame(answer: Answer) -> pl.DataFrame:
    """The verdicts as a frame: symbol, event_time, score, threshold, is_anomaly, one_in_hours, age_s, not_scored."""
    rows = [{name: getattr(each, name) for name in _VERDICTS} for each in answer.results]
    return pl.DataFrame(rows, schema=_VERDICTS)


def _json(path: str, body: object) -> dict[str, Any]:
    return {"method": "POST", "url": path, "content": msgspec.json.encode(body), "headers": {"Content-Type": _JSON}}


def _stream(frame: pl.DataFrame) -> bytes:
    sink = io.BytesIO()
    frame.write_ipc_stream(sink)
    return sink.getvalue()


def _joined(answers: Sequence[Answer]) -> Answer:
    """The answers to parts of one frame; the first says which model scored.

    Raises:
        ScoringClientError: there were no rows, or the model was swapped between two parts.
    """
    if not answers:
        raise ScoringClientError("there are no rows to score")
    if len({answer.model for answer in answers}) > 1:
        raise ScoringClientError(_SWAPPED)
    results: list[Verdict] = [verdict for answer in answers for verdict in answer.results]
    return msgspec.structs.replace(answers[0], results=results)


def _stacked(answers: Sequence[tuple[pl.DataFrame, Mapping[Any, Any]]]) -> pl.DataFrame:
    """As `_joined`, of frames with their models."""
    if not answers:
        raise ScoringClientError("there are no rows to score")
    if any(model != answers[0][1] for _, model in answers):
        raise ScoringClientError(_SWAPPED)
    absent = pl.lit(None, pl.Float64).alias("age_s")
    whole = pl.concat([frame for frame, _ in answers]).with_columns(absent, pl.col("not_scored").fill_null(""))
    return whole.select(*_VERDICTS)


def _of_stream(content: bytes) -> tuple[pl.DataFrame, Mapping[Any, Any]]:
    """The verdicts of an Arrow answer, and what it says of its model."""
    import pyarrow as pa  # noqa: PLC0415 - few clients need it

    table = pa.ipc.open_stream(content).read_all()
    frame = pl.DataFrame(pl.from_arrow(table))
    return frame.with_columns(pl.col("symbol", "not_scored").cast(pl.String)), table.schema.metadata or {}


def _read(response: httpx.Response, kind: Any) -> Any:
    if response.is_success and kind is pl.DataFrame:
        return _of_stream(response.content)
    if response.is_success:
        return msgspec.json.decode(response.content, type=kind)
    try:
        said = response.json()
        detail = "; ".join(str(said[name]) for name in ("detail", "way_out") if said.get(name))
    except (ValueError, AttributeError):
        detail = response.text[:200]
    after = response.headers.get("retry-after", "")
    raise ScoringClientError(
        f"{response.request.url} refuses ({response.status_code}): {detail}",
        response.status_code,
        float(after) if after.isdecimal() else None,
    )


def _unreached(url: httpx.URL, error: httpx.TransportError) -> ScoringClientError:
    return ScoringClientError(f"no scoring service answers at {url}: {error or type(error).__name__}")


def _is_passing(error: BaseException) -> bool:
    return isinstance(error, ScoringClientError) and (error.status == 0 or error.status in _AGAIN)


def _pause(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after_s if isinstance(error, ScoringClientError) else None
    return min(asked, _LONGEST_PAUSE_S) if asked is not None else float(_backoff(state))
