"""`/score`, `/explain`, `/score_symbols` and `/score_bars`."""

import asyncio
import datetime as dt
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from itertools import islice
from typing import Any, Final

import msgspec
import numpy as np
from starlette.responses import Response

from models.served.minutes import Minutes
from serving.cache import Results
from serving.contract.answers import stream_of
from serving.contract.arrow import ARROW, minutes_of_arrow
from serving.contract.messages import BarsRequest, SymbolsRequest
from serving.deployment import CORES
from serving.http.operation import PATIENCE_S, Call, operation, respond
from serving.http.problems import Problem
from serving.judged import Judged
from serving.loader import Scorer
from serving.metrics import ROWS
from serving.operations.bars import minutes_of_tape
from serving.reasons import in_words
from serving.schemas import Model, RequestError, Verdict, fault_of, parse_rows
from tapewatch.store.vectors.symbols import MICROSTRUCTURE_VIEW, Features, read_features

#: Requests of fewer rows are answered at once. Those of more are answered in slices, each in a thread.
_FEW_ROWS: Final = 64
#: Bodies of so many bytes hold few rows, and are scored faster than a thread or Redis answers.
_QUICK_BYTES: Final = 2_048
_SLICE, _LEAST_SLICE, _EXPLAINED_SLICE = 5_120, 512, 16
_MOST_EXPLAINED: Final = 1_000
#: A request is judged by its speed after this many seconds, and refused if it would take this multiple of its time limit.
_TRIED_S, _SURE = 3.0, 1.5
#: Symbols that a refusal names.
_MOST_NAMED: Final = 5
_JSON: Final = "application/json"
_ROWS = {verdict: ROWS.labels(verdict) for verdict in ("anomaly", "ordinary", "not_scored")}
_encode = msgspec.json.Encoder().encode
_symbols = msgspec.json.Decoder(SymbolsRequest)
_bars = msgspec.json.Decoder(BarsRequest)


class _Answer(msgspec.Struct, frozen=True):
    """`Answer`, with results that are JSON already."""

    model: Model
    results: msgspec.Raw
    feature_version: int
    request_id: str


@operation("score")
async def score(call: Call) -> Response:
    """Score one row or several."""
    return await _score(call, reasons=call.flag("reasons"), words=False)


@operation("explain")
async def explain(call: Call) -> Response:
    """Score rows, with reasons in words."""
    return await _score(call, reasons=True, words=True)


@operation("score")
async def score_symbols(call: Call) -> Response:
    """Score the newest features that the online store holds of symbols.

    A symbol without usable features is not scored, and the answer says why; if none has any, the request is refused.
    """
    asked: SymbolsRequest = _decoded(_symbols, await call.body())
    scorer = call.deployment.slot.scorer
    call.rows = len(asked.symbols)
    with call.step("read features", symbols=len(asked.symbols)):
        vectors = call.deployment.vectors
        found = await asyncio.to_thread(read_features, vectors, MICROSTRUCTURE_VIEW, asked.symbols, scorer.features)
    now = dt.datetime.now(dt.UTC)
    verdicts: dict[int, Verdict] = {}
    usable: list[tuple[int, Features]] = []
    for at, (symbol, features) in enumerate(zip(asked.symbols, found, strict=True)):
        fault = _fault(features, asked, now)
        if features is None or fault:
            time = features.event_time if features else None
            verdicts[at] = msgspec.structs.replace(
                scorer.unscored(symbol, time, fault), age_s=_age(features, asked.time or now)
            )
        else:
            usable.append((at, features))
    if not usable:
        raise _nothing_usable(list(verdicts.values()))
    values = np.array(
        [[_number(each.values.get(name)) for name in scorer.features] for _, each in usable], dtype=np.float64
    ).reshape(len(usable), len(scorer.features))
    symbols, times = [asked.symbols[at] for at, _ in usable], [each.event_time for _, each in usable]
    judged = await _judged(call, scorer, Minutes.of(scorer.features, symbols, times, values), reasons=asked.reasons)
    _keep(call, scorer, "score_symbols", judged)
    for (at, features), verdict in zip(usable, judged.verdicts(), strict=True):
        verdicts[at] = msgspec.structs.replace(verdict, age_s=_age(features, asked.time or now))
    anomalies, ordinary, unscored = judged.counts()
    content = _encode([verdicts[at] for at in range(len(asked.symbols))])
    more = len(asked.symbols) - len(usable)
    return _answer(call, scorer, Results(content, anomalies, ordinary, unscored + more))


