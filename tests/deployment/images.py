"""Builds the images without a Docker engine, and runs each as its user on a read-only root: by its own command, with its own health check.

`make images`, or `python -m tests.deployment.images scoring` for some. Needs root, mmdebstrap and buildah, and takes many minutes;
`make test` builds and starts scoring alone (test_scoring_image.py). Sizes go into docs/how_to/deploy.md.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import httpx

from serving.bento import build_bento
from tapewatch.emulator.process import running_emulator
from tapewatch.settings import Settings
from tests.deployment import bad_starts
from tests.orchestration.runs.test_sharing import add, label
from tests.support.containers import USER, Container, ContainerError, buildah, container, is_possible
from tests.support.detectors import fitted
from tests.support.ports import free_ports
from tests.support.s3 import s3_server

_CHECKOUT = Path(__file__).resolve().parents[2]
BUILD = _CHECKOUT / "deployment" / "images" / "build.sh"
_PAGE = _CHECKOUT / "docs" / "how_to" / "deploy.md"
_PORTS = ("DAGSTER", "MLFLOW", "EMULATOR", "SCORING", "CODE_LOCATION", "DASHBOARD", "METRICS")
_HEADER = "| image | unpacked | compressed, as it is pulled |\n|---|--:|--:|\n"
_MEGABYTE = 1_000_000


def ports() -> dict[str, str]:
    """Free ports for all that a container starts."""
    return {f"TAPEWATCH_PORT_{name}": str(port) for name, port in zip(_PORTS, free_ports(len(_PORTS)), strict=True)}


def _expect(is_so: object, complaint: str) -> None:
    if not is_so:
        raise ContainerError(complaint)


def put_bento(home: Path) -> None:
    """Put a small detector's Bento where the scoring service finds it."""
    with tempfile.TemporaryDirectory() as model:
        fitted().save(Path(model))
        build_bento(Path(model), name="isolation_forest", version="1", metadata={}, bento_home=home / "bentoml")


def check_closed(running: Container) -> None:
    """It is the user of the images, and can write to its volume and /tmp alone."""
    _expect(running.run("id", "-u").stdout.strip() == str(USER), "it is not the images' user")
    for place in ("/app", "/opt/tapewatch", "/"):
        done = running.run("touch", f"{place}/x")
        _expect("Read-only file system" in done.stdout, f"{place} can be written: {done.stdout}")
    _expect(running.run("sh", "-c", 'touch "$TAPEWATCH_HOME/x" /tmp/x').returncode == 0, "nothing can be written")


def check_serving(found: Container) -> None:
    """It answers with the version of the model on its volume."""
    check_closed(found)
    with found.started():
        port = found.variables["TAPEWATCH_PORT_SCORING"]
        answer = httpx.get(f"http://127.0.0.1:{port}/model", trust_env=False, timeout=60)
        _expect(answer.json()["version"] == "1", f"it serves {answer.text}")


def check_scoring(home: Path) -> None:
    put_bento(home)
    with container("scoring", home, ports()) as found:
        check_serving(found)
        bad_starts.scoring(found)


def check_started(target: str, home: Path, **given: str) -> None:
    """It starts by its own command, and its own health check passes."""
    with container(target, home, {**ports(), **given}) as found:
        check_closed(found)
        with found.started():
            pass


def check_collector(home: Path) -> None:
    with running_emulator() as emulator:
        given = {
            "POLYGON_API_KEY": "advanced-images",  # pragma: allowlist secret
            "POLYGON_TIER_STOCKS": "advanced",
            "POLYGON_BASE_URL": emulator.base_url,
            "POLYGON_WS_URL": emulator.ws_url,
        }
        with container("collector", home, {**ports(), **given}) as found:
            check_closed(found)
            with found.started():
                bad_starts.second(found, "serve", "collector-stocks")
            bad_starts.parts(found)


