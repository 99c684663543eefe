"""Formats of numbers on pages, and writing of pages."""

import threading
from pathlib import Path

import pytest

from tapewatch.reports.pages import number, write_page


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, "not known"),
        (0.0, "0"),
        (264_132.4, "264,132"),
        (33_004.7, "33,005"),
        (999.96, "1000"),
        (-37.63, "-37.63"),
        (0.012344, "0.01234"),
        (0.00012345, "0.000123"),
        (7, "7"),
    ],
)
def test_numbers_are_rounded_for_reading(value: float | None, written: str) -> None:
    assert number(value) == written


def test_two_threads_may_write_the_same_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second thread writes the page while the first is between writing and renaming."""
    page, rename = tmp_path / "reports" / "day.html", Path.replace
    second = threading.Thread(target=write_page, args=("<p>second</p>", page))

    def rename_late(staged: Path, target: Path) -> Path:
        if threading.current_thread() is threading.main_thread():
            second.start()
            second.join(120)
        return rename(staged, target)

    monkeypatch.setattr(Path, "replace", rename_late)
    assert write_page("<p>first</p>", page) == page
    assert page.read_text(encoding="utf-8") == "<p>first</p>"
    assert list(page.parent.iterdir()) == [page]
