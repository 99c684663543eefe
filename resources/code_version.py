"""The version of the code that made a model: the release and a digest of the source."""

import hashlib
from functools import cache
from pathlib import Path

import models
import tapewatch


@cache
def code_version() -> str:
    """Such as `0.1.0+3f9a0c12d4e5`: changes with any line of `tapewatch/` or `models/`, in a checkout or installed."""
    digest = hashlib.sha256()
    for package in (tapewatch, models):
        root = Path(package.__file__).parent
        for path in sorted(root.rglob("*.py")):
            digest.update(str(path.relative_to(root.parent)).encode() + path.read_bytes())
    return f"{tapewatch.__version__}+{digest.hexdigest()[:12]}"
