"""SHAP values of trees that are kept as arrays: by SHAP's compiled kernel, without SHAP's package and scikit-learn."""

import importlib.machinery
import importlib.util
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final, Self

import numpy as np

from models.base import DetectorError, Scores
from models.served.base import paths_of

#: What the kernel reads of SHAP's `TreeEnsemble`, in its order.
_ARRAYS: Final = (
    "children_left",
    "children_right",
    "children_default",
    "features",
    "thresholds",
    "threshold_types",
    "values",
    "node_sample_weight",
)
#: The kernel's codes of path-dependent values, and of what is explained as it is.
_PATH_DEPENDENT, _IDENTITY = 1, 0


class TreePaths:
    """Trees, and how many training rows went along each of their paths (Lundberg et al. 2020, path-dependent TreeSHAP).

    Args:
        arrays: by the names that `arrays_of` gives.

    Raises:
        ValueError: they are not those of trees.
    """

    def __init__(self, arrays: dict[str, Any]) -> None:
        if fault := _fault(arrays):
            raise ValueError(fault)
        self._inputs = int(arrays["features"].max()) + 1
        self._trees = [arrays[name] for name in _ARRAYS]
        self._depth, self._dtype = int(arrays["max_depth"]), arrays["input_dtype"].dtype
        self._base = arrays["base_offset"]

    @classmethod
    def load(cls, file: Path) -> Self:
        """From the file that `write` wrote.

        Raises:
            DetectorError: it is no such file.
        """
        try:
            with np.load(file) as stored:
                return cls(dict(stored))
        except (OSError, ValueError, KeyError) as error:
            raise DetectorError(f"{file} cannot be used: {error}. Build the Bento again") from error

    def contributions(self, inputs: Scores) -> Scores:
        """SHAP values: rows x inputs."""
        if inputs.shape[1] < self._inputs:
            raise DetectorError(f"the trees read {self._inputs} inputs, and there are {inputs.shape[1]}")
        given = np.ascontiguousarray(inputs.astype(self._dtype))
        found = np.zeros((*given.shape[:1], given.shape[1] + 1, 1))
        unknown = np.isnan(given)
        _kernel().dense_tree_shap(
            *self._trees,
            self._depth,
            given,
            unknown,
            None,
            None,
            None,
            len(self._trees[0]),
            self._base,
            found,
            _PATH_DEPENDENT,
            _IDENTITY,
            False,
        )
        return np.asarray(found[:, :-1, 0])


class Paths:
    """The trees that give a served detector's reasons, loaded for the first of them; safe to share between threads.

    Args:
        folder: of the saved detector, with the trees' file; without one they are what `make` makes of the folder.
        name: of the detector.
    """

    def __init__(self, folder: Path, name: str, make: Callable[[Path], dict[str, Any]]) -> None:
        self._folder, self._file, self._make = folder, paths_of(folder, name), make
        self._lock = threading.Lock()
        self._trees: TreePaths | None = None

    def contributions(self, inputs: Scores) -> Scores:
        """As `TreePaths.contributions`."""
        with self._lock:
            if self._trees is None:
                is_kept = self._file.is_file()
                self._trees = TreePaths.load(self._file) if is_kept else TreePaths(self._make(self._folder))
        return self._trees.contributions(inputs)


def arrays_of(explainer: Any) -> dict[str, Any]:
    """What SHAP's `TreeExplainer` of one output holds of its trees."""
    model = explainer.model
    arrays = {name: np.ascontiguousarray(getattr(model, name)) for name in _ARRAYS}
    further = {"max_depth": np.array(model.max_depth), "base_offset": np.asarray(model.base_offset, np.float64)}
    return {**arrays, **further, "input_dtype": np.empty(0, model.input_dtype)}


def _fault(arrays: dict[str, Any]) -> str:
    """Why the kernel, which checks nothing, would read beyond its arrays; empty if it would not."""
    shapes = {arrays[name].shape[:2] for name in _ARRAYS}
    if len(shapes) != 1 or any(arrays[name].ndim < 2 for name in _ARRAYS):
        return "the arrays do not belong together"
    width = arrays["features"].shape[1]
    is_outside = any(arrays[name].max(initial=-1) >= width for name in _ARRAYS[:3])
    return "a node has a child outside its tree" if is_outside else ""


@cache
def _kernel() -> Any:
    """SHAP's extension, loaded by its file: importing the package takes seconds and brings scikit-learn."""
    package = importlib.util.find_spec("shap")
    folders = list(package.submodule_search_locations or ()) if package else []
    spec = importlib.machinery.PathFinder.find_spec("_cext", folders)
    if spec is None or spec.loader is None:
        raise DetectorError("SHAP's compiled kernel is missing: install shap")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
