"""Moves the objects of a lake of an earlier Tapewatch, `market=M/date=D.parquet`, to `market=M/date=D/part.parquet`.

An object has either name and never none, so a migration that was killed is repeated: it moves what is left.
"""

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
from upath import UPath

from tapewatch.market.tables.tape import QUARANTINE
from tapewatch.store.durable import Staging, WriteError, is_local
from tapewatch.store.lake.lake import OBJECT, WRITTEN_NS, LakeError

#: Called with the objects moved and the objects in all.
Listener = Callable[[int, int], None]


def migrate(root: str | Path | UPath, listener: Listener | None = None) -> int:
    """Move every partition of a lake to its place in the Hive layout; twice equals once.

    Nothing may write to the lake meanwhile; readers are refused until their partition is moved. Rows, footers and times of
    writing stay. On an object store each object is copied within the store, then deleted.

    Returns: how many objects were moved.

    Raises:
        LakeError: there is no lake, a partition lies in both layouts, or the lake cannot be written. What was moved stays moved.
    """
    lake = UPath(root)
    if not lake.exists():
        raise LakeError(f"there is no lake at {root}: name its folder or URL")
    old = sorted(lake.glob("*/*/market=*/date=*.parquet"))
    try:
        for done, path in enumerate(old, 1):
            _move(path)
            if listener:
                listener(done, len(old))
        _move_pages(lake)
        if is_local(lake):
            # Half-written files of killed writers, which no later write removes.
            for staged in lake.glob("*/*/market=*/.date=*.tmp"):
                staged.unlink(missing_ok=True)
    except (OSError, WriteError) as error:
        raise LakeError(
            f"the lake {root} cannot be moved to the new layout: {error}. What was moved stays moved; run "
            "`tapewatch lake migrate` again once the cause is gone"
        ) from error
    return len(old)


def _move(old: UPath) -> None:
    new = old.parent / old.stem / OBJECT
    if not is_local(old):
        _copy(old, new)
        # Only now: until the copy is complete, the old object is the partition.
        old.unlink()
        return
    if new.exists():
        raise LakeError(
            f"{old} and {new} hold the same partition: an earlier Tapewatch wrote to a lake that was moved already. "
            "Delete the one that is wrong, and run `tapewatch lake migrate` again"
        )
    new.parent.mkdir(exist_ok=True)
    Path(old.path).rename(new.path)


def _copy(old: UPath, new: UPath) -> None:
    """Copy within an object store. A load counts as of when its quarantine was written, so that time goes into the footer."""
    if not old.parent.parent.name.startswith(f"{QUARANTINE.name}_"):
        old.fs.copy(old.path, new.path)
        return
    written_ns = round(old.fs.modified(old.path).timestamp() * 1e9)
    with old.open("rb") as stream, pq.ParquetFile(stream) as file, Staging(new) as staging:
        kept = {name: text for name, text in (file.metadata.metadata or {}).items() if name.startswith(b"tapewatch.")}
        rows = file.read().replace_schema_metadata({**kept, WRITTEN_NS: str(written_ns).encode()})
        pq.write_table(rows, staging.path, compression="zstd")
        staging.swap_in()


def _move_pages(lake: UPath) -> None:
    for page in sorted(lake.glob("*/*/market=*/date=*.html")):
        market, table = page.parent, page.parent.parent
        new = (
            table.parent / "pages" / f"{table.name}-{market.name.partition('=')[2]}-{page.stem.partition('=')[2]}.html"
        )
        if is_local(page):
            new.parent.mkdir(exist_ok=True)
            Path(page.path).replace(new.path)
        else:
            page.fs.copy(page.path, new.path)
            page.unlink()
