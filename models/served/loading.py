"""Loads a saved detector for serving, of whatever class it is, and writes the graphs that it is served with."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from models.base import DetectorError
from models.ensemble.storage import member_folders
from models.loading import detector_name, load_detector
from models.served import classifier, ensemble, forest
from models.served.base import RowScorer, graph_of, paths_of
from models.served.frames import FrameScorer
from models.served.parity import expect_parity

#: The graph of a detector, and the trees of its reasons.
_MADE: Final[dict[str, tuple[Callable[[Path], bytes], Callable[[Path], dict[str, Any]]]]] = {
    forest.NAME: (forest.forest_graph, forest.forest_paths),
    classifier.NAME: (classifier.classifier_graph, classifier.classifier_paths),
}


def load_row_scorer(folder: Path) -> RowScorer:
    """The detector saved in `folder`, to be served.

    Raises:
        DetectorError: as `load_detector`.
    """
    try:
        match detector_name(folder):
            case forest.NAME:
                return forest.ForestScorer.load(folder)
            case classifier.NAME:
                return classifier.ClassifierScorer.load(folder)
            case ensemble.NAME:
                members = [load_row_scorer(each) for each in member_folders(folder)]
                return ensemble.EnsembleScorer.load(folder, members)
            case _:
                return FrameScorer(load_detector(folder))
    except (KeyError, ValueError, OSError) as error:
        raise DetectorError(f"{folder} cannot be used: {error}") from error


def write_graphs(saved: Path, target: Path) -> None:
    """Write the graphs and trees that serving needs of the detector in `saved` into the folder `target`, laid out as `saved` is.

    Whatever is served is then compared with the detector itself (`expect_parity`).

    Raises:
        DetectorError: what would be served does not score as the detector does.
    """
    _write(saved, target)
    if any(target.rglob("*.onnx")):
        expect_parity(saved, target, load_row_scorer)


def _write(saved: Path, target: Path) -> None:
    name = detector_name(saved)
    target.mkdir(parents=True, exist_ok=True)
    if name in _MADE:
        make_graph, make_paths = _MADE[name]
        graph_of(target, name).write_bytes(make_graph(saved))
        np.savez(paths_of(target, name), **make_paths(saved))
    if name == ensemble.NAME:
        for member in member_folders(saved):
            _write(member, target / member.relative_to(saved))
