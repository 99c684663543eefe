"""Shared by the scenarios: the day they replay, the passes until everything is healed and merged, and the report's rows."""

import datetime as dt
import time
from dataclasses import dataclass
from typing import Protocol

from orchestration.processes.healer import healer_of
from tapewatch.market.instruments import NS_PER_MINUTE, Market, Partition
from tapewatch.market.tables.live import GAPS
from tapewatch.store.database.database import Database
from tapewatch.store.spool.files import waiting_for
from tapewatch.streaming.gaps.book import GapBook
from tapewatch.streaming.ingest.ingest import ingest
from tests.reliability.desk import UNFINISHED, Desk

CRYPTO_DAY = Partition(dt.date(2024, 3, 5), Market.CRYPTO)
PAIRS = ("X:ADA-USD", "X:BTC-USD")
FAILED = "FAILED"
_MOST_PASSES = 8


class Finding(Protocol):
    """What was found afterwards, in words, and whether it is no fault."""

    @property
    def is_none(self) -> bool: ...


@dataclass(frozen=True)
class Outcome:
    """The result of a scenario: how often its failure occurred, how often it was asked for, and what was found, as how the lake differs."""

    name: str
    rounds: int
    asked: int
    found: Finding
    note: str = ""

    @property
    def is_survived(self) -> bool:
        """Whether the failure occurred as often as asked for, and the lake is right."""
        return self.found.is_none and self.rounds >= self.asked

    @property
    def row(self) -> str:
        """A row of the report."""
        verdict = "survived" if self.is_survived else FAILED
        lack = f"{self.asked} asked for; " if self.rounds < self.asked else ""
        return f"| {self.name} | {self.rounds} | {self.found} | {verdict} | {lack}{self.note} |"


def settle(desk: Desk) -> int:
    """Heal and ingest, undisturbed, until no gap is open and no batch waits; returns the number of passes."""
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


def open_extra_gaps(desk: Desk, stretches: int) -> None:
    """Open gaps of a minute across the day, so that the healer has enough to fetch, however few gaps the stream left."""
    start = desk.day.session.day_start
    every = (desk.day.session.day_end - start) // stretches
    now_ns = time.time_ns()
    with Database(desk.database) as database:
        book = GapBook(database, desk.home / "asked-again.jsonl", desk.market)
        for at in range(start, start + stretches * every, every):
            book.open("sequence", start_ns=at, end_ns=at + NS_PER_MINUTE, now_ns=now_ns)
