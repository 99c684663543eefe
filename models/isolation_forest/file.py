"""The file of a fitted forest (skops). Both ways take a second, so the last few are kept: a fitted forest never changes.

A run writes and reads the same forest in many steps: alone, and as a member of the ensemble.
"""

from collections import deque
from pathlib import Path

from sklearn.ensemble import IsolationForest

_TRUSTED = ["sklearn.tree._tree.Tree"]
#: Forests and their files. What was written is read from its file once all the same.
_written: deque[tuple[IsolationForest, bytes]] = deque(maxlen=2)
_read: deque[tuple[bytes, IsolationForest]] = deque(maxlen=4)


def write_forest(forest: IsolationForest, path: Path) -> None:
    """Write a forest to `path`."""
    content = next((content for known, content in _written if known is forest), None)
    if content is None:
        from skops.io import dumps  # noqa: PLC0415 - takes seconds, since it imports every estimator

        content = dumps(forest)
        _written.append((forest, content))
    path.write_bytes(content)


def read_forest(path: Path) -> IsolationForest:
    """The forest in `path`; the same object for the same content."""
    content = path.read_bytes()
    forest = next((forest for known, forest in _read if known == content), None)
    if forest is None:
        from skops.io import loads  # noqa: PLC0415 - as above

        forest = loads(content, trusted=_TRUSTED)
        _read.append((content, forest))
    return forest
