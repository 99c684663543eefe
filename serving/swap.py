"""The served model, and its replacement by the newest Bento's without a failed request."""

import threading
from dataclasses import dataclass, field
from pathlib import Path

from serving.http.log import Log
from serving.loader import Scorer
from serving.metrics import MODEL, SWAPS
from serving.store import StoredBento, StoreError


@dataclass
class Slot:
    """Holds the scorer that answers. A request reads `scorer` once and keeps it, so a swap never changes one under way.

    Args:
        scorer: warmed up.
        lineage: facts about its origin.
        bento_home: where newer Bentos appear; None to look for none.
        tag: of the Bento that is served.
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
        """Serve the newest Bento's model if it is another: it is loaded and warmed first. Returns whether it was swapped.

        A model that cannot be loaded by this code is refused, and the old one stays.
        """
        if self.bento_home is None:
            return False
        with self._lock:
            if StoredBento.latest_tag(self.bento_home) in (None, self.tag, self._refused):
                return False
            try:
                newest = StoredBento.latest(self.bento_home)
            except (StoreError, OSError):
                return False  # being built
            if newest is None:
                return False
            try:
                self.swap(load_stored(newest), newest)
            except Exception as error:  # noqa: BLE001 - whatever it is, the old model goes on
                self._refused = newest.tag
                SWAPS.labels("refused").inc()
                log.write("swap-refused", tag=newest.tag, reason=str(error), served=str(self))
                return False
        SWAPS.labels("swapped").inc()
        log.write("swapped", tag=newest.tag, model=str(self))
        return True

    def swap(self, scorer: Scorer, bento: StoredBento) -> None:
        """Answer with `scorer` from now on."""
        self._mark(0)
        self.scorer, self.tag, self.lineage, self._refused = scorer, bento.tag, bento.lineage, ""
        self._mark(1)

    def _mark(self, value: int) -> None:
        MODEL.labels(self.scorer.model.name, self.scorer.model.version).set(value)


def load_stored(bento: StoredBento) -> Scorer:
    """The scorer of a Bento, warmed up."""
    scorer = Scorer.load(bento.model_folder, name=bento.model_name, version=bento.model_version)
    scorer.warm_up()
    return scorer
