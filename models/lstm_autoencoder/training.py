"""The training loop: early stopping on held-out days, and a checkpoint after each epoch."""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from models.base import DetectorError
from models.lstm_autoencoder.checkpoint import Progress, read, write
from models.lstm_autoencoder.forward import Weights
from models.lstm_autoencoder.inputs import Indices, Minutes

#: A loss that falls by less has not fallen.
_LEAST_GAIN = 1e-4


@dataclass(frozen=True, slots=True)
class AutoencoderParameters:
    """Sizes of the network, and how it is trained.

    `windows_an_epoch` bounds the time of an epoch: each draws that many of the training windows. Training ends after `epochs`, or
    once the held-out loss has not fallen for `patience` of them.
    """

    window: int = 16
    units: int = 32
    code: int = 6
    epochs: int = 24
    patience: int = 4
    batch: int = 256
    windows_an_epoch: int = 8192
    learning_rate: float = 4e-3
    alerts_per_symbol_hour: float = 0.7
    backend: str = "tensorflow"


@dataclass(frozen=True, slots=True)
class Epoch:
    """A finished epoch: its number from 1, the losses of learnt and of held-out windows, and whether it was the best."""

    number: int
    loss: float
    held_out_loss: float
    is_best: bool


def train(
    minutes: Minutes,
    learnt: Indices,
    held_out: Indices,
    parameters: AutoencoderParameters,
    *,
    seed: int,
    checkpoint: Path | None = None,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
) -> Weights:
    """Weights of the epoch with the least loss on the held-out windows.

    Args:
        minutes: scaled minutes.
        learnt, held_out: rows at which the windows end.
        parameters: of network and training.
        seed: of the first weights and of the draws.
        checkpoint: a file (`.npz`) written after each epoch. If it is there and of this very training, the training continues
            from it, to the same weights as an undisturbed one. Removed at the end.
        on_epoch: called after each epoch, when its checkpoint is written.

    Raises:
        DetectorError: the backend cannot be used, or the loss is not finite.
    """
    from models.lstm_autoencoder.network import Network, Shape  # noqa: PLC0415 - takes seconds, only to train

    shape = Shape(parameters.window, minutes.values.shape[1], parameters.units, parameters.code)
    network = Network(shape, seed=seed, learning_rate=parameters.learning_rate, backend=parameters.backend)
    key = _key(minutes, learnt, held_out, parameters, seed)
    state = read(checkpoint, key) if checkpoint else None
    if state is None:
        state = Progress(0, 0, np.inf, network.state(), {})
    else:
        network.restore(state.network)
    unseen = minutes.windows(held_out)
    while state.epoch < parameters.epochs and state.epoch - state.best_epoch < parameters.patience:
        number = state.epoch + 1
        drawn = np.random.default_rng([seed, number]).permutation(learnt)[: parameters.windows_an_epoch]
        loss = network.epoch(*minutes.windows(drawn), np.arange(drawn.size), parameters.batch)
        held_out_loss = network.loss(*unseen, parameters.batch)
        if not np.isfinite([loss, held_out_loss]).all():
            raise DetectorError(
                f"the loss of epoch {number} is {loss} (held out: {held_out_loss}): lower the learning rate"
            )
        is_best = held_out_loss < state.best_loss - _LEAST_GAIN
        state.epoch, state.network = number, network.state()
        if is_best:
            state.best_epoch, state.best_loss, state.best = number, held_out_loss, asdict(network.weights())
        if checkpoint:
            write(checkpoint, key, state)
        on_epoch(Epoch(number, loss, held_out_loss, is_best))
    if checkpoint:
        checkpoint.unlink(missing_ok=True)
    return Weights.of(state.best)


def _key(minutes: Minutes, learnt: Indices, held_out: Indices, parameters: AutoencoderParameters, seed: int) -> str:
    """A digest of all that the training depends on."""
    digest = hashlib.sha256(repr((parameters, seed)).encode())
    for array in (minutes.values, minutes.known, minutes.before, learnt, held_out):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
