"""The loop of a paper account: reads what became known, lets broker and trader process it, and waits."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from tapewatch.market.backoff import backoff_s
from tapewatch.market.instruments import NS_PER_MINUTE, NS_PER_SECOND
from tapewatch.store.database.database import DatabaseError
from tapewatch.streaming.stop import Stop
from tapewatch.trading.paper.broker import PaperBroker
from tapewatch.trading.paper.feed import LiveBars
from tapewatch.trading.paper.trader import Trader

_log = logging.getLogger(__name__)
#: A new account begins with the bars of the last minutes, so that it has prices.
_FIRST_NS = 10 * NS_PER_MINUTE
#: A tape whose newest row is older is a replay, or a market that is closed: its own clock counts.
_LIVE_NS = 15 * NS_PER_MINUTE


@dataclass(frozen=True, slots=True)
class Pace:
    """How often the loop looks for bars, and how long after a minute's end a bar may still come, in seconds."""

    poll_s: float = 2.0
    grace_s: float = 10.0


def trade_live(
    broker: PaperBroker, feed: LiveBars, stop: Stop, pace: Pace | None = None, now: Callable[[], int] = time.time_ns
) -> None:
    """Trade the orders that are sent to an account until `stop`; as `run_live`."""
    pace = pace or Pace()

    def step() -> None:
        until = now() - int(pace.grace_s * NS_PER_SECOND)
        broker.process(feed.tape(broker.cursor or until - _FIRST_NS, until), until)

    run_live(broker.account, step, stop, pace)


def follow_live(trader: Trader, stop: Stop, pace: Pace | None = None, now: Callable[[], int] = time.time_ns) -> None:
    """Let a trader follow the tape until `stop`; as `run_live`. A replayed tape is followed by its own clock."""
    pace = pace or Pace()

    def step() -> None:
        until = complete_until(now() - int(pace.grace_s * NS_PER_SECOND), *trader.newest)
        if until is not None:
            trader.follow(until)

    run_live(trader.account, step, stop, pace)


def complete_until(present: int, *newest: int | None) -> int | None:
    """Up to when a tape is complete: the present of a live one; a minute before the newest rows of a replay; None without rows.

    Args:
        present: wall clock less the grace for late rows (ns UTC).
        newest: when the newest row of each table became known (ns UTC).
    """
    if any(at is None for at in newest):
        return None
    first = min(at for at in newest if at is not None)
    return present if present - first <= _LIVE_NS else first - NS_PER_MINUTE


def run_live(account: str, step: Callable[[], None], stop: Stop, pace: Pace) -> None:
    """Call `step` until `stop`. While the database is away it waits, and then goes on where it was.

    Raises:
        PaperError: another process trades the account.
        DatabaseError: the database refuses for good.
    """
    failures = 0
    while not stop.is_set():
        try:
            step()
            failures = 0
        except DatabaseError as error:
            if not error.is_transient:
                raise
            if not failures:
                _log.warning("the database is unreachable, account %s waits for it: %s", account, error)
            stop.wait(backoff_s(failures, pace.poll_s, 30.0))
            failures += 1
            continue
        stop.wait(pace.poll_s)
