"""The state of the collectors of a home, and which of them should run but do not."""

from collections.abc import Sequence
from dataclasses import dataclass

import httpx
import msgspec

from orchestration.processes.collectors import QUICK_DEATHS, collector_name, metrics_port, way_on
from orchestration.processes.supervision import processes, socket_path
from tapewatch.market.instruments import Market
from tapewatch.market.tables.tape import BARS, QUOTES, TRADES
from tapewatch.market_settings import DEFAULT_MARKETS
from tapewatch.settings import Settings
from tapewatch.store.lake.lake import Lake
from tapewatch.streaming.collector.metrics import LOOPBACK, CollectorStatus

_ANSWER_S = 2.0
#: Why the supervisor does not start a collector again.
_WHY = {"FATAL": f"died quickly more than {QUICK_DEATHS} times in a row", "EXITED": "another start would not help"}
ENDED = set(_WHY)
#: The supervisor's states in words.
WORDS = {
    "FATAL": "gave up",
    "EXITED": "ended",
    "BACKOFF": "restarting",
    "STARTING": "starting",
    "RUNNING": "starting",
    "STOPPING": "stopping",
}


@dataclass
class Standing:
    """The state of a market's collector; `figures` if it answers."""

    market: Market
    state: str
    detail: str = ""
    figures: CollectorStatus | None = None

    @property
    def is_given_up(self) -> bool:
        """Whether it stays down until a person starts it."""
        return self.state in {WORDS[state] for state in ENDED}


def chosen_markets(settings: Settings) -> list[Market]:
    """The markets that the settings differ in from the defaults, and those of which this home has rows."""
    lake = Lake(settings.lake_root)
    return [market for market in Market if _is_set_up(settings, market) or _has_rows(settings, lake, market)]


def _is_set_up(settings: Settings, market: Market) -> bool:
    return settings.markets[market] != DEFAULT_MARKETS[market]


def _has_rows(settings: Settings, lake: Lake, market: Market) -> bool:
    streamed = any((settings.spool_root / market).glob("collector.*"))
    return streamed or any(lake.partitions(table, market) for table in (TRADES, QUOTES, BARS))


def standings(settings: Settings, expected: Sequence[Market]) -> list[Standing]:
    """The collectors of all markets that run, are supervised, or are `expected` to run."""
    supervised = _supervised(settings)
    found = []
    for market in Market:
        figures = _figures(settings, market)
        state = supervised.get(collector_name(market), "")
        if figures is not None:
            away = "the database is away, live rows wait for it" if figures.is_database_away else ""
            found.append(Standing(market, figures.state, figures.detail or away, figures))
        elif state in WORDS:
            log = settings.home.absolute() / "logs" / f"{collector_name(market)}.log"
            found.append(
                Standing(market, WORDS[state], f"{_WHY[state]}: {way_on(market, log)}" if state in _WHY else "")
            )
        elif market in expected:
            found.append(Standing(market, "not running", f"start it with `tapewatch stream {market}`"))
    return found


def _supervised(settings: Settings) -> dict[str, str]:
    """The state of every service under any supervisor of this home, by name."""
    configs = sorted((settings.home / "run").glob("*.conf"))
    answers = (processes(socket_path(settings.home, config.stem)) for config in configs)
    return {name: process.state for answer in answers for name, process in answer.items()}


def _figures(settings: Settings, market: Market) -> CollectorStatus | None:
    try:
        address = f"http://{LOOPBACK}:{metrics_port(settings, market)}/status"
        answer = httpx.get(address, timeout=_ANSWER_S, trust_env=False, verify=False)  # noqa: S501 - plain HTTP
        status = msgspec.json.decode(answer.content, type=CollectorStatus)
    except (httpx.HTTPError, msgspec.DecodeError):
        return None
    return status if status.market == market else None