@operation("score")
async def score_bars(call: Call) -> Response:
    """Score minutes whose features are computed from recent trades and quotes, or bars."""
    asked: BarsRequest = _decoded(_bars, await call.body())
    scorer = call.deployment.slot.scorer
    with call.step("compute features"):
        rows = await asyncio.to_thread(minutes_of_tape, asked)
    minutes = await asyncio.to_thread(Minutes.of_frame, rows, scorer.features)
    call.rows = len(minutes)
    judged = await _judged(call, scorer, minutes, reasons=asked.reasons)
    _keep(call, scorer, "score_bars", judged)
    return _answer(call, scorer, _results(scorer, judged))


async def _score(call: Call, *, reasons: bool, words: bool) -> Response:
    body = await call.body()
    scorer = call.deployment.slot.scorer
    kind = call.headers.get("content-type", "").partition(";")[0].strip().lower()
    wanted = ARROW if ARROW in call.headers.get("accept", "") else _JSON
    cache = call.deployment.cache
    key = cache.key(_origin(scorer.model, scorer.feature_version, kind, f"{reasons}{words}{wanted}"), body)
    if len(body) <= _QUICK_BYTES and not reasons:
        results = cache.kept(key) or _quick(call, scorer, key, body, kind, wanted)
    else:
        compute = partial(_computed, call, scorer, body, kind, wanted, reasons=reasons, words=words)
        results = await cache.get(key, compute, is_shared=reasons or len(body) > _FEW_ROWS * 1_024)
    return _answer(call, scorer, results, wanted)


@lru_cache(maxsize=64)
def _origin(model: Model, feature_version: int, kind: str, wanted: str) -> bytes:
    """What an answer depends on besides the content of the request."""
    return _encode([model.name, model.version, feature_version, kind, wanted])


def _quick(call: Call, scorer: Scorer, key: bytes, body: bytes, kind: str, wanted: str) -> Results:
    """What is answered to a small request."""
    minutes = _parsed(scorer, body, kind)
    with call.step("score", rows=len(minutes), model=f"{scorer.model.name}/{scorer.model.version}"):
        judged = scorer.judged(minutes)
    _keep(call, scorer, "score", judged)
    results = _results(scorer, judged, wanted)
    call.deployment.cache.keep(key, results)
    return results


async def _computed(
    call: Call, scorer: Scorer, body: bytes, kind: str, wanted: str, *, reasons: bool, words: bool
) -> Results:
    is_large = len(body) > _FEW_ROWS * 1_024
    parse: Callable[[], Minutes] = partial(_parsed, scorer, body, kind)
    minutes = await asyncio.to_thread(parse) if is_large else parse()
    call.rows = len(minutes)
    if reasons and call.rows > _MOST_EXPLAINED:
        raise Problem(
            422,
            "invalid",
            f"{call.rows:,} rows are too many to explain at once",
            field="rows",
            way_out=f"ask for the reasons of at most {_MOST_EXPLAINED:,} rows, such as the anomalous ones",
        )
    judged = await _judged(call, scorer, minutes, reasons=reasons)
    if words:
        judged = replace(judged, reasons=[[in_words(each) for each in own] for own in judged.reasons])
    _keep(call, scorer, "score", judged)
    write: Callable[[], Results] = partial(_results, scorer, judged, wanted)
    return await asyncio.to_thread(write) if is_large else write()


def _parsed(scorer: Scorer, body: bytes, kind: str) -> Minutes:
    if kind == ARROW:
        return minutes_of_arrow(body, scorer.features)
    if kind not in (_JSON, ""):
        raise Problem(415, "type", f"content type {kind}", way_out=f"send {_JSON} or {ARROW}")
    return scorer.minutes_of(parse_rows(body, scorer.features))


async def _judged(call: Call, scorer: Scorer, minutes: Minutes, *, reasons: bool) -> Judged:
    """The rows with their scores. A large request takes turns with the others: a single row never waits for it to end."""
    with call.step("score", rows=len(minutes), model=f"{scorer.model.name}/{scorer.model.version}"):
        if len(minutes) <= _FEW_ROWS and not reasons:
            return scorer.judged(minutes)
        return await _in_turns(call, scorer, minutes, reasons=reasons)


