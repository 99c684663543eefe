"""The trader of paper money on alerts, also as a process: `python -m orchestration.processes.trader`."""

import logging
import signal
import sys

from orchestration.errors import is_expected
from orchestration.processes.collectors import exit_finally
from orchestration.processes.logs import start_log
from orchestration.processes.services import ServiceError
from orchestration.processes.streaming import streamable
from orchestration.processes.supervision import claimed
from resources.interrupts import handling
from tapewatch.market.instruments import Market
from tapewatch.settings import Settings
from tapewatch.store.database.database import Database
from tapewatch.store.lake.lake import Lake
from tapewatch.streaming.stop import Stop
from tapewatch.trading.bets.rules import BetRules
from tapewatch.trading.costs import Fees
from tapewatch.trading.days import TradingDays
from tapewatch.trading.engine import EngineSettings
from tapewatch.trading.paper.broker import PaperBroker
from tapewatch.trading.paper.feed import LiveBars, lake_events
from tapewatch.trading.paper.ledger import PaperError
from tapewatch.trading.paper.live import follow_live
from tapewatch.trading.paper.protections import Protections
from tapewatch.trading.paper.trader import Trader, TraderRules
from tapewatch.trading.signals.build import SignalRules
from tapewatch.trading.signals.risk import RiskRules

#: Most of the capital that a bet takes.
_LARGEST_SHARE = 0.1
_LEVERAGE = 2.0
_HALF_SPREAD_BPS = 1.0
_log = logging.getLogger(__name__)


def risk_rules(settings: Settings) -> RiskRules:
    """The largest bet of the account: a tenth of its capital, and never more than the assets' default; and how its limits are set."""
    largest = min(RiskRules().largest_notional, _LARGEST_SHARE * settings.paper_cash)
    return RiskRules(largest_notional=largest, dynamic_limits=settings.paper_dynamic_limits)


def engine_settings(settings: Settings) -> EngineSettings:
    """Capital and costs of the account: the fee that signals are assessed with, and a tenth of each bar's volume at most."""
    risk = risk_rules(settings)
    return EngineSettings(
        cash=settings.paper_cash,
        leverage=_LEVERAGE,
        fees=Fees(taker_bps=risk.fee_bps, maker_bps=risk.fee_bps),
        half_spread_bps=_HALF_SPREAD_BPS,
        depth_share=risk.participation,
    )


def trader_of(settings: Settings, database: Database, markets: list[Market], *, begins: int | None = None) -> Trader:
    """The trader of the account that is set, with the record of earlier bets in the lake; `begins` as `Trader` takes it.

    Raises:
        PaperError: the account was opened with other settings.
        DatabaseError: the database cannot be used.
    """
    risk = risk_rules(settings)
    rules = TraderRules(SignalRules(risk), BetRules(risk, is_sized=not settings.paper_every_bet))
    limits = Protections(market_exposure=_LEVERAGE, symbol_exposure=0.5)
    broker = PaperBroker(
        database, settings.paper_account, engine_settings(settings), limits, returns=LiveBars(database, markets).returns
    )
    lake = Lake(settings.lake_root)
    record = TradingDays(lake, rules.signals).record
    return Trader(database, broker, markets, rules, record, events=lake_events(lake, markets), begins=begins)


def run_trader(settings: Settings, markets: list[Market], stop: Stop) -> None:
    """Trade until `stop`.

    Raises:
        ServiceError: no market can be streamed, or another process of this home trades.
        PaperError, DatabaseError: as `trader_of`, or another trader uses the account.
    """
    if not markets:
        raise ServiceError(
            "no market to trade: set POLYGON_TIER_<MARKET> to a plan with a stream, or name one by --market"
        )
    claim = claimed(settings.home, f"paper-{settings.paper_account}", "tapewatch paper run")
    with claim, Database(settings.database) as database:
        trader = trader_of(settings, database, markets)
        sizes = "every bet at size 1" if settings.paper_every_bet else "bets sized by their record"
        _log.info("account %s trades on alerts of %s, %s", trader.account, ", ".join(markets), sizes)
        follow_live(trader, stop)
    _log.info("stopped")


def main() -> int:
    """Trade until SIGINT or SIGTERM; returns the exit code, 78 if only another setting helps."""
    settings, stop = Settings(), Stop()
    start_log("paper-trader", settings)
    try:
        with handling(lambda *_: stop.set(), signal.SIGINT, signal.SIGTERM):
            run_trader(settings, streamable(settings), stop)
    except Exception as error:
        if not is_expected(error):
            raise
        _log.error("%s", error)
        return exit_finally() if isinstance(error, ServiceError | PaperError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
