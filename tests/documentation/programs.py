"""Runs the programs of the pages that are not ours, such as BentoML's and MLflow's, and the Python files that the pages show."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.documentation.pages import CHECKOUT, PAGES, Command

_FILE = re.compile(r"^\$ cat > (\w+\.py) <<'END'\n(.*?)^END$", re.MULTILINE | re.DOTALL)
_BIN = Path(sys.executable).parent


def write_files(folder: Path) -> None:
    """Write the Python files that the pages show."""
    for page in PAGES:
        for name, text in _FILE.findall(page.read_text()):
            (folder / name).write_text(text)


def run(command: Command, home: Path, folder: Path) -> str:
    """Run a command in `folder` on the stores of a home; what it printed. An import goes into a store of its own.

    This checkout is what `git clone` clones; the hook is installed in that clone.
    """
    store = folder / "imported" if "import" in command.words else home / "bentoml"
    given = {"MLFLOW_TRACKING_URI": f"sqlite:///{home / 'mlflow' / 'mlflow.db'}", "BENTOML_HOME": str(store)}
    program = command.words[0].removeprefix(".venv/bin/")
    words = [shutil.which(program, path=f"{_BIN}:{os.environ['PATH']}") or program]
    words += [str(CHECKOUT) if word == "…" else word.replace("$PWD", str(folder)) for word in command.words[1:]]
    place = folder / "tapewatch" if program == "pre-commit" else folder
    done = subprocess.run(words, cwd=place, env={**os.environ, **given}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr[-2000:]}"
    return done.stdout
