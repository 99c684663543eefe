"""Scores rows with the scoring service if one runs, else with the newest Bento in this process."""

import datetime as dt
import json
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec
import polars as pl
from rich.console import Group
from rich.table import Table

from orchestration.processes.guarding import access_of
from orchestration.processes.services import Service, environment, scoring_service
from orchestration.processes.supervision import Supervisor, stop_signals
from orchestration.runs.times import iso_time
from serving.schemas import Answer, Verdict
from serving.store import StoredBento
from tapewatch.market.instruments import Market, Partition, day_of, market_of
from tapewatch.market.tables.tape import MICROSTRUCTURE
from tapewatch.network import is_loopback
from tapewatch.settings import Settings
from tapewatch.store.database.database import Database
from tapewatch.store.lake.lake import Lake, LakeError

_TIMEOUT_S = 60
_START_TIMEOUT_S = 120


class ScoringError(RuntimeError):
    """There is nothing to score, no service or Bento, or a refusal; the message says which and the way out."""


def anomaly_rows(settings: Settings, event: Mapping[str, Any] | None = None) -> pl.DataFrame:
    """The microstructure rows of an event of `anomalies`, by default the latest.

    Raises:
        ScoringError: there is no anomaly yet.
        LakeError: the features of its day are not in the lake.
    """
    if event is None:
        with Database(settings.database) as database:
            latest = database.anomalies().sort("known_time", "symbol").tail(1)
        if not latest.height:
            raise ScoringError("no anomaly has been found yet: `tapewatch run` or `tapewatch demo` finds some")
        event = latest.row(0, named=True)
    rows = _rows_of(settings, event["symbol"], event["start_time"])
    return rows.filter((pl.col("event_time") >= event["start_time"]) & (pl.col("event_time") < event["end_time"]))


def minute_row(settings: Settings, symbol: str, time: dt.datetime) -> pl.DataFrame:
    """The microstructure row of the symbol's minute at `time`.

    Raises:
        ScoringError: the lake has the day, but not that minute.
        LakeError: the features of its day are not in the lake.
    """
    minute = time.astimezone(dt.UTC).replace(second=0, microsecond=0)
    row = _rows_of(settings, symbol, minute).filter(pl.col("event_time") == minute)
    if not row.height:
        raise ScoringError(
            f"no features of {symbol} at {minute:%Y-%m-%d %H:%M} UTC: the symbol or minute is not covered"
        )
    return row


def minute_of_any(settings: Settings, symbols: Sequence[str], time: dt.datetime) -> pl.DataFrame:
    """`minute_row` of the first of these symbols that has one; if none has, the error is that of the first."""
    for symbol in symbols:
        with suppress(ScoringError, LakeError):
            return minute_row(settings, symbol, time)
    return minute_row(settings, symbols[0], time)


def request_body(rows: pl.DataFrame) -> bytes:
    """The request that scores these microstructure rows."""
    plain = rows.with_columns(
        pl.col("symbol").cast(pl.String), pl.col(pl.Datetime("ns", "UTC")).dt.cast_time_unit("us")
    )
    return msgspec.json.encode({"rows": plain.to_dicts()})


def ask(settings: Settings, body: bytes, *, url: str | None = None) -> tuple[Answer, str]:
    """Score a request body; returns the answer and its source.

    Args:
        url: address of a scoring service, which must answer. By default the deployment's own; if that does not run, the
            newest Bento's model in this process.

    Raises:
        ScoringError: the service refuses or cannot be reached, or there is no Bento.
        RequestError: the body is not a valid request.
    """
    address = url or settings.scoring_url
    try:
        is_own = url is None or is_loopback(urlsplit(url).hostname or "")
        options: dict[str, Any] = {"timeout": _TIMEOUT_S, "trust_env": not is_own}
        if is_own and settings.scoring_certificate:
            # A certificate of the deployment's own is its authority, too.
            options["verify"] = ssl.create_default_context(cafile=str(settings.scoring_certificate))
        response = httpx.post(
            f"{address.rstrip('/')}/score?reasons=true", content=body, headers=_headers(settings, address), **options
        )
    except (httpx.TransportError, httpx.InvalidURL) as error:
        if url is not None:
            raise ScoringError(f"no scoring service answers at {url}: {error}") from error
        return _ask_here(settings, body)
    if not response.is_success:
        raise ScoringError(f"{address} refuses ({response.status_code}): {response.text[:500]}")
    return msgspec.json.decode(response.content, type=Answer), address


