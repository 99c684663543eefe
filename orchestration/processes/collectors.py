"""What everybody needs to know of the collectors who does not collect: plans, addresses, ports, how they end."""

from tapewatch.feeds.plans.addresses import stream_address
from tapewatch.feeds.plans.table import MarketPlan, plan_for
from tapewatch.market.instruments import Market
from tapewatch.settings import Settings

#: The end of a process that another start would not help; the supervisor leaves it so (EX_CONFIG of sysexits.h).
EXIT_FINAL = 78
#: Names the life of the supervisor, for counting restarts.
WATCH_VARIABLE = "TAPEWATCH_STREAM_WATCH"


def plan_of(settings: Settings, market: Market) -> MarketPlan:
    """The plan bought for a market.

    Raises:
        PlanError: the table of plans knows no such plan.
    """
    return plan_for(market, settings.plan(market), path=settings.plans_file)


def address_of(settings: Settings, plan: MarketPlan) -> str:
    """Where a market's stream is.

    Raises:
        PlanError: a setting holds no WebSocket address.
    """
    override = settings.markets[plan.market].stream_url
    return stream_address(plan, settings.polygon_base_url, base=settings.polygon_ws_url, override=override)


def metrics_port(settings: Settings, market: Market) -> int:
    """The port on loopback where a market's collector shows its figures."""
    return settings.port_metrics + list(Market).index(market)
