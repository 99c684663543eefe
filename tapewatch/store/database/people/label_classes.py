"""The classes that people may give to labels: the built-in ones, and what admins made of the list."""

import datetime as dt
import re
from dataclasses import dataclass

import polars as pl

from tapewatch.labels.kinds import KINDS, NORMAL
from tapewatch.labels.people.human import LabelError
from tapewatch.market.tables.review import LABEL_CLASSES
from tapewatch.store.database.database import Database
from tapewatch.store.database.engine import transaction
from tapewatch.store.database.people.audit import EVERY_MARKET, record
from tapewatch.store.database.rows import as_kept
from tapewatch.store.database.upserts import upsert

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_LONGEST_NAME, _LONGEST_TEXT = 40, 300


@dataclass(frozen=True, slots=True)
class LabelClass:
    """A class, and whether new labels may be of it."""

    name: str
    is_offered: bool = True
    description: str | None = None

    @property
    def is_built_in(self) -> bool:
        return self.name in KINDS


def classes(database: Database) -> list[LabelClass]:
    """Every class, the built-in ones first."""
    rows = database.read(LABEL_CLASSES).sort("name").select("name", "is_offered", "description").rows()
    changed = {name: LabelClass(name, is_offered, text) for name, is_offered, text in rows}
    return [changed.pop(name, LabelClass(name)) for name in KINDS] + list(changed.values())


def offered(database: Database) -> tuple[str, ...]:
    """The classes of which new labels may be."""
    return tuple(each.name for each in classes(database) if each.is_offered)


def set_class(
    database: Database, name: str, *, actor: str, is_offered: bool = True, description: str | None = None
) -> LabelClass:
    """Add a class, or change whether it is offered; a description of None leaves the one that there is.

    Raises:
        LabelError: the name is none, the description is too long, or it is `normal`, which is always offered.
        DatabaseError: the database refuses.
    """
    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        raise LabelError(
            f"{name!r} is no name of a class: write up to {_LONGEST_NAME} lower-case letters, digits and single underscores, such as "
            "layered_book"
        )
    if name == NORMAL and not is_offered:
        raise LabelError(f"{NORMAL} stays: by it people say that nothing is wrong")
    if description is not None and len(description) > _LONGEST_TEXT:
        raise LabelError(f"a description has at most {_LONGEST_TEXT} characters, not {len(description)}")
    before = next((each for each in classes(database) if each.name == name), None)
    if before is None and not is_offered:
        raise LabelError(f"there is no class {name!r}: `tapewatch labels classes list` shows them")
    if description is None and before is not None:
        description = before.description
    now = dt.datetime.now(dt.UTC)
    row = {"name": name, "is_offered": is_offered, "description": description, "author": actor, "created_time": now}
    frame = LABEL_CLASSES.conform(pl.DataFrame([row], schema_overrides={"description": pl.String}))
    place = pl.DataFrame({"market": [EVERY_MARKET], "date": [now.date()]})
    with transaction(database.engine) as connection:
        upsert(connection, LABEL_CLASSES, as_kept(LABEL_CLASSES, frame, place))
        record(connection, actor, "label class", name, {"is_offered": is_offered, "description": description})
    return LabelClass(name, is_offered, description)
