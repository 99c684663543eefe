"""`tapewatch labeller`, as its container runs it: pulls, serves the dashboard until it is stopped, pushes what was labelled."""

import signal
import subprocess
import time
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from orchestration.cli.app import app
from tapewatch.settings import Settings
from tests.orchestration.runs.test_sharing import add, change, label
from tests.support import ask
from tests.support.command import TAPEWATCH, environment
from tests.support.ports import free_port


@pytest.mark.parametrize(
    "arguments", [[], ["--upsert"], ["--mode", "automatic"], ["--mode", "interactive", "--upsert"]]
)
def test_what_makes_no_sense_is_refused(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, ["labeller", *arguments]).exit_code == 2


def test_labels_are_pulled_and_pushed_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TAPEWATCH_DATABASE_URL", raising=False)
    monkeypatch.setenv("TAPEWATCH_HOME", str(tmp_path / "ann"))
    ann, places = Settings(_env_file=None), (str(tmp_path / "team"), str(tmp_path / "archive"))
    add(ann, label("ann", 0))
    done = CliRunner().invoke(app, ["labeller", "--push-to-cloud", places[0]])
    assert done.exit_code == 0, done.output
    change(ann, label("ann", 0), "price_jump")
    done = CliRunner().invoke(app, ["labeller", "--push-to-cloud", places[0], "--upsert"])
    assert (done.exit_code, "1 changed" in done.output) == (0, True), done.output
    monkeypatch.setenv("TAPEWATCH_HOME", str(tmp_path / "ben"))
    done = CliRunner().invoke(app, ["labeller", "--pull-from-cloud", places[0], "--push-to-cloud", places[1]])
    assert (done.exit_code, done.output.count("1 new")) == (0, 2), done.output
    lost = CliRunner().invoke(app, ["labeller", "--pull-from-cloud", "cloud://team", "--push-to-cloud", places[1]])
    assert (lost.exit_code, "Pushed" in lost.output) == (1, False), lost.output


@pytest.mark.slow
def test_what_is_labelled_in_the_dashboard_is_pushed_once_it_is_stopped(tmp_path: Path) -> None:
    ann, ben = (Settings(home=tmp_path / name, _env_file=None) for name in ("ann", "ben"))
    place, port = str(tmp_path / "team"), str(free_port())
    add(ann, label("ann", 0))
    subprocess.run(
        [TAPEWATCH, "labeller", "--push-to-cloud", place], env=environment(ann.home), cwd=tmp_path, check=True
    )
    process = subprocess.Popen(
        [TAPEWATCH, "labeller", "--pull-from-cloud", place, "--mode", "interactive", "--push-to-cloud", place, "--upsert"],
        env=environment(ben.home, TAPEWATCH_PORT_DASHBOARD=port), cwd=tmp_path, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        while True:  # the test's timeout bounds it
            assert process.poll() is None
            try:
                if ask.get(f"http://127.0.0.1:{port}/_stcore/health", trust_env=False).is_success:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        add(ben, label("ben", 20))
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate()
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, said
    assert f"Pulled from {place}: 1 new" in said
    assert f"Pushed to {place}: 1 new" in said
