"""Fixtures of all tests."""

import gc
import logging
import os
import sys
from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import Scheduling

    from tests.support.s3 import S3Server

# The same examples in every run; HYPOTHESIS_PROFILE=explore draws new ones. Without a deadline, since a busy machine may be
# slow with any example.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("explore", print_blob=True, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

# Every run that trains would take seconds longer; tests of the autoencoder set it themselves.
os.environ.setdefault("TAPEWATCH_KERAS_BACKEND", "none")
_TRACKING_URI = os.environ.get("MLFLOW_TRACKING_URI")

with suppress(ImportError):
    # TensorFlow's log handler closes the stream that it began with once another is in its place: pytest's own, while a test
    # runs a command in this process. Each later test of the worker would fail.
    from absl.logging import PythonHandler

    PythonHandler.close = logging.StreamHandler.close

_CHECKOUT = Path(__file__).resolve().parent.parent


#: The longest tests, which workers start first, so that none runs alone at the end.
_FIRST = ("integration/test_platform.py", "integration", "deployment/test_scoring_image.py", "reliability", "serving")
#: Files whose long tests share no set-up: workers take them one by one.
_APART = ("integration/test_every_market_runs.py", "integration/test_run_from_files.py")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: "Producer") -> "Scheduling | None":
    """With `--dist loadfile` a file is one worker's, except those of `_APART`."""
    from xdist.scheduler import LoadFileScheduling  # noqa: PLC0415 - not installed everywhere

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return nodeid if file.endswith(_APART) else file

    return ByFile(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect without garbage collection, which would walk through all that was imported again and again, here and in tests."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        # As in the command line's own processes.
        gc.set_threshold(50_000, 20, 50)
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run long files first, then those with slow tests, then the others; the order within files stays."""
    files_with_slow = {item.path for item in items if item.get_closest_marker("slow")}

    def turn(item: pytest.Item) -> int:
        places = [at for at, first in enumerate(_FIRST) if item.path.is_relative_to(_CHECKOUT / "tests" / first)]
        return min(places) if places else len(_FIRST) + (item.path not in files_with_slow)

    items.sort(key=turn)


@pytest.fixture(autouse=True)
def _own_registry() -> Iterator[None]:
    """MLflow hands its address on in the environment, where the settings of the next test's home would find it."""
    yield
    if _TRACKING_URI is None:
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    else:
        os.environ["MLFLOW_TRACKING_URI"] = _TRACKING_URI


@pytest.fixture(autouse=True)
def _own_umask() -> Iterator[None]:
    """A command that a test calls in this process sets its umask: later tests get the previous one."""
    before = os.umask(0o077)
    os.umask(before)
    yield
    os.umask(before)


@pytest.fixture(autouse=True)
def _new_databases(monkeypatch: pytest.MonkeyPatch) -> None:
    """New SQLite databases are copies; tests of the database itself have a fixture of this name that changes nothing."""
    if (database := sys.modules.get("tapewatch.store.database.database")) is not None:
        from tests.support.new_databases import ensure_current_by_copy  # noqa: PLC0415 - few tests need it

        monkeypatch.setattr(database, "ensure_current", ensure_current_by_copy)


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator["S3Server"]:
    """A real S3 server, shared by all tests of this process: each takes a bucket of its own."""
    from tests.support.s3 import s3_server  # noqa: PLC0415 - boto3 takes a second, and few tests need it

    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def bucket(s3: "S3Server", monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a new bucket; this process and its children reach the server of `s3`."""
    s3.use(monkeypatch)
    return s3.bucket()


@pytest.fixture(scope="session")
def market_data() -> Path:
    """The folder of recorded flat files, from TAPEWATCH_MARKET_DATA or beside the checkout; tests skip without it."""
    folder = Path(os.environ.get("TAPEWATCH_MARKET_DATA", _CHECKOUT.parent / "shared" / "market-data"))
    if not folder.is_dir():
        pytest.skip(f"no recorded market data at {folder}: set TAPEWATCH_MARKET_DATA to the folder that holds it")
    return folder
