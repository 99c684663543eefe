"""Known vulnerabilities in the locked dependencies: `python -m tests.audit REQUIREMENTS`.

pip-audit alone ends with 0 although it skipped packages. Here the exit status is 0 only if every package was looked up and has no
known vulnerability.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def audit(requirements: Path) -> list[str]:
    """What is wrong, a line each: vulnerabilities, and packages that could not be audited."""
    command = [str(Path(sys.executable).parent / "pip-audit"), "--requirement", str(requirements)]
    command += ["--disable-pip", "--require-hashes", "--format", "json", "--progress-spinner", "off"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return faults(done.stdout, done.stderr)


def faults(output: str, errors: str = "") -> list[str]:
    """The faults in what pip-audit printed as JSON; `errors` is what it printed beside it."""
    try:
        packages = json.loads(output)["dependencies"]
    except (json.JSONDecodeError, KeyError, TypeError):
        said = (errors.strip().splitlines() or ["it printed nothing"])[-1]
        return [f"nothing was audited: {said}. Check the network and the proxy, then try again"]
    if not packages:
        return ["nothing was audited: the list of requirements is empty"]
    return [line for package in packages for line in _of(package)]


def _of(package: dict[str, object]) -> list[str]:
    name = f"{package['name']} {package.get('version', '')}".strip()
    if "skip_reason" in package:
        return [f"{name} was not audited: {package['skip_reason']}"]
    found = package.get("vulns") or []
    assert isinstance(found, list)
    return [f"{name}: {flaw['id']}, fixed in {', '.join(flaw['fix_versions']) or 'no version yet'}" for flaw in found]


def main(arguments: Sequence[str]) -> int:
    wrong = audit(Path(arguments[0]))
    sys.stdout.write("".join(f"{line}\n" for line in wrong) or "No known vulnerability in any locked package.\n")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
