"""Names, addresses and exit codes of the collectors, for the processes that start and watch them."""

import os
import time
from pathlib import Path

import psutil

from tapewatch.feeds.plans.addresses import stream_address
from tapewatch.feeds.plans.table import MarketPlan, plan_for
from tapewatch.market.instruments import Market
from tapewatch.settings import Settings
from tapewatch.streaming.stop import Stop

#: Exit code of a process that another start would not help; the supervisor does not start it again (EX_CONFIG of sysexits.h).
EXIT_FINAL = 78
#: Identifies one life of a supervisor: a collector counts its restarts within it.
WATCH_VARIABLE = "TAPEWATCH_STREAM_WATCH"
#: Number of quick deaths in a row after which a collector is given up.
QUICK_DEATHS = 5
#: A process that lived shorter died quickly.
QUICK_S = 5


def exit_finally() -> int:
    """The exit code of a process that another start would not help, once the supervisor takes that code at its word.

    supervisord starts a process again that ends within its first seconds, whatever its exit code. Not waited for
    where no supervisor started this process.
    """
    if WATCH_VARIABLE in os.environ:
        lived_s = time.time() - psutil.Process().create_time()
        Stop().wait(max(0.0, QUICK_S + 1 - lived_s))
    return EXIT_FINAL


def collector_name(market: Market) -> str:
    """The name of a market's collector under the supervisor."""
    return f"collector-{market}"


def way_on(market: Market, log: Path) -> str:
    """How to start a collector that was given up, also beside a `tapewatch stream` that still runs."""
    return f"see {log}, mend it, then `tapewatch stream {market}`"


def plan_of(settings: Settings, market: Market) -> MarketPlan:
    """The plan bought for a market. Raises a PlanError if the table of plans has no such plan."""
    return plan_for(market, settings.plan(market), path=settings.plans_file)


def address_of(settings: Settings, plan: MarketPlan) -> str:
    """The address of a market's stream. Raises a PlanError if a setting is no WebSocket address."""
    override = settings.markets[plan.market].stream_url
    return stream_address(plan, settings.polygon_base_url, base=settings.polygon_ws_url, override=override)


def metrics_port(settings: Settings, market: Market) -> int:
    """The port on loopback of a market's collector, for its status and figures."""
    return settings.port_metrics + list(Market).index(market)
