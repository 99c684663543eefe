"""Builds the images without a Docker engine, starts each as its user, and waits until its health check passes.

`make images`, or `python -m tests.deployment.images scoring` for some. Needs root, mmdebstrap and buildah, and takes minutes, so
it is not part of `make test`.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from serving.bento import build_bento
from tests.support.detectors import fitted
from tests.support.ports import free_ports

_BUILD = Path(__file__).resolve().parents[2] / "deployment" / "images" / "build.sh"
_BUILDAH = {"BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "vfs", "BUILDAH_FORMAT": "docker"}
_USER = 10001
_PATIENCE_S = 600
_HOME = "/srv/home"
#: Whether the dashboard answers, on the port of `_PORTS`.
_PAGE = [
    *("python", "-c"),
    "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ['TAPEWATCH_PORT_DASHBOARD']}/_stcore/health\")",
]
_PORTS = ("DAGSTER", "MLFLOW", "EMULATOR", "SCORING", "CODE_LOCATION", "DASHBOARD", "METRICS")
#: What each image runs here, and its health check; the collector's alone makes the checks of a start.
_STARTED: Mapping[str, tuple[list[str], list[str]]] = {
    "scoring": (["python", "-m", "serving"], ["python", "-m", "serving", "--check"]),
    "webserver": (["tapewatch", "serve", "webserver"], ["tapewatch", "healthy", "webserver"]),
    "code-location": (["tapewatch", "serve", "code-location"], ["tapewatch", "healthy", "code-location"]),
    "dashboard": (["tapewatch", "dashboard"], _PAGE),
    "labeller": (["tapewatch", "labeller", "--mode", "interactive"], _PAGE),
    "platform": (["tapewatch", "up"], ["tapewatch", "healthy"]),
}
_OTHERS = ["tapewatch", "preflight"]


def buildah(*arguments: str) -> str:
    done = subprocess.run(
        ["buildah", *arguments], env=os.environ | _BUILDAH, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout.strip()


def check(target: str, home: Path) -> None:
    """Start an image with a home of its own, and return once it is healthy. Raises a RuntimeError if it is not."""
    if target == "scoring":
        with tempfile.TemporaryDirectory() as model:
            fitted().save(Path(model))
            build_bento(Path(model), name="isolation_forest", version="1", metadata={}, bento_home=home / "bentoml")
    for path in (home, *home.rglob("*")):
        os.chown(path, _USER, _USER)
    ports = {f"TAPEWATCH_PORT_{name}": str(port) for name, port in zip(_PORTS, free_ports(len(_PORTS)), strict=True)}
    container = buildah("from", f"localhost/tapewatch-{target}")
    # buildah puts a volume of its own in the place of the image's.
    variables = {**ports, "TAPEWATCH_HOME": _HOME}
    if target == "code-location":
        variables["POLYGON_API_KEY"] = "unused"  # pragma: allowlist secret
    options = [
        *(f"--env={name}={value}" for name, value in variables.items()),
        f"--volume={home}:{_HOME}",
        container,
        "--",
    ]
    try:
        assert buildah("run", *options, "id", "-u") == str(_USER)
        if target in _STARTED:
            _wait(target, options, *_STARTED[target])
        else:
            buildah("run", *options, *_OTHERS)
    finally:
        buildah("rm", container)


def _wait(target: str, options: Sequence[str], command: Sequence[str], health: Sequence[str]) -> None:
    run = ["buildah", "run", *options]
    environment = os.environ | _BUILDAH
    process = subprocess.Popen([*run, *command], env=environment)
    deadline = time.monotonic() + _PATIENCE_S
    try:
        while subprocess.run([*run, *health], env=environment, capture_output=True, check=False).returncode:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the image of {target} does not become healthy")
            time.sleep(1)
    finally:
        process.terminate()
        process.wait(120)


def main() -> int:
    """Build and check the targets that are named, by default all; the script prints their sizes."""
    targets = sys.argv[1:] or [
        "scoring",
        "webserver",
        "collector",
        "code-location",
        "dashboard",
        "labeller",
        "platform",
    ]
    if shutil.which("buildah") is None:
        sys.stderr.write("buildah is missing: apt-get install mmdebstrap buildah\n")
        return 1
    subprocess.run([_BUILD, *targets], check=True)
    for target in targets:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="tapewatch-image-") as home:
            check(target, Path(home))
        sys.stdout.write(f"tapewatch-{target}: healthy after {time.monotonic() - began:.0f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
