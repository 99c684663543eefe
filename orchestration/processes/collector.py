"""One market's collector as a process: `python -m orchestration.processes.collector crypto --symbols X:BTC-USD`."""

import argparse
import datetime as dt
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import polars as pl
from pydantic import SecretStr

from orchestration.processes.collectors import WATCH_VARIABLE, address_of, exit_finally, metrics_port, plan_of
from orchestration.processes.logs import start_log
from tapewatch.feeds.source import SourceError
from tapewatch.feeds.stream.channels import subscriptions
from tapewatch.market.instruments import Market, session_of
from tapewatch.market.schema import Table
from tapewatch.market.tables.features import LIVE_FAMILIES
from tapewatch.market.tables.tape import BARS
from tapewatch.market.tickers import SymbolError, normalise
from tapewatch.network import is_loopback
from tapewatch.settings import Settings
from tapewatch.store.lake.lake import Lake, LakeError
from tapewatch.store.lake.regimes import regime_model
from tapewatch.store.lake.seasonality import seasonal_model
from tapewatch.store.spool.spool import SpoolError
from tapewatch.streaming.alerts.channels import channels_from
from tapewatch.streaming.collector.collector import Collector
from tapewatch.streaming.collector.config import CollectorConfig
from tapewatch.streaming.collector.lock import CollectorError
from tapewatch.streaming.detection.baselines import Baselines, baselines_from
from tapewatch.streaming.detection.rules.settings import DetectionConfig, DetectionError
from tapewatch.tracing import TracingError

if TYPE_CHECKING:
    from resources.feature_store.store import Features

_FINAL = (SourceError, CollectorError, SpoolError, DetectionError, SymbolError, TracingError)
_BASELINE_DAYS = 10
_log = logging.getLogger("tapewatch.collector")


def collector_config(settings: Settings, market: Market, symbols: Sequence[str]) -> CollectorConfig:
    """The configuration of a market's collector. `symbols` in any spelling; `*` for the whole market.

    Raises:
        SourceError: there is no key, the plan has no stream, or an address is malformed.
        DetectionError: the detectors' settings are malformed.
        SymbolError: a symbol is not of this market.
    """
    if settings.polygon_api_key is None:
        raise SourceError("there is no key for the stream: set POLYGON_API_KEY")
    plan = plan_of(settings, market)
    wanted = [] if "*" in symbols else [normalise(symbol, market) for symbol in symbols]
    url = address_of(settings, plan)
    return CollectorConfig(
        market=market,
        url=url,
        key=settings.polygon_api_key.get_secret_value(),
        subscriptions=subscriptions(plan, wanted),
        symbols=wanted,
        spool_root=settings.spool_root,
        run_folder=settings.home / "run",
        lake_root=settings.lake_root,
        database_url=settings.database,
        detection=DetectionConfig.load(settings.detection_file),
        notifiers=channels_from(
            webhook=_opened(settings.alert_webhook),
            slack=_opened(settings.alert_slack),
            email_to=settings.alert_email_to,
            email_from=settings.alert_email_from,
            smtp_host=settings.smtp_host,
            smtp_port=settings.smtp_port,
            smtp_user=settings.smtp_user,
            smtp_password=_opened(settings.smtp_password),
        ),
        baselines=_baselines(settings, market),
        regime_model=partial(regime_model, Lake(settings.lake_root)),
        seasonal_model=partial(seasonal_model, Lake(settings.lake_root)),
        families=[table for table in LIVE_FAMILIES if table.name in settings.live_features],
        clocks=settings.live_clocks,
        champions=settings.champions,
        publish=_pushing(settings) if settings.push_features else None,
        metrics_port=metrics_port(settings, market),
        metrics_host=settings.metrics_host,
        in_sessions=_in_sessions(settings, market, url),
        delay_ns=int(plan.stream_recency.delay.total_seconds()) * 10**9,
        otlp_endpoint=settings.otlp_endpoint,
        trace_share=settings.trace_share,
        watch=os.environ.get(WATCH_VARIABLE, ""),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Collect until SIGINT or SIGTERM; returns the exit code."""
    parser = argparse.ArgumentParser("python -m orchestration.processes.collector", description=__doc__)
    parser.add_argument("market", type=Market, choices=list(Market))
    parser.add_argument("--symbols", help="comma-separated, * for all; by default TAPEWATCH_SYMBOLS_<MARKET>")
    asked = parser.parse_args(arguments)
    market: Market = asked.market
    settings = Settings()
    start_log(market, settings)
    symbols = tuple(s for s in asked.symbols.split(",") if s) if asked.symbols else settings.symbols(market)
    try:
        config = collector_config(settings, market, symbols)
        collector = Collector(config)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: collector.stop())
        _log.info("collecting %s from %s", ", ".join(symbols) or "all symbols", config.url)
        collector.run()
    except _FINAL as error:
        _log.critical("%s", error)
        return exit_finally()
    return 0


def _pushing(settings: Settings) -> Callable[[Table, pl.DataFrame], None]:
    """Pushes live rows to the views of their table in the feature store, which is opened at the first call."""
    opened: list[Features] = []

    def push(table: Table, rows: pl.DataFrame) -> None:
        from resources.feature_store.definitions import VIEWS  # noqa: PLC0415 - takes seconds to import
        from resources.feature_store.store import Features, repo_config  # noqa: PLC0415

        if not opened:
            redis, online = _opened(settings.redis_url), _opened(settings.online_database_url)
            config = repo_config(settings.home, redis_url=redis, database_url=online)
            features = Features(config, str(settings.lake_root.absolute()))
            features.check()
            opened.append(features)
        for view in VIEWS:
            if view.table is table:
                opened[0].push(view, rows)

    return push


def _opened(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def _in_sessions(settings: Settings, market: Market, url: str) -> bool:
    """Whether to collect in market hours only."""
    if market.is_continuous or settings.stream_hours == "always":
        return False
    return settings.stream_hours == "sessions" or not is_loopback(urlsplit(url).hostname or "")


def _baselines(settings: Settings, market: Market) -> Baselines | None:
    """The usual activity on the last days in the lake; None if it holds none."""
    lake, today = Lake(settings.lake_root), dt.datetime.now(dt.UTC).date()
    try:
        days = [p for p in lake.partitions(BARS, market) if p.date < today][-_BASELINE_DAYS:]
        read = [(session, lake.read(BARS, day)) for day in days if (session := session_of(market, day.date))]
    except LakeError as error:
        _log.warning("no baselines from the lake, they are learnt from the stream: %s", error)
        return None
    return baselines_from(read) if read else None


if __name__ == "__main__":
    sys.exit(main())
