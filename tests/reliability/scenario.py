"""What the scenarios share: the market day they play, how a desk comes to rest, and how an outcome reads."""

import datetime as dt
from dataclasses import dataclass

from orchestration.healing import healer_of
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.live_tables import GAPS
from tapewatch.store.database import Database
from tapewatch.store.spool_files import waiting_for
from tapewatch.streaming.ingest import ingest
from tests.reliability.desk import UNFINISHED, Desk
from tests.reliability.truth import Difference

CRYPTO_DAY = Partition(dt.date(2024, 3, 5), Market.CRYPTO)
PAIRS = ("X:ADA-USD", "X:BTC-USD")
_MOST_PASSES = 8


@dataclass(frozen=True)
class Outcome:
    """What a scenario came to."""

    name: str
    rounds: int
    found: Difference
    note: str = ""

    @property
    def row(self) -> str:
        """As a row of the report."""
        verdict = "survived" if self.found.is_none else "FAILED"
        return f"| {self.name} | {self.rounds} | {self.found} | {verdict} | {self.note} |"


def settle(desk: Desk) -> int:
    """Heal and ingest, undisturbed, until no gap is open and nothing waits; how many passes it took."""
    settings = desk.settings()
    with Database(desk.database) as database:
        healer = healer_of(settings, database)
        for done in range(1, _MOST_PASSES + 1):
            summary = healer.heal_once(dt.datetime.now(dt.UTC), patiently=False)
            ingest(desk.lake, settings.spool_root, desk.day, None, dt.datetime.now(dt.UTC))
            if not unfinished(desk) and not waiting_for(settings.spool_root, desk.day, None):
                return done
    raise AssertionError(f"gaps are left after {_MOST_PASSES} passes: {unfinished(desk)}; {summary}")


def unfinished(desk: Desk) -> list[tuple[str, str, str | None]]:
    """Gaps that are neither healed nor given up."""
    with Database(desk.database) as database:
        gaps = database.read(GAPS, market=desk.market)
    return [(row["gap_id"], row["status"], row["reason"]) for row in gaps.to_dicts() if row["status"] in UNFINISHED]
