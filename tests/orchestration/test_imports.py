"""Slow libraries are not imported before they are needed."""

import subprocess
import sys

import pytest

#: Each takes seconds to import.
HEAVY = {"bentoml", "feast", "matplotlib", "mlflow", "pandas", "plotly", "shap", "skops", "sklearn", "tensorflow"}
HELP = "from orchestration.cli.app import app; app(['--help'], standalone_mode=False)"


def imported_by(code: str) -> set[str]:
    """The modules that a new interpreter has imported after `code`."""
    code += "\nimport sys; print('', *sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.mark.slow
@pytest.mark.parametrize(
    "module", ["definitions", "processes.collector", "processes.healer", "runs.detectors.scoring", "processes.up"]
)
def test_libraries_for_training_and_plots_are_imported_when_needed(module: str) -> None:
    modules = imported_by(f"import orchestration.{module}")
    assert f"orchestration.{module}" in modules
    assert not HEAVY & modules


def test_help_imports_neither_polars_nor_dagster() -> None:
    modules = imported_by(HELP)
    assert "typer" in modules
    assert not (HEAVY | {"dagster", "numba", "polars", "pyarrow", "sqlalchemy"}) & modules
