"""The installed command, with an environment of its own."""

import os
import re
import sys
from pathlib import Path

TAPEWATCH = str(Path(sys.executable).parent / "tapewatch")
_SETTINGS = re.compile(r"TAPEWATCH_|POLYGON_|MLFLOW_|DAGSTER_|BENTOML_")


def environment(home: Path, **changes: str) -> dict[str, str]:
    """This process's environment with only these settings of the platform, and a proxy that never answers."""
    inherited = {name: value for name, value in os.environ.items() if not _SETTINGS.match(name)}
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")
    return {**inherited, **proxies, "TAPEWATCH_HOME": str(home), "COLUMNS": "120", **changes}
