"""Every comparison with another library: `make oracles`, or `python -m tests.oracles`. The exit status is 0 if all agree."""

import subprocess
import sys
from pathlib import Path

from benchmarks.isolated import IsolationError, environment

_HERE = Path(__file__).parent


def main() -> int:
    """Make the environment and run each `compare_*.py` with its Python."""
    try:
        python = environment()
    except IsolationError as error:
        sys.stderr.write(f"oracles: {error}\n")
        return 1
    failed = 0
    for script in sorted(_HERE.glob("compare_*.py")):
        done = subprocess.run([sys.executable, "-m", f"tests.oracles.{script.stem}", python], check=False)
        failed += done.returncode != 0
        if done.returncode:
            sys.stderr.write(f"{script.stem}: DIFFERS\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
