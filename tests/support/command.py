"""The installed command, with an environment of its own."""

import os
import re
import sys
from pathlib import Path

TAPEWATCH = str(Path(sys.executable).parent / "tapewatch")
_SETTINGS = re.compile(r"TAPEWATCH_|POLYGON_|MLFLOW_|DAGSTER_|BENTOML_")


def environment(home: Path, **changes: str) -> dict[str, str]:
    """This process's environment with only these settings of the platform."""
    inherited = {name: value for name, value in os.environ.items() if not _SETTINGS.match(name)}
    return {**inherited, "TAPEWATCH_HOME": str(home), "COLUMNS": "120", **changes}
