"""Programs of Debian's packages that `make system` unpacks under `build/`, unless they are installed."""

import shutil
from pathlib import Path

_BUILD = Path(__file__).resolve().parents[2] / "build"


def program(name: str, package: str) -> str:
    """The path of a program, installed or unpacked from `package`."""
    found = shutil.which(name) or shutil.which(name, path=str(_BUILD / package / "usr" / "bin"))
    assert found, f"{name} is missing: make system"
    return found
