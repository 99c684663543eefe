"""The numbered revisions of the database's schema.

`python -m tapewatch.store.database.migrations "add a column"` writes the next one from the differences.
"""

from pathlib import Path

VERSIONS = Path(__file__).parent / "versions"
#: Numbers of all revisions, oldest first, from the names of their files.
REVISIONS: tuple[str, ...] = tuple(sorted(path.name[1:5] for path in VERSIONS.glob("r[0-9]*.py")))
HEAD = REVISIONS[-1]
