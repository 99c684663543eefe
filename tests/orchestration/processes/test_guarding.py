"""`tapewatch up` starts nothing that others could reach without a token."""

import http.server
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from orchestration.processes.guarding import access_of, check_access
from orchestration.processes.services import ServiceError, environment
from orchestration.runs.detectors.scoring import ScoringError, ask
from tapewatch.settings import Settings

TOKEN = "correct-horse-battery-staple"  # noqa: S105  # pragma: allowlist secret


def settings(tmp_path: Path, **changes: object) -> Settings:
    return Settings(home=tmp_path / "home", _env_file=None, **changes)


def test_a_token_is_needed_beyond_this_machine(tmp_path: Path) -> None:
    assert "without a token" in check_access(settings(tmp_path))
    wide = {"host": "0.0.0.0", "allowed_hosts": "tapewatch.lan, tapewatch.example.com"}  # noqa: S104
    with pytest.raises(ServiceError, match="set TAPEWATCH_TOKEN"):
        check_access(settings(tmp_path, **wide))
    assert "with TAPEWATCH_TOKEN" in check_access(settings(tmp_path, **wide, token=TOKEN))
    assert access_of(settings(tmp_path, **wide)).hosts >= {"tapewatch.lan", "tapewatch.example.com", "localhost"}


def test_services_get_names_and_token_in_their_environment_alone(tmp_path: Path) -> None:
    variables = environment(settings(tmp_path, allowed_hosts="a.lan,b.lan", token=TOKEN))
    assert (variables["TAPEWATCH_ALLOWED_HOSTS"], variables["TAPEWATCH_TOKEN"]) == ("a.lan,b.lan", TOKEN)
    assert TOKEN not in repr(settings(tmp_path, token=TOKEN))


@pytest.mark.long
def test_up_says_in_one_line_why_it_does_not_start(tmp_path: Path) -> None:
    inherited = {name: value for name, value in os.environ.items() if not re.match("TAPEWATCH_|POLYGON_|MLFLOW_", name)}
    done = subprocess.run(
        [sys.executable, "-c", "from orchestration.cli.app import app; app()", "up"],
        env={**inherited, "TAPEWATCH_HOME": str(tmp_path / "home"), "TAPEWATCH_HOST": "0.0.0.0"},  # noqa: S104
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Error: TAPEWATCH_HOST is 0.0.0.0")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "home").exists()


def test_score_sends_the_token_to_this_deployment_alone(tmp_path: Path) -> None:
    received: list[str | None] = []

    class Refuses(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.headers["Authorization"])
            self.send_error(400)

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("", 0), Refuses) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name in ("127.0.0.1", "127.0.0.2"):
            with pytest.raises(ScoringError, match="refuses"):
                ask(settings(tmp_path, token=TOKEN), b"{}", url=f"http://{name}:{server.server_port}")
        server.shutdown()
    assert received == [f"Bearer {TOKEN}", None]
