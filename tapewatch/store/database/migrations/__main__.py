"""Writes the next revision from the differences between the revisions so far and `tables.py`.

    python -m tapewatch.store.database.migrations "add a column for the venue"

Read the result before you commit it: a renamed column looks like one dropped and one added.
"""

import sys
import tempfile
from pathlib import Path

from alembic import command

from tapewatch.store.database.database import Database
from tapewatch.store.database.migrations import HEAD
from tapewatch.store.database.schema import alembic_config


def main() -> None:
    """Bring an empty database to the newest revision and let Alembic compare."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with (
        tempfile.TemporaryDirectory() as folder,
        Database(f"sqlite:///{Path(folder) / 'empty.db'}") as database,
        database.engine.begin() as connection,
    ):
        command.revision(alembic_config(connection), sys.argv[1], autogenerate=True, rev_id=f"{int(HEAD) + 1:04d}")


if __name__ == "__main__":
    main()
