"""A training between two epochs, kept in a file."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from models.lstm_autoencoder.inputs import Floats


@dataclass
class Progress:
    """Finished epochs, the best one and its loss and weights, and the network's state, on which the next epoch depends."""

    epoch: int
    best_epoch: int
    best_loss: float
    network: list[npt.NDArray[Any]]
    best: dict[str, Floats]


def write(path: Path, key: str, progress: Progress) -> None:
    """Replace the checkpoint atomically; `key` says which training it is of."""
    arrays: dict[str, Any] = {f"network_{at}": array for at, array in enumerate(progress.network)}
    arrays |= {f"best_{name}": array for name, array in progress.best.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez(file, key=key, at=[progress.epoch, progress.best_epoch], loss=progress.best_loss, **arrays)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def read(path: Path, key: str) -> Progress | None:
    """The checkpoint; None where there is none, it is of another training, or unreadable."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if str(file["key"]) != key:
                return None
            epoch, best_epoch = (int(each) for each in file["at"])
            count = sum(name.startswith("network_") for name in file.files)
            best = {name.removeprefix("best_"): file[name] for name in file.files if name.startswith("best_")}
            return Progress(
                epoch, best_epoch, float(file["loss"]), [file[f"network_{at}"] for at in range(count)], best
            )
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None
