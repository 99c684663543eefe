"""Packages resolve inside this repository, and the required top-level folders and files exist."""

import importlib.util
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("package", ["tapewatch", "models", "resources", "assets", "orchestration", "serving"])
def test_package_resolves_inside_this_repository(package: str) -> None:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    assert Path(spec.origin).is_relative_to(CHECKOUT)


@pytest.mark.parametrize(
    "name",
    [
        "orchestration", "assets", "resources", "feature_repo", "models", "serving", "tests",
        "workspace.yaml", "pyproject.toml", "README.md",
    ],
)  # fmt: skip
def test_top_level_is_as_given(name: str) -> None:
    assert (CHECKOUT / name).exists()


def test_both_workspace_files_are_the_same() -> None:
    installed = CHECKOUT / "orchestration" / "workspace.yaml"
    assert installed.read_text() == (CHECKOUT / "workspace.yaml").read_text()
