"""The compose files: complete, with known settings, and their commands run on this machine on real stores."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from orchestration.cli.commands.deployment.serve import Part
from tapewatch.emulator.tape.market_tape import SyntheticTape
from tapewatch.market.instruments import Market
from tapewatch.settings import Settings, variable_of
from tests.support import ask
from tests.support.command import environment
from tests.support.compose import read, variables_of
from tests.support.emulator import serving
from tests.support.ports import free_ports
from tests.support.postgres import postgres_server
from tests.support.redis import redis_server
from tests.support.s3 import S3Server

FOLDER = Path(__file__).resolve().parents[2] / "deployment" / "compose"
EXAMPLES = {"compose.prod.yaml": "prod.env.example", "compose.single.yaml": "single.env.example", "compose.yaml": None}
VALUES = {
    "TAPEWATCH_VERSION": "0.1.0",
    "TAPEWATCH_TOKEN": "t" * 24,
    "POSTGRES_PASSWORD": "p",
    "REDIS_PASSWORD": "r",
    "POLYGON_API_KEY": "k",
    "POLYGON_TIER_CRYPTO": "advanced",
    **{f"{name}_NAME": f"{name.lower()}.example.com" for name in ("DAGSTER", "MLFLOW", "SCORING", "DASHBOARD")},
}
#: Services that end, or that no health page tells of.
WITHOUT_HEALTH = {"databases", "restore", "replica", "healer", "paper-trader", "backup"}
PATIENCE_S = 240


def services(file: str, **values: str) -> dict[str, Any]:
    return read(FOLDER / file, {**VALUES, "BUCKET": "tapes", **values})


@pytest.mark.parametrize(("file", "example"), EXAMPLES.items())
def test_every_variable_is_in_the_example_and_every_one_there_is_used(file: str, example: str | None) -> None:
    used = variables_of((FOLDER / file).read_text("utf-8"))
    if example is None:
        assert used == {"TAPEWATCH_TOKEN", "POLYGON_API_KEY"}
        return
    named = re.findall(r"^([A-Z_]+)=", (FOLDER / example).read_text("utf-8"), re.MULTILINE)
    assert used == set(named)
    assert len(named) == len(used)


@pytest.mark.parametrize("file", ["compose.prod.yaml", "compose.single.yaml"])
def test_every_container_has_a_limit_a_restart_policy_and_a_health_check(file: str) -> None:
    found = services(file)
    for name, service in found.items():
        assert service["mem_limit"], name
        assert service["restart"] in ("unless-stopped", "on-failure"), name
        checked = "test" in service.get("healthcheck", {})
        assert checked != (name in WITHOUT_HEALTH), name
        for other in service.get("depends_on", {}):
            assert other in found
        if "tapewatch-" in service["image"]:
            assert service["read_only"], name
            assert service["cap_drop"] == ["ALL"], name
    published = {name for name, service in found.items() if "ports" in service}
    assert published == {"proxy"}


def test_the_container_to_try_it_has_a_limit_and_answers_this_machine_alone() -> None:
    (service,) = services("compose.yaml").values()
    assert service["mem_limit"]
    assert service["restart"] == "unless-stopped"
    assert service["read_only"]
    # Its health check is the image's.
    assert service["build"]["target"] == "platform"
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


@pytest.mark.parametrize("file", EXAMPLES)
def test_settings_and_parts_are_ones_that_exist(file: str) -> None:
    known = {field.alias or variable_of(name) for name, field in Settings.model_fields.items()}
    known |= {variable_of("markets", market, "plan") for market in Market} | {"TAPEWATCH_CREATE_AT"}
    for name, service in services(file).items():
        if name in ("postgres", "redis", "proxy", "prometheus", "restore", "replica"):
            continue
        ours = {variable for variable in service["environment"] if variable.startswith(("TAPEWATCH_", "POLYGON_"))}
        assert ours <= known, name
        if service.get("command", [""])[0] == "serve":
            assert service["command"][1] in set(Part)
            assert service["healthcheck"].get("test", [name])[-1] == service["command"][1]


def test_a_variable_that_is_missing_is_refused() -> None:
    with pytest.raises(KeyError, match="TAPEWATCH_TOKEN"):
        services("compose.prod.yaml", TAPEWATCH_TOKEN="")


class Machine:
    """Runs services of compose.prod.yaml here: their commands and environment, with the addresses of this machine."""

    def __init__(self, found: dict[str, Any], addresses: Mapping[str, str], more: Mapping[str, str]) -> None:
        self._found, self._addresses, self._more = found, addresses, more

    def environment(self, name: str, home: Path) -> dict[str, str]:
        given = {variable: self._here(value) for variable, value in self._found[name]["environment"].items()}
        return environment(home, **{**given, **self._more})

    def _here(self, value: str) -> str:
        for pattern, address in self._addresses.items():
            value = re.sub(pattern, address, value)
        return value

    def run(self, name: str, home: Path, command: list[str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._command(command or self._found[name]["command"]),
            env=self.environment(name, home),
            cwd=home,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def is_healthy(self, name: str, home: Path) -> bool:
        _, *command = self._found[name]["healthcheck"]["test"]
        return self.run(name, home, command[1:]).returncode == 0

    @contextmanager
    def running(self, name: str, home: Path) -> Iterator[subprocess.Popen[bytes]]:
        """The service, ended with its children at the end of the block."""
        with (home / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                self._command(self._found[name]["command"]),
                env=self.environment(name, home),
                cwd=home,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def wait(self, name: str, home: Path, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not self.is_healthy(name, home):
            said = (home / f"{name}.log").read_text(errors="replace")[-3000:]
            assert process.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(1)

    @staticmethod
    def _command(arguments: list[str]) -> list[str]:
        return [str(Path(sys.executable).parent / "tapewatch"), *arguments]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_services_start_on_real_stores_and_pass_their_health_checks(bucket: str, s3: S3Server, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    dagster, metrics, code = free_ports(3)
    token = {"Authorization": f"Bearer {VALUES['TAPEWATCH_TOKEN']}"}
    with ExitStack() as stack:
        server = stack.enter_context(postgres_server())
        url = sa.make_url(server.url)
        redis = stack.enter_context(redis_server(tmp_path))
        vendor = stack.enter_context(serving(SyntheticTape(7), speed="1"))
        here = url.set(database="NAME").render_as_string(hide_password=False).replace("NAME", r"\1")
        machine = Machine(
            services("compose.prod.yaml", BUCKET=bucket),
            {
                r"postgresql://tapewatch:p@postgres/(\w+)": here,
                "redis://:r@redis:6379/0": redis,
                "^code-location$": "127.0.0.1",
            },
            {
                **s3.environment,
                "POLYGON_BASE_URL": vendor,
                "TAPEWATCH_PORT_DAGSTER": str(dagster),
                "TAPEWATCH_PORT_METRICS": str(metrics - 1),
                "TAPEWATCH_PORT_CODE_LOCATION": str(code),
            },
        )
        made = machine.run("databases", home)
        assert made.returncode == 0, made.stderr
        assert "tapewatch_dagster was made" in made.stderr
        parts = ("code-location", "webserver", "collector-crypto")
        processes = {name: stack.enter_context(machine.running(name, home)) for name in parts[:1]}
        machine.wait("code-location", home, processes["code-location"])
        processes |= {name: stack.enter_context(machine.running(name, home)) for name in parts[1:]}
        for name in parts:
            machine.wait(name, home, processes[name])
        # The webserver asks for the token, and shows the assets of the code location.
        address = f"http://127.0.0.1:{dagster}/graphql"
        query = {"query": "{ assetNodes { assetKey { path } } }"}
        assert ask.post(address, json=query, trust_env=False).status_code == 401
        nodes = ask.post(address, json=query, headers=token, trust_env=False, timeout=60).json()["data"]["assetNodes"]
        assert ["tape", "trades"] in [node["assetKey"]["path"] for node in nodes]
        # A second deployment on the same volume is refused.
        again = machine.run("code-location", home, ["serve", "code-location"])
        assert (again.returncode, "code-location runs on" in again.stderr) == (1, True)
        saved = machine.run("backup", home, ["db", "backup", f"s3://{bucket}/backups/day.zip"])
        assert saved.returncode == 0, saved.stderr
        assert s3.client().head_object(Bucket=bucket, Key="backups/day.zip")["ContentLength"] > 0
