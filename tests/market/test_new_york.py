"""The kept sessions of the New York Stock Exchange, against the library that computes them."""

from collections.abc import Iterator
from pathlib import Path

import exchange_calendars
import pytest

from tapewatch.market import new_york


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file of the sessions, which does not exist yet."""
    file = tmp_path / "cache" / "sessions"
    monkeypatch.setattr(new_york, "_KEPT", file)
    new_york.sessions.cache_clear()
    yield file
    new_york.sessions.cache_clear()


def in_a_new_process() -> dict[object, tuple[int, int]]:
    new_york.sessions.cache_clear()
    return dict(new_york.sessions())


@pytest.mark.long
def test_sessions_are_those_of_the_library_from_memory_and_from_disk(kept: Path) -> None:
    calendar = exchange_calendars.get_calendar("XNYS", start="1990-01-02")
    hours = zip(calendar.schedule["open"], calendar.schedule["close"], strict=True)
    theirs = {
        day.date(): (open_.value, close.value) for day, (open_, close) in zip(calendar.sessions, hours, strict=True)
    }
    assert in_a_new_process() == theirs
    content = kept.read_bytes()
    assert list(in_a_new_process().items()) == list(theirs.items())
    assert kept.read_bytes() == content
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]


@pytest.mark.long
@pytest.mark.parametrize("where", ["head", "body"])
def test_a_file_of_another_day_and_one_that_is_cut_are_made_anew(kept: Path, where: str) -> None:
    sessions = in_a_new_process()
    whole = kept.read_bytes()
    kept.write_bytes(b"2001-01-01" + whole[10:] if where == "head" else whole[:-5])
    assert in_a_new_process() == sessions
    assert kept.read_bytes() == whole


@pytest.mark.long
def test_a_folder_that_cannot_be_written_only_costs_the_time(kept: Path) -> None:
    kept.parent.write_text("a file where the folder would be")
    assert len(in_a_new_process()) > 9_000
