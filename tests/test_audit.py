"""`make audit` passes only if every package was audited."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.audit import faults

SOUND = {"name": "numpy", "version": "2.4.0", "vulns": []}
FLAWED = {"name": "old", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"]}]}
SKIPPED = {"name": "private", "skip_reason": "Dependency not found on PyPI"}


def printed(*packages: dict[str, object]) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


@pytest.mark.parametrize(
    ("output", "wrong"),
    [
        (printed(SOUND), []),
        (printed(SOUND, FLAWED), ["old 1.0: PYSEC-1, fixed in 1.1"]),
        (printed(SOUND, SKIPPED), ["private was not audited: Dependency not found on PyPI"]),
        (printed(), ["nothing was audited: the list of requirements is empty"]),
        ("", ["nothing was audited: no route to host. Check the network and the proxy, then try again"]),
        ("[]", ["nothing was audited: no route to host. Check the network and the proxy, then try again"]),
    ],
)
def test_a_package_that_was_not_audited_is_a_fault(output: str, wrong: list[str]) -> None:
    assert faults(output, "Traceback\nno route to host\n") == wrong


@pytest.mark.slow
def test_the_exit_status_says_that_the_service_was_not_reached(tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(f"numpy==2.2.0 --hash=sha256:{'0' * 64}\n")
    nowhere = "http://127.0.0.1:9"
    done = subprocess.run(
        [sys.executable, "-m", "tests.audit", str(requirements)],
        env={
            **os.environ,
            "HTTPS_PROXY": nowhere,
            "https_proxy": nowhere,
            "NO_PROXY": "",
            "no_proxy": "",
            "XDG_CACHE_HOME": str(tmp_path),
        },
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout.startswith("nothing was audited: ")
