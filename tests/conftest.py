"""Fixtures that every suite shares."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# A change is judged by the same examples each time; HYPOTHESIS_PROFILE=explore looks for new ones. No example is refused for
# taking long: on a busy machine any may.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("explore", print_blob=True, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

_CHECKOUT = Path(__file__).resolve().parent.parent


#: What lasts longest, in the order in which workers take it: none shall be left alone with it while the others are done.
_FIRST = ("integration/test_platform.py", "integration", "reliability", "serving")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put long files first, then those with slow tests, then the others; within a file nothing moves."""
    files_with_slow = {item.path for item in items if item.get_closest_marker("slow")}

    def turn(item: pytest.Item) -> int:
        places = [at for at, first in enumerate(_FIRST) if item.path.is_relative_to(_CHECKOUT / "tests" / first)]
        return min(places) if places else len(_FIRST) + (item.path not in files_with_slow)

    items.sort(key=turn)


@pytest.fixture(scope="session")
def market_data() -> Path:
    """The folder of recorded flat files, from TAPEWATCH_MARKET_DATA or beside the checkout; tests skip without it."""
    folder = Path(os.environ.get("TAPEWATCH_MARKET_DATA", _CHECKOUT.parent / "shared" / "market-data"))
    if not folder.is_dir():
        pytest.skip(f"no recorded market data at {folder}: set TAPEWATCH_MARKET_DATA to the folder that holds it")
    return folder