async def _in_turns(call: Call, scorer: Scorer, minutes: Minutes, *, reasons: bool) -> Judged:
    # Reasons are made in Python, which runs on one core.
    cores = 1 if reasons else CORES
    size = _EXPLAINED_SLICE if reasons else min(_SLICE, max(-(-len(minutes) // cores), _LEAST_SLICE))

    async def judge(start: int) -> Judged:
        async with call.deployment.turns:
            return await asyncio.to_thread(scorer.judged, minutes.take(slice(start, start + size)), reasons=reasons)

    parts, begun = list[Judged](), 0.0
    waiting, starts = deque[asyncio.Task[Judged]](), iter(range(0, len(minutes), size))
    try:
        for _ in range(0, len(minutes), size):
            waiting.extend(asyncio.create_task(judge(start)) for start in islice(starts, cores - len(waiting)))
            parts.append(await waiting.popleft())
            if await call.request.is_disconnected():
                raise Problem(400, "gone", "the client closed the connection")
            done = len(parts) * size
            if size < done < len(minutes):
                _expect_end(done - size, len(minutes), time.monotonic() - begun)
            elif len(parts) == 1:
                # The first slice may have loaded what gives reasons.
                begun = time.monotonic()
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    return Judged.joined(minutes, parts)


def _expect_end(done: int, rows: int, spent_s: float) -> None:
    """Refuse a request that would be given up anyway, before it takes turns from others for nothing."""
    needed_s = spent_s * rows / done
    if spent_s < _TRIED_S or needed_s < _SURE * PATIENCE_S:
        return
    fitting = max(1, int(rows * PATIENCE_S / needed_s / 2))
    raise Problem(
        503,
        "busy",
        f"{rows:,} rows would take some {needed_s:,.0f} s at present, and a request may take {PATIENCE_S:g} s",
        way_out=f"send at most {fitting:,} rows a request, or try again later",
        headers={"Retry-After": "10"},
    )


def _results(scorer: Scorer, judged: Judged, wanted: str = _JSON) -> Results:
    content = stream_of(judged, scorer.model, scorer.feature_version) if wanted == ARROW else _encode(judged.verdicts())
    return Results(content, *judged.counts())


def _answer(call: Call, scorer: Scorer, results: Results, wanted: str = _JSON) -> Response:
    for name, count in (
        ("anomaly", results.anomalies),
        ("ordinary", results.ordinary),
        ("not_scored", results.unscored),
    ):
        if count:
            _ROWS[name].inc(count)
    call.rows = results.anomalies + results.ordinary + results.unscored
    if wanted == ARROW:
        return Response(results.content, media_type=ARROW)
    return respond(_Answer(scorer.model, msgspec.Raw(results.content), scorer.feature_version, call.request_id))


def _keep(call: Call, scorer: Scorer, operation: str, judged: Judged) -> None:
    """For the challenger, and for the sample of requests."""
    call.deployment.shadow.offer(scorer, judged)
    traffic = call.deployment.traffic
    if len(judged) and traffic.wants():
        traffic.add(operation, call.request_id, scorer.model, scorer.feature_version, judged)


def _decoded(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise fault_of(body, error) from error
    except RecursionError as error:
        raise RequestError("the JSON is nested too deeply: send plain values") from error


def _fault(features: Features | None, asked: SymbolsRequest, now: dt.datetime) -> str:
    """Why a symbol's features cannot be scored; empty if they can."""
    if features is None:
        return "unknown symbol: the online store has no features of it; is it collected, and are features published?"
    if asked.time is not None and features.known_time > asked.time:
        return (
            f"the newest features were known at {features.known_time.isoformat()}, after the time that was asked for: send "
            "its row to /score instead"
        )
    age = _age(features, asked.time or now)
    if age is not None and age > asked.max_age_s:
        return f"stale features: {age:,.0f} s old, over max_age_s ({asked.max_age_s:,.0f}); are features published?"
    return ""


def _nothing_usable(verdicts: Sequence[Verdict]) -> Problem:
    """The refusal of a request of which no symbol has features to score."""
    named = [f"{each.symbol}: {each.not_scored}" for each in verdicts[:_MOST_NAMED]]
    more = len(verdicts) - len(named)
    return Problem(
        422,
        "features",
        "no symbol can be scored. " + "; ".join([*named, *([f"and {more:,} more"] if more else [])]),
        field="symbols",
        way_out="correct the symbols, publish newer features (feature_store/online, or TAPEWATCH_PUSH_FEATURES=true for live "
        "ones), raise max_age_s, or send rows to /score",
    )


def _age(features: Features | None, now: dt.datetime) -> float | None:
    return None if features is None else round((now - features.known_time).total_seconds(), 3)


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
