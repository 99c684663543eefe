"""The served model, and its replacement by another of the store without a failed request."""

import threading
from dataclasses import dataclass, field
from pathlib import Path

from serving.http.log import Log
from serving.loader import Scorer
from serving.metrics import MODEL, SWAPS
from serving.store import CHAMPION, StoredModel, pointed


@dataclass
class Slot:
    """Holds the scorer that answers. A request reads `scorer` once and keeps it, so a swap never changes one under way.

    Args:
        scorer: warmed up.
        lineage: facts about its origin.
        bento_home: the store that names the champion; None to look for no other.
        tag: of the model that is served.
    """

    scorer: Scorer
    lineage: dict[str, str] = field(default_factory=dict)
    bento_home: Path | None = None
    tag: str = ""
    _refused: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._mark(1)

    def __str__(self) -> str:
        return f"{self.scorer.model.name} {self.scorer.model.version}"

    def look(self, log: Log) -> bool:
        """Serve the store's champion if it is another: it is loaded and warmed first. Returns whether it was swapped.

        A model that cannot be loaded by this code is refused, and the old one stays.
        """
        if self.bento_home is None:
            return False
        with self._lock:
            tag = pointed(self.bento_home, CHAMPION)
            if tag in ("", self.tag, self._refused):
                return False
            stored = StoredModel.find(self.bento_home, tag)
            if stored is None:
                return False  # being built
            try:
                self.swap(load_stored(stored), stored)
            except Exception as error:  # noqa: BLE001 - whatever it is, the old model goes on
                self._refused = tag
                SWAPS.labels("refused").inc()
                log.write("swap-refused", tag=tag, reason=str(error), served=str(self))
                return False
        SWAPS.labels("swapped").inc()
        log.write("swapped", tag=tag, model=str(self))
        return True

    def swap(self, scorer: Scorer, stored: StoredModel) -> None:
        """Answer with `scorer` from now on."""
        self._mark(0)
        self.scorer, self.tag, self.lineage, self._refused = scorer, stored.tag, stored.lineage, ""
        self._mark(1)

    def _mark(self, value: int) -> None:
        MODEL.labels(self.scorer.model.name, self.scorer.model.version).set(value)


def load_stored(stored: StoredModel) -> Scorer:
    """The scorer of a stored model, warmed up."""
    scorer = Scorer.load(stored.folder, name=stored.name, version=stored.version)
    scorer.warm_up()
    return scorer
