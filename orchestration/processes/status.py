"""`tapewatch status`: how the collectors of this home are, and which of them should run and do not."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import msgspec
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from orchestration.processes.collectors import metrics_port
from orchestration.processes.supervision import socket_path, states
from tapewatch.market.instruments import Market
from tapewatch.settings import Settings
from tapewatch.streaming.collector.metrics import LOOPBACK, CollectorStatus

#: After so many quick deaths in a row a collector is given up.
QUICK_DEATHS = 5
_ANSWER_S = 2.0
ENDED = {"FATAL", "EXITED"}
WORDS = {
    "FATAL": "gave up",
    "EXITED": "ended",
    "BACKOFF": "restarting",
    "STARTING": "starting",
    "RUNNING": "starting",
    "STOPPING": "stopping",
}


#: Why nothing starts it any more, and what does once that is mended, also beside a `tapewatch stream` that still runs.
_WHY = {"FATAL": f"died quickly more than {QUICK_DEATHS} times in a row", "EXITED": "another start would not help"}


@dataclass
class Standing:
    """How a market's collector is; `figures` where one answers."""

    market: Market
    state: str
    detail: str = ""
    figures: CollectorStatus | None = None

    @property
    def is_given_up(self) -> bool:
        """Nothing starts it again before somebody does."""
        return self.state in {WORDS[state] for state in ENDED}


def ended_note(market: Market, state: str, log: Path) -> str:
    """What to tell of a collector that the supervisor leaves as it is: why, where to read on, and how it starts again."""
    return f"{_WHY[state]}: see {log}, mend it, then `tapewatch stream {market}`"


def standings(settings: Settings, expected: Sequence[Market]) -> list[Standing]:
    """How the collectors of all markets are, those `expected` that do not run among them."""
    known = _supervised(settings)
    found = []
    for market in Market:
        status = _asked(settings, market)
        state = known.get(f"collector-{market}", "")
        if status is not None:
            away = "the database is away, live rows wait for it" if status.is_database_away else ""
            found.append(Standing(market, status.state, status.detail or away, status))
        elif state in WORDS:
            log = settings.home.absolute() / "logs" / f"collector-{market}.log"
            found.append(Standing(market, WORDS[state], ended_note(market, state, log) if state in _WHY else ""))
        elif market in expected:
            found.append(Standing(market, "not running", f"start it with `tapewatch stream {market}`"))
    return found


def healer_state(settings: Settings) -> str:
    """How the process is that fills gaps."""
    state = _supervised(settings).get("healer", "")
    return "running" if state == "RUNNING" else WORDS.get(state, "not running")


def status_table(found: Sequence[Standing]) -> Group:
    """One row a market, as a person reads it, and below it what else there is to say."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    headings = ("market", "state", "events/s", "lag", "queue", "drops", "recon", "gaps", "alerts", "up", "restarts")
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("market", "state") else "right", no_wrap=True)
    notes = []
    for standing in found:
        figures = standing.figures
        table.add_row(standing.market, standing.state, *(_cells(figures) if figures is not None else ["-"] * 9))
        if standing.detail:
            notes.append(f"[dim]{standing.market}: {escape(standing.detail)}[/]")
    return Group(table, *notes)


def status_rows(found: Sequence[Standing]) -> list[dict[str, object]]:
    """One object a market with every figure, for programs."""
    rows: list[dict[str, object]] = []
    for standing in found:
        figures = {} if standing.figures is None else msgspec.to_builtins(standing.figures)
        rows.append({**figures, "market": str(standing.market), "state": standing.state, "detail": standing.detail})
    return rows


def _cells(figures: CollectorStatus) -> list[str]:
    lag = "replay" if figures.lag_s is None and figures.tape_ns else "-"
    return [
        f"{figures.events_per_second:,.0f}",
        f"{figures.lag_s:.2f}s" if figures.lag_s is not None else lag,
        f"{figures.queue_high_water_bytes / 1e6:.1f}M",
        f"{figures.dropped_frames:,}",
        f"{figures.reconnects:,}",
        f"{figures.open_gaps:,}",
        f"{figures.open_alerts:,}",
        _duration(figures.uptime_s),
        f"{figures.restarts:,}",
    ]


def _duration(seconds: float) -> str:
    hours, minutes = divmod(int(seconds) // 60, 60)
    if hours >= 24:
        return f"{hours // 24}d{hours % 24}h"
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m"


def _supervised(settings: Settings) -> dict[str, str]:
    """What the supervisors of this home say of their services."""
    found: dict[str, str] = {}
    for config in sorted((settings.home / "run").glob("*.conf")):
        found |= states(socket_path(settings.home, config.stem))
    return found


def _asked(settings: Settings, market: Market) -> CollectorStatus | None:
    try:
        answer = httpx.get(f"http://{LOOPBACK}:{metrics_port(settings, market)}/status", timeout=_ANSWER_S)
        status = msgspec.json.decode(answer.content, type=CollectorStatus)
    except (httpx.HTTPError, msgspec.DecodeError):
        return None
    return status if status.market == market else None
