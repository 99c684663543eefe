"""The Dockerfile: linted, pinned by the lock file, and its commands are those of the command line.

test_scoring_image.py builds and starts one image; `make images` does it for all (tests/deployment/images.py).
"""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestration.cli.app import app
from orchestration.cli.commands.deployment.serve import Checked, Part
from serving.bento import pinned_requirements, service_modules

CHECKOUT = Path(__file__).resolve().parents[2]
IMAGES = CHECKOUT / "deployment" / "images"
DOCKERFILE = (IMAGES / "Dockerfile").read_text(encoding="utf-8")
#: What each stage begins with, and its lines.
STAGES = {
    name: (parent, lines)
    for parent, name, lines in re.findall(
        r"^FROM (\S+) AS (\S+)\n(.*?)(?=^FROM |\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL
    )
}
ROLES = ("scoring", "webserver", "collector", "code-location", "dashboard", "labeller", "platform")
LOCK = tomllib.loads((CHECKOUT / "uv.lock").read_text(encoding="utf-8"))["package"]


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, IMAGES / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def lines_of(name: str) -> str:
    """The lines of a stage, after those of what it begins with."""
    parent, lines = STAGES[name]
    return (lines_of(parent) if parent in STAGES else "") + lines


def last(instruction: str, name: str) -> str:
    """What the last such instruction of an image says."""
    return re.findall(rf"^{instruction} (.*)$", lines_of(name), re.MULTILINE)[-1]


@pytest.mark.parametrize("role", ROLES)
def test_there_is_an_image_for_each_role_that_runs_without_root_and_has_a_health_check(role: str) -> None:
    assert STAGES.keys() == {"uv", "base", "library", *ROLES}
    assert last("USER", role) == "10001:10001"
    assert "CMD [" in last("HEALTHCHECK", role)


@pytest.mark.parametrize("role", sorted({*ROLES} - {"scoring"}))
def test_what_an_image_runs_is_a_command(role: str) -> None:
    begun = json.loads(last("ENTRYPOINT", role))
    checked = json.loads(last("HEALTHCHECK", role).partition(" CMD ")[2])
    for program, *arguments in ([*begun, *json.loads(last("CMD", role))], checked):
        assert program == "tapewatch"
        done = CliRunner().invoke(app, [*arguments, "--help"])
        assert done.exit_code == 0, arguments
        known = {"serve": Part, "healthy": Checked}.get(arguments[0])
        assert known is None or set(arguments[1:2]) <= set(known)


def test_files_that_are_copied_are_there_and_in_the_context() -> None:
    ignored = (IMAGES / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert ignored[0] == "*"
    for sources in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE):
        for source in sources.split():
            assert (CHECKOUT / source).exists()
            assert f"!{source}" in ignored


def test_uv_is_that_of_the_lock_file() -> None:
    (version,) = (package["version"] for package in LOCK if package["name"] == "uv")
    assert f"ARG UV=ghcr.io/astral-sh/uv:{version}\n" in DOCKERFILE


@pytest.mark.long
def test_the_image_of_scoring_holds_what_the_service_imports_and_no_training_or_orchestration() -> None:
    by_name = {package["name"]: package for package in LOCK}
    waiting = [need["name"] for need in by_name["tapewatch"]["dev-dependencies"]["scoring"]]
    held: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in held:
            held.add(name)
            waiting += [need["name"] for need in by_name[name].get("dependencies", [])]
    needed = {line.partition("==")[0].lower().replace("_", "-") for line in pinned_requirements(service_modules())}
    assert needed | {"s3fs"} <= held
    assert not held & {"dagster", "mlflow", "feast", "tensorflow", "keras", "streamlit"}
