"""Every comparison with another library: `make oracles`, or `python -m tests.oracles [compare_labels]`. Exit status 0: all agree."""

import subprocess
import sys

from benchmarks.isolated import MLFINPY, PEERS, PURGING, IsolationError, environment

#: The environments of each comparison: name and packages.
_ENVIRONMENTS = {
    "compare_accounts": [("peers", PEERS)],
    "compare_statistics": [("peers", PEERS)],
    "compare_labels": [("mlfinpy", MLFINPY), ("purging", PURGING)],
    "compare_bars": [("mlfinpy", MLFINPY)],
}


def main() -> int:
    """Make the environments and run each comparison with their Pythons."""
    failed = 0
    for name in sys.argv[1:] or sorted(_ENVIRONMENTS):
        try:
            pythons = [environment(*each) for each in _ENVIRONMENTS[name]]
        except IsolationError as error:
            sys.stderr.write(f"oracles: {error}\n")
            return 1
        done = subprocess.run([sys.executable, "-m", f"tests.oracles.{name}", *pythons], check=False)
        failed += done.returncode != 0
        if done.returncode:
            sys.stderr.write(f"{name}: DIFFERS\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
