"""How a page is written."""

import threading
from pathlib import Path

import pytest

from tapewatch.reports.pages import write_page


def test_two_may_write_one_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second writes all of it while the first is between writing and renaming."""
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
