"""The place where a team shares labels: a folder or bucket to which every push adds one object, and none is ever replaced.

Two people who push at once add two objects; what they say of the same label is compared at the next pull or push.
"""

import datetime as dt
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
from upath import UPath

from tapewatch.labels.people.human import HumanLabel, LabelError
from tapewatch.labels.shared.merging import Change, Merge, compare
from tapewatch.labels.shared.revisions import Revision, pushed_text, read_pushed
from tapewatch.market.tables.live import LABELS
from tapewatch.store.database.database import Database
from tapewatch.store.database.people.human_labels import exchange_labels
from tapewatch.store.durable import is_local, is_of_object_store, make_folder, process_lock, write_whole

_SUFFIX = ".labels.json"


@dataclass(frozen=True)
class SharedLabels:
    """The labels of a folder or fsspec URL. `memory` is where this deployment keeps what it has seen of it."""

    url: str
    memory: Path

    @classmethod
    def at(cls, url: str, home: Path) -> "SharedLabels":
        """The place `url`, for the deployment of a home."""
        digest = hashlib.sha256(url.rstrip("/").encode()).hexdigest()[:16]
        return cls(url, home / "labels" / f"{digest}.json")

    def alone(self) -> filelock.BaseFileLock:
        """Held while this deployment compares, pulls or pushes."""
        return process_lock(self.memory.with_suffix(".lock"))

    def compare(self, database: Database) -> Merge:
        """The labels of the database against those of the place.

        Raises:
            LabelError: the place cannot be read, or holds something else.
        """
        rows = database.read(LABELS).iter_rows(named=True)
        ours = {label.label_id: label for label in map(HumanLabel.of_row, rows)}
        return compare(ours, self._revisions(), self._seen())

    def push(self, changes: Sequence[Change], seen: dict[str, list[str]], pushed_by: str) -> None:
        """Add an object with these changes, and note that they were seen here."""
        now = dt.datetime.now(dt.UTC)
        made = [Revision(each.label_id, each.replaces, each.label, pushed_by, now) for each in changes]
        if made:
            self._add(pushed_text(made, pushed_by, now), pushed_by, now)
        self.note(seen | {each.label_id: [each.revision_id] for each in made})

    def pull(self, database: Database, merge: Merge, actor: str) -> None:
        """Bring what is incoming into the database, all or nothing, and note that it was seen here.

        Raises:
            LabelError: a label cannot be taken; nothing was changed.
            DatabaseError: the database refuses; nothing was changed.
        """
        added = [each.label for each in merge.incoming if each.label is not None]
        removed = [each.label_id for each in merge.incoming if each.label is None]
        removed += [label.label_id for label in merge.dropped]
        if added or removed:
            exchange_labels(database, added, removed, found=merge.ours, actor=actor, source=self.url)
        self.note(merge.seen | merge.pulled)

    def note(self, seen: dict[str, list[str]]) -> None:
        """Keep what was seen, beside the database."""
        make_folder(self.memory.parent)
        write_whole(self.memory, json.dumps({"url": self.url, "seen": seen}), is_shared=True)

    def _add(self, text: str, pushed_by: str, now: dt.datetime) -> None:
        who = re.sub(r"[^A-Za-z0-9_.-]", "_", pushed_by)
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        path = self._root / f"{now:%Y%m%dT%H%M%S%f}-{who}-{digest}{_SUFFIX}"
        with self._answering("written"):
            if is_local(path):
                folder = Path(path.path).parent
                make_folder(folder)
                write_whole(folder / path.name, text)
            else:
                path.write_bytes(text.encode())

    def _revisions(self) -> list[Revision]:
        with self._answering("read"):
            root = self._root
            names = sorted(path.path for path in root.glob(f"*{_SUFFIX}"))
            texts: dict[str, Any] = root.fs.cat(names) if names else {}
        return [each for name in sorted(texts) for each in read_pushed(texts[name].decode("utf-8", "replace"), name)]

    @contextmanager
    def _answering(self, done: str) -> Iterator[None]:
        """Turn what a client of an object store or the system raises into a LabelError."""
        try:
            yield
        except Exception as error:
            if not is_of_object_store(error) and not isinstance(error, (OSError, ValueError, ImportError)):
                raise
            raise LabelError(
                f"{self.url} cannot be {done} ({error}): check the address, for a bucket AWS_ENDPOINT_URL and the credentials too"
            ) from error

    def _seen(self) -> dict[str, list[str]]:
        if not self.memory.exists():
            return {}
        return dict(json.loads(self.memory.read_text(encoding="utf-8"))["seen"])

    @property
    def _root(self) -> UPath:
        # Others write too: a kept listing of a bucket would hide their objects.
        return UPath(self.url, use_listings_cache=False) if self.url.startswith("s3:") else UPath(self.url)
