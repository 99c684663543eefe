"""A home to watch, written once; tests that change it have a copy."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dashboard import places
from tapewatch.store.database.database import Database
from tapewatch.store.lake.lake import Lake
from tests.support.watched_home import write_home


@pytest.fixture(autouse=True)
def _own_main() -> Iterator[None]:
    """Streamlit puts a page's script in the place of `__main__`, which a later test's new processes would try to run."""
    before = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = before


@pytest.fixture(scope="session")
def written_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("watched") / "home"
    write_home(home)
    return home


@pytest.fixture
def home(written_home: Path, tmp_path: Path) -> Path:
    """A copy of the home, for one test."""
    return Path(shutil.copytree(written_home, tmp_path / "home"))


@pytest.fixture
def lake(home: Path) -> Lake:
    return Lake(home / "lake")


@pytest.fixture
def database(home: Path) -> Iterator[Database]:
    with Database(f"sqlite:///{home / 'tapewatch.db'}") as opened:
        yield opened


@pytest.fixture
def placed(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The home as the dashboard of this process uses it."""
    monkeypatch.setenv("TAPEWATCH_HOME", str(home))
    monkeypatch.delenv("TAPEWATCH_DATABASE_URL", raising=False)
    places.close()
    yield home
    places.close()
