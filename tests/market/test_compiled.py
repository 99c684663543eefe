"""Compiled code on disk: when it is stale, and concurrent writers."""

import ast
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import filelock
import numba
import numpy as np
import pytest

import tapewatch
from tapewatch.market import compiled
from tapewatch.market.compiled import njit

PATIENCE_S = 180
CALLER = """
from house.market.compiled import kernels, njit
from house import (
    rules as kept_rules,
)

@njit(cache=True)
def doubled(value):
    return 2 * kept_rules.ruled(value)

if __name__ == "__main__":
    print(doubled(1.0), *(sum(kernel.stats.cache_misses.values()) for kernel in kernels))
"""
RULES = """
from house.market.compiled import njit
from house.constants import STEP

@njit(cache=True)
def ruled(value):
    return value + STEP
"""


@pytest.fixture(scope="module")
def compiled_house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package with kernels in two files and a constant in a third, run once."""
    package = tmp_path_factory.mktemp("compiled") / "house"
    (package / "market").mkdir(parents=True)
    for folder in (package, package / "market"):
        (folder / "__init__.py").touch()
    shutil.copy(compiled.__file__, package / "market" / "compiled.py")
    (package / "caller.py").write_text(CALLER)
    (package / "rules.py").write_text(RULES)
    (package / "constants.py").write_text("STEP = 1.0\n")
    assert run(package) == "4.0 1 1"
    return package


@pytest.fixture
def house(compiled_house: Path, tmp_path: Path) -> Path:
    """A copy of the package with its compiled code."""
    return shutil.copytree(compiled_house, tmp_path / "house")


def run(house: Path) -> str:
    """The caller's result and the number of compilations by kernel, in a fresh process."""
    command = [sys.executable, "-m", "house.caller"]
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    done = subprocess.run(command, cwd=house.parent, env=environment, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def folders(house: Path) -> list[str]:
    return sorted(path.name.partition("-")[0] for path in (house / "__pycache__" / "kernels").iterdir())


@pytest.mark.long
def test_kept_code_is_used_after_an_edit_of_an_unrelated_file(house: Path) -> None:
    (house / "unrelated.py").write_text("STEP = 3.0\n")
    assert run(house) == "4.0 0 0"
    assert folders(house) == ["__main__", "house.rules"]


@pytest.mark.long
def test_an_edit_of_a_function_in_another_file_reaches_its_caller(house: Path) -> None:
    (house / "rules.py").write_text(RULES.replace("value + STEP", "value + 10 * STEP"))
    assert run(house).startswith("22.0")


@pytest.mark.long
def test_an_edit_of_a_constant_two_imports_away_reaches_the_caller(house: Path) -> None:
    (house / "constants.py").write_text("STEP = 2.0\n")
    assert run(house).startswith("6.0")
    assert folders(house) == ["__main__", "house.rules"], "code of older sources is removed"


@pytest.mark.long
def test_another_version_of_numba_recompiles(house: Path) -> None:
    copy = house / "market" / "compiled.py"
    copy.write_text(copy.read_text().replace("{numba.__version__}", "another"))
    assert run(house) == "4.0 1 1"


def test_a_folder_that_cannot_be_written_only_costs_the_compilation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "file"))
    kernel = njit(cache=True)(lambda value: value + value)
    assert kernel(2) == 4
    assert kernel.stats.cache_misses.total() == 1  # type: ignore[attr-defined]


def test_code_is_written_by_one_process_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    kernel = njit(cache=True)(lambda value: value + value)
    assert kernel(2) == 4
    (folder,) = tmp_path.iterdir()
    waiting = threading.Thread(target=kernel, args=(np.float64(2.5),))
    with filelock.FileLock(folder / "writer.lock"):
        waiting.start()
        waiting.join(0.5)
        assert waiting.is_alive()
        assert len(list(folder.glob("*.nbc"))) == 1
    waiting.join(PATIENCE_S)
    assert not waiting.is_alive()
    assert len(list(folder.glob("*.nbc"))) == 2


@pytest.mark.long
def test_imports_are_found_as_python_finds_them() -> None:
    for file in Path(tapewatch.__file__).parent.rglob("*.py"):
        names = set()
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom):
                names |= {str(node.module), *(f"{node.module}.{name.name}" for name in node.names)}
            elif isinstance(node, ast.Import):
                names |= {name.name for name in node.names}
        imported = {compiled._file(name) for name in names if name.split(".")[0] == "tapewatch"}
        assert compiled._source(file)[1] >= imported - {None}, file


def test_models_count_among_what_a_kernel_imports() -> None:
    """Otherwise code of the models would stay in use after a change of a constant in another of their files."""
    imported = set(
        compiled._imported(
            "from models.scan.layout import (\n    A,\n)\nimport models.base\nfrom tapewatch.market import arrays\nimport modelsmith\n"
        )
    )
    assert {"models.scan.layout", "models.scan.layout.A", "models.base", "tapewatch.market.arrays"} <= imported
    assert "modelsmith" not in imported
