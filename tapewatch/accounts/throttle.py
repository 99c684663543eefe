"""Slows down guessing: a growing delay and a lock-out by account, and a limit by address."""

import datetime as dt
import ipaddress
from typing import Final

import sqlalchemy as sa
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from tapewatch.accounts.errors import WaitError
from tapewatch.accounts.records import delete, find, insert, now, update
from tapewatch.market.tables.accounts import LOGIN_FAILURES
from tapewatch.store.database.database import Database
from tapewatch.store.database.engine import transaction
from tapewatch.store.database.tables import twin

#: Failures in a row that cost nothing; then the delay doubles from a second, and after the last of these it is a lock-out.
FREE_FAILURES: Final = 3
LOCKING_FAILURES: Final = 10
LOCKED_FOR: Final = dt.timedelta(minutes=15)
#: After a day without a failure, counting starts anew.
_FORGOTTEN_AFTER: Final = dt.timedelta(days=1)
#: Attempts from one address, successful or not.
_BY_ADDRESS: Final = RateLimitItemPerMinute(30, 5)
_IPV6_SITE: Final = 64


def delay(failures: int) -> dt.timedelta:
    """How long after so many failures in a row the next attempt is allowed."""
    if failures < FREE_FAILURES:
        return dt.timedelta()
    if failures >= LOCKING_FAILURES:
        return LOCKED_FOR
    return dt.timedelta(seconds=2 ** (failures - FREE_FAILURES))


class AddressLimit:
    """Attempts by address, in this process's memory."""

    def __init__(self, limit: RateLimitItemPerMinute = _BY_ADDRESS) -> None:
        self._limit = limit
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def count(self, address: str) -> None:
        """Count an attempt. Raises a WaitError if the address has made too many."""
        if not self._limiter.hit(self._limit, _site(address)):
            stats = self._limiter.get_window_stats(self._limit, _site(address))
            raise WaitError(stats.reset_time - now().timestamp())


def begin_attempt(database: Database, subject: str) -> None:
    """Count an attempt as a failure before it is made, so that many at once cannot pass together.

    Raises:
        WaitError: it comes too early after the last failure, and is not counted.
    """
    moment = now()
    with transaction(database.engine) as connection:
        kept = twin(LOGIN_FAILURES).c
        delete(connection, LOGIN_FAILURES, kept.created_time < moment - _FORGOTTEN_AFTER)
        if connection.dialect.name == "postgresql":
            # Two first attempts at once would both find no row.
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(subject))))
        row = find(connection, LOGIN_FAILURES, subject)
        if row is None:
            insert(connection, LOGIN_FAILURES, {"subject": subject, "failures": 1, "created_time": moment})
            return
        left = row["created_time"] + delay(row["failures"]) - moment
        if left > dt.timedelta():
            raise WaitError(left.total_seconds())
        update(connection, LOGIN_FAILURES, subject, failures=row["failures"] + 1, created_time=moment)


def forget_failures(database: Database, subject: str) -> None:
    """Start counting anew after a success."""
    with transaction(database.engine) as connection:
        delete(connection, LOGIN_FAILURES, twin(LOGIN_FAILURES).c.subject == subject)


def _site(address: str) -> str:
    """The address, or the network of an IPv6 one: whoever has one address there has all."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ip) if ip.version == 4 else str(ipaddress.ip_network((ip, _IPV6_SITE), strict=False))
