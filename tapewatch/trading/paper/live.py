"""The loop of a paper account: reads what became known, lets the broker process it, and waits."""

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

_log = logging.getLogger(__name__)
#: A new account begins with the bars of the last minutes, so that it has prices.
_FIRST_NS = 10 * NS_PER_MINUTE


@dataclass(frozen=True, slots=True)
class Pace:
    """How often the loop looks for bars, and how long after a minute's end a bar may still come, in seconds."""

    poll_s: float = 2.0
    grace_s: float = 10.0


def trade_live(
    broker: PaperBroker, feed: LiveBars, stop: Stop, pace: Pace | None = None, now: Callable[[], int] = time.time_ns
) -> None:
    """Trade until `stop`. While the database is away it waits, and then goes on where it was.

    Raises:
        PaperError: another broker trades the account.
        DatabaseError: the database refuses for good.
    """
    pace = pace or Pace()
    failures = 0
    while not stop.is_set():
        until = now() - int(pace.grace_s * NS_PER_SECOND)
        try:
            broker.process(feed.tape(broker.cursor or until - _FIRST_NS, until), until)
            failures = 0
        except DatabaseError as error:
            if not error.is_transient:
                raise
            if not failures:
                _log.warning("the database is unreachable, account %s waits for it: %s", broker.account, error)
            stop.wait(backoff_s(failures, pace.poll_s, 30.0))
            failures += 1
            continue
        stop.wait(pace.poll_s)