def _headers(settings: Settings, address: str) -> dict[str, str]:
    """With the API key or the token, if `address` is one of this deployment's names."""
    access = access_of(settings)
    is_ours = httpx.URL(address).host.lower() in access.hosts
    secret = settings.scoring_key.get_secret_value() if settings.scoring_key else access.token
    bearer = {"Authorization": f"Bearer {secret}"} if is_ours and secret else {}
    return {"Content-Type": "application/json", **bearer}


def strongest(answer: Answer) -> Verdict:
    """The verdict with the highest score; one that was not scored only if none was."""
    return max(answer.results, key=lambda verdict: -1.0 if verdict.score is None else verdict.score)


@contextmanager
def served(settings: Settings) -> Iterator[Service]:
    """The newest Bento served on the settings' scoring port, for as long as the context lasts.

    Raises:
        ServiceError: it does not start.
        KeyboardInterrupt: Ctrl-C or SIGTERM arrived; the service is stopped.
    """
    service = scoring_service(settings)
    with stop_signals() as stopping, Supervisor([service], settings.home, environment(settings)) as supervisor:
        if supervisor.wait_until_healthy(service, timeout_s=_START_TIMEOUT_S, stopping=stopping):
            yield service
        if stopping.is_set():
            raise KeyboardInterrupt


def _ask_here(settings: Settings, body: bytes) -> tuple[Answer, str]:
    from serving.loader import Scorer  # noqa: PLC0415 - scikit-learn and SHAP take seconds to import
    from serving.schemas import parse_request  # noqa: PLC0415

    bento = StoredBento.latest(settings.bento_home)
    if bento is None:
        raise ScoringError(f"no Bento in {settings.bento_home}: `tapewatch run` or `tapewatch demo` builds one")
    scorer = Scorer.load(bento.model_folder, name=bento.model_name, version=bento.model_version)
    return scorer.answer(parse_request(body, scorer.features), reasons=True), f"{bento.tag}, in this process"


def verdict_table(answer: Answer, verdict: Verdict) -> Group:
    """A verdict and its reasons, for a person."""
    if verdict.score is None:
        return Group(f"{verdict.symbol} at {iso_time(verdict.event_time)}: not scored: {verdict.not_scored}")
    word = "[bold red]anomaly[/]" if verdict.is_anomaly else "[green]ordinary[/]"
    head = (
        f"{verdict.symbol} at {iso_time(verdict.event_time)}: {word}, score {verdict.score:.4f} "
        f"(threshold {verdict.threshold:.4f}), by {answer.model.name} {answer.model.version}"
    )
    table = Table("reason", "value", "SHAP value")
    for reason in verdict.reasons:
        value = "not known" if reason.value is None else f"{reason.value:,.4g}"
        table.add_row(reason.feature, value, f"{reason.shap_value:+.4f}")
    return Group(head, table)


def _rows_of(settings: Settings, symbol: str, time: dt.datetime) -> pl.DataFrame:
    lake, market = Lake(settings.lake_root), market_of(symbol)
    partition = Partition(day_of(market, time), market)
    if market is Market.STOCKS:
        # Futures look like stocks.
        future = Partition(day_of(Market.FUTURES, time), Market.FUTURES)
        if lake.exists(MICROSTRUCTURE, future) and symbol in lake.symbols(MICROSTRUCTURE, future):
            partition = future
    return lake.read(MICROSTRUCTURE, partition, symbols=[symbol])


def read_request(path: Path) -> bytes:
    """A request body from a file. Raises ScoringError if it cannot be read, or is not JSON."""
    try:
        body = path.read_bytes()
        json.loads(body)
    except OSError as error:
        raise ScoringError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ScoringError(f"{path} is not valid JSON: no UTF-8 text at byte {error.start:,}") from error
    except json.JSONDecodeError as error:
        what = f"{error.msg[:1].lower()}{error.msg[1:]}"
        raise ScoringError(f"{path} is not valid JSON: {what} at line {error.lineno}, column {error.colno}") from error
    except RecursionError:
        raise ScoringError(f"{path} is not a request: it is nested too deep") from None
    return body
