"""A new SQLite database of a test is a copy of one that was made once, since each revision of the schema takes its time."""

import os
import tempfile
import uuid
from contextlib import suppress
from functools import cache
from pathlib import Path

from sqlalchemy.engine import Engine

from tapewatch.store.database.engine import connect, parse
from tapewatch.store.database.schema import ensure_current


def ensure_current_by_copy(engine: Engine) -> None:
    """`ensure_current`; a file that is not there yet is copied first."""
    name = engine.url.database
    if engine.dialect.name == "sqlite" and name and name != ":memory:" and not Path(name).exists():
        _copy(Path(name))
    ensure_current(engine)


def _copy(target: Path) -> None:
    """Put a whole new file in place, unless another thread or process did meanwhile, or it cannot be written."""
    whole = target.with_name(f".{target.name}-{uuid.uuid4().hex}")
    with suppress(OSError):
        try:
            whole.write_bytes(_made())
            os.link(whole, target)
        finally:
            whole.unlink(missing_ok=True)


@cache
def _made() -> bytes:
    """The file of an empty database at the newest revision."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "new.db"
        engine = connect(parse(f"sqlite:///{file}"))
        ensure_current(engine)
        engine.dispose()
        assert not list(Path(folder).glob("*-wal")), "all of it is in the file"
        return file.read_bytes()