def check_labeller(home: Path) -> None:
    """The three commands of the labeller, on a real bucket."""
    add(Settings(home=home, _env_file=None), label("ann", 0))
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="tapewatch-s3-"))
        s3 = stack.enter_context(s3_server(Path(folder)))
        place = f"s3://{s3.bucket()}/labels"
        found = stack.enter_context(container("labeller", home, {**ports(), **s3.environment}))
        check_closed(found)
        for arguments in (["--push-to-cloud", place, "--upsert"], ["--pull-from-cloud", place]):
            done = found.run(*found.entrypoint, *arguments)
            _expect(done.returncode == 0, f"{arguments}: {done.stdout}")
            sys.stdout.write(done.stdout)
        with found.started("--mode", "interactive"):
            pass


def check_platform(home: Path) -> None:
    """`docker run tapewatch`: collectors, Dagster, scoring and the dashboard, of the built-in market."""
    put_bento(home)
    given = ports()
    with container("platform", home, given) as found:
        check_closed(found)
        with found.started() as running:
            for name, page in (("DAGSTER", "server_info"), ("SCORING", "readyz"), ("DASHBOARD", "_stcore/health")):
                address = f"http://127.0.0.1:{given[f'TAPEWATCH_PORT_{name}']}/{page}"
                _expect(httpx.get(address, trust_env=False, timeout=60).is_success, f"{address} does not answer")
            said = running.run("tapewatch", "status").stdout
            _expect("crypto" in said and "stocks" in said, f"no collectors: {said}")
            bad_starts.second(found, "up")
            sys.stdout.write(said)


CHECKS: Mapping[str, Callable[[Path], None]] = {
    "scoring": check_scoring,
    "webserver": partial(check_started, "webserver"),
    "collector": check_collector,
    "code-location": partial(check_started, "code-location", POLYGON_API_KEY="unused"),
    "dashboard": partial(check_started, "dashboard", TAPEWATCH_TLS="self-made"),
    "labeller": check_labeller,
    "platform": check_platform,
}


def sizes(target: str) -> tuple[str, float]:
    """An image's layers: unpacked, and megabytes as a registry holds them, compressed."""
    with tempfile.TemporaryDirectory(prefix="tapewatch-pushed-", dir=_CHECKOUT / "build") as folder:
        buildah("push", "--quiet", f"localhost/tapewatch-{target}", f"dir:{folder}/image")
        manifest = json.loads((Path(folder) / "image" / "manifest.json").read_text())
        compressed = sum(layer["size"] for layer in manifest["layers"])
    return buildah("images", "--format", "{{.Size}}", f"localhost/tapewatch-{target}"), compressed / _MEGABYTE


def written(page: str, found: Mapping[str, tuple[str, float]]) -> str:
    """The page with the rows of these images renewed."""
    before, rows, after = re.split(rf"{re.escape(_HEADER)}((?:\|.*\n)*)", page)
    kept = {row.split("|")[1].strip(): row for row in rows.splitlines(keepends=True)}
    made = {name: f"| {name} | {unpacked} | {megabytes:,.1f} MB |\n" for name, (unpacked, megabytes) in found.items()}
    wanted = {**kept, **made}
    return before + _HEADER + "".join(wanted[name] for name in ("base", *CHECKS) if name in wanted) + after


def main() -> int:
    """Build and check the targets that are named, by default all; then measure them."""
    targets = sys.argv[1:] or list(CHECKS)
    if reason := is_possible():
        sys.stderr.write(f"{reason}: apt-get install mmdebstrap buildah\n")
        return 1
    subprocess.run([BUILD, *targets], check=True)
    for target in targets:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="tapewatch-image-") as home:
            CHECKS[target](Path(home))
        sys.stdout.write(f"tapewatch-{target}: sound after {time.monotonic() - began:.0f} s\n")
    page = written(_PAGE.read_text("utf-8"), {target: sizes(target) for target in ("base", *targets)})
    _PAGE.write_text(page, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
