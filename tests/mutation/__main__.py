"""Random one-operator changes to the library, each held against its room's own fast tests: `make mutation`.

Each change is made in a temporary copy, so the checkout stays as it is. Lists every change that no test noticed, and the share noticed in
each room. A change that makes tests hang counts as noticed. Changes that alter nothing are named in tests/mutation/equivalent.toml with
the reason, and are never drawn. The exit status is 1 if fewer are noticed than asked, 2 if the tests fail without any change.
"""

import argparse
import os
import queue
import random
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from tests.mutation.changes import Change, places
from tests.mutation.trial import CHECKOUT, Copy, room_files, room_folder

_ROOMS = "market,labels,features,bars,store,models"
_EQUIVALENT = CHECKOUT / "tests" / "mutation" / "equivalent.toml"


def main() -> int:
    """Draw the changes, try them, report."""
    parser = argparse.ArgumentParser("python -m tests.mutation", description=__doc__)
    parser.add_argument(
        "--rooms", default=_ROOMS, help="comma-separated rooms; tests/ROOM holds the tests (%(default)s)"
    )
    parser.add_argument("--changes", type=int, default=60, help="how many to try, spread over the rooms (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="same seed and sources, same changes (%(default)s)")
    parser.add_argument("--least", type=float, default=85.0, help="percentage that must be noticed (%(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at a time (%(default)s)")
    given = parser.parse_args()
    rooms = [room.strip() for room in given.rooms.split(",") if room.strip()]
    for room in rooms:
        if not (CHECKOUT / room_folder(room)).is_dir() or not (CHECKOUT / "tests" / room).is_dir():
            parser.error(f"there is no room {room}: {room_folder(room)} and tests/{room} must both be folders")
    console = Console(soft_wrap=True)
    try:
        drawn = _drawn(rooms, given.changes, random.Random(given.seed))  # noqa: S311
        # Read now, since the checkout may be edited during the run.
        lines = [change.lines((CHECKOUT / change.file).read_bytes()) for _, change in drawn]
        noticed = _tried(drawn, given.jobs, Console(stderr=True))
    except (RuntimeError, ValueError) as error:
        console.print(str(error), markup=False, highlight=False)
        return 2
    share = _report(console, drawn, lines, noticed)
    return 0 if share >= given.least else 1


def _drawn(rooms: Sequence[str], count: int, random_: random.Random) -> list[tuple[str, Change]]:
    equivalent = _equivalent()
    drawn = []
    for at, room in enumerate(rooms):
        wanted = count // len(rooms) + (at < count % len(rooms))
        choices = [options for file in room_files(room) for options in _choices(file, equivalent)]
        chosen = random_.sample(choices, min(wanted, len(choices)))
        drawn += [(room, random_.choice(options)) for options in chosen]
    return drawn


def _choices(file: str, equivalent: set[tuple[str, str, str]]) -> list[list[Change]]:
    source = (CHECKOUT / file).read_bytes()
    kept = [
        [change for change in options if (file, *change.lines(source)) not in equivalent]
        for options in places(file, source)
    ]
    return [options for options in kept if options]


def _equivalent() -> set[tuple[str, str, str]]:
    """File, line and changed line of each change that alters nothing.

    Raises:
        ValueError: an entry names a change that the sources no longer offer.
    """
    entries = tomllib.loads(_EQUIVALENT.read_text(encoding="utf-8")).get("equivalent", [])
    offered: dict[str, set[tuple[str, str]]] = {}
    for file in {entry["file"] for entry in entries}:
        source = (CHECKOUT / file).read_bytes() if (CHECKOUT / file).is_file() else b""
        offered[file] = {change.lines(source) for options in places(file, source) for change in options}
    for entry in entries:
        if (entry["original"], entry["changed"]) not in offered[entry["file"]]:
            raise ValueError(f"{_EQUIVALENT.name}: {entry['file']} has no such change any more: {entry['original']}")
    return {(entry["file"], entry["original"], entry["changed"]) for entry in entries}


def _tried(drawn: Sequence[tuple[str, Change]], jobs: int, console: Console) -> list[bool]:
    copies: queue.SimpleQueue[Copy] = queue.SimpleQueue()
    made = [Copy() for _ in range(min(jobs, len(drawn)))]
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console) as progress, ThreadPoolExecutor(len(made)) as pool:
        rooms = list(dict.fromkeys(room for room, _ in drawn))
        unchanged = progress.add_task("tests without a change", total=len(rooms))
        changes = progress.add_task("changes", total=len(drawn))

        @contextmanager
        def borrowed(task: TaskID) -> Iterator[Copy]:
            copy = copies.get()
            try:
                yield copy
            finally:
                copies.put(copy)
                progress.advance(task)

        def limit(room: str) -> float:
            with borrowed(unchanged) as copy:
                return 5 * copy.seconds_unchanged(room) + 60

        def is_noticed(room: str, change: Change) -> bool:
            with borrowed(changes) as copy:
                noticed = copy.is_noticed(room, change, limits[room])
            if not noticed:
                progress.console.print(f"not noticed: {change.file}:{change.line}", highlight=False)
            return noticed

        try:
            for copy in made:
                copies.put(copy)
            limits = dict(zip(rooms, pool.map(limit, rooms), strict=True))
            return list(pool.map(lambda each: is_noticed(*each), drawn))
        finally:
            pool.shutdown(cancel_futures=True)
            for copy in made:
                copy.close()


def _report(
    console: Console, drawn: Sequence[tuple[str, Change]], lines: Sequence[tuple[str, str]], noticed: Sequence[bool]
) -> float:
    for (_, change), (before, after), is_noticed in zip(drawn, lines, noticed, strict=True):
        if not is_noticed:
            console.print(f"{change.file}:{change.line}\n  - {before}\n  + {after}", markup=False, highlight=False)
    tried = Counter(room for room, _ in drawn)
    found = Counter(room for (room, _), is_noticed in zip(drawn, noticed, strict=True) if is_noticed)
    table = Table("room", "changes", "noticed", "share")
    for room, count in [*tried.items(), ("all", len(drawn))]:
        caught = sum(noticed) if room == "all" else found[room]
        table.add_row(room, str(count), str(caught), f"{100 * caught / count:.0f} %")
    console.print(table)
    return 100 * sum(noticed) / max(len(drawn), 1)


if __name__ == "__main__":
    sys.exit(main())
