"""What starting costs: which libraries a process does not import until it has work for them."""

import subprocess
import sys

import pytest

#: Seconds each, together or alone.
HEAVY = {"bentoml", "feast", "matplotlib", "mlflow", "plotly", "shap", "skops", "sklearn", "tensorflow"}
HELP = "from orchestration.cli.app import app; app(['--help'], standalone_mode=False)"


def imported_by(code: str) -> set[str]:
    """The modules that a fresh interpreter holds after `code`."""
    code += "\nimport sys; print('', *sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize(
    "module", ["definitions", "processes.collector", "processes.healer", "runs.scoring", "processes.up"]
)
def test_what_trains_and_draws_is_imported_by_those_who_do(module: str) -> None:
    modules = imported_by(f"import orchestration.{module}")
    assert f"orchestration.{module}" in modules
    assert not HEAVY & modules


def test_help_needs_neither_columns_nor_dagster() -> None:
    modules = imported_by(HELP)
    assert "typer" in modules
    assert not (HEAVY | {"dagster", "numba", "pandas", "polars", "pyarrow", "sqlalchemy"}) & modules
