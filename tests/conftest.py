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


@pytest.fixture(scope="session")
def market_data() -> Path:
    """The folder of recorded flat files, from TAPEWATCH_MARKET_DATA or beside the checkout; tests skip without it."""
    folder = Path(os.environ.get("TAPEWATCH_MARKET_DATA", _CHECKOUT.parent / "shared" / "market-data"))
    if not folder.is_dir():
        pytest.skip(f"no recorded market data at {folder}: set TAPEWATCH_MARKET_DATA to the folder that holds it")
    return folder
