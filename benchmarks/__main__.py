"""Runs every benchmark and prints what docs/benchmarks.md holds: `python -m benchmarks > docs/benchmarks.md`.

With names (`python -m benchmarks upserts stream_ingest`) these sections are measured anew and the others kept as they are. All of it
takes some forty minutes, most of it holding a stream for ten and making a day of 500 symbols. Run it on a machine that does nothing else.
"""

import ast
import os
import platform
import subprocess
import sys
from pathlib import Path

import polars as pl

_SCRIPTS = (
    "microstructure",
    "flat_file_to_features",
    "rest_page",
    "stream_decode",
    "socket_to_bars",
    "alert_latency",
    "upserts",
    "wide_day",
    "flat_file_memory",
    "synthetic_day",
    "stream_ingest",
    "detection",
    "online_detection",
)
_PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
_HEADER = """\
# Benchmarks

Produced by `make bench`. Ratios were measured in one run, both sides in turn; absolute times belong to the machine:
{cores} cores, {system}, Python {python}, Polars {polars}.
"""


def main() -> None:
    """Run the scripts one after the other, each in a process of its own."""
    named = sys.argv[1:]
    unknown = set(named).difference(_SCRIPTS)
    if unknown:
        sys.exit(f"no benchmark {', '.join(sorted(unknown))}: there are {', '.join(_SCRIPTS)}")
    sections = {} if not named else _sections(_PAGE.read_text())
    sys.stdout.write(
        _HEADER.format(
            cores=os.cpu_count(),
            system=f"{platform.system()} {platform.machine()}",
            python=platform.python_version(),
            polars=pl.__version__,
        )
    )
    for name in _SCRIPTS:
        if not named or name in named:
            sections[name] = _section(name)
        sys.stdout.write(sections.get(name, ""))
        sys.stdout.flush()


def _section(name: str) -> str:
    print(f"running {name}", file=sys.stderr)
    done = subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], stdout=subprocess.PIPE, text=True, check=True)
    return f"\n## {_title(name)}\n\n{_summary(name)}\n\n```\n{done.stdout.strip(chr(10)).rstrip()}\n```\n"


def _sections(page: str) -> dict[str, str]:
    """The sections of a page made before, by script."""
    found = {part.partition("\n")[0]: f"\n## {part.rstrip()}\n" for part in page.split("\n## ")[1:]}
    return {name: found[_title(name)] for name in _SCRIPTS if _title(name) in found}


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _summary(name: str) -> str:
    source = Path(__file__).with_name(f"{name}.py").read_text()
    return (ast.get_docstring(ast.parse(source)) or "").split("\n\n")[0]


if __name__ == "__main__":
    main()
