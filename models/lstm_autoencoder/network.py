"""The network in Keras 3: the one file that knows a deep-learning framework. It is imported when a detector is trained."""

import importlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from models.base import DetectorError
from models.lstm_autoencoder.forward import Weights
from models.lstm_autoencoder.inputs import Floats

#: Names of Keras' backends and of the packages that they need.
BACKENDS = {"tensorflow": "tensorflow", "jax": "jax", "torch": "torch"}
#: Information of absl, and that it comes before absl's own start.
_GREETINGS = (b"I0000 ", b"WARNING: All log messages before absl")
_INSTALL = "install it with `make install`, or `uv sync --extra deep`"


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of the network."""

    window: int
    inputs: int
    units: int
    code: int


def check_installed(backend: str) -> None:
    """Raises DetectorError if `backend` is unknown, or it or Keras is not installed; imports neither."""
    if backend not in BACKENDS:
        raise DetectorError(f"the backend of Keras is one of {', '.join(BACKENDS)}, not {backend!r}")
    if importlib.util.find_spec("keras") is None or importlib.util.find_spec(BACKENDS[backend]) is None:
        raise DetectorError(f"Keras with {backend} is not installed: {_INSTALL}")


def keras_with(backend: str) -> ModuleType:
    """Keras on `backend`.

    Raises:
        DetectorError: the backend is unknown or not installed, or Keras runs on another in this process.
    """
    check_installed(backend)
    before = os.environ.get("KERAS_BACKEND")
    os.environ["KERAS_BACKEND"] = backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with _without_greetings():
            keras = importlib.import_module("keras")
    finally:
        if before is None:
            del os.environ["KERAS_BACKEND"]
        else:
            os.environ["KERAS_BACKEND"] = before
    if keras.backend.backend() != backend:
        raise DetectorError(
            f"Keras runs on {keras.backend.backend()} in this process already: train with {backend} in another one"
        )
    return keras


@contextmanager
def _without_greetings() -> Iterator[None]:
    """Leave out what TensorFlow's own code writes to the error stream on loading, whatever its log level; all else is written after it."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as written:
        stderr = os.dup(2)
        os.dup2(written.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            written.seek(0)
            for line in written:
                if not line.startswith(_GREETINGS):
                    os.write(2, line)


class Network:
    """A network in training. `state` and `restore` make an interrupted training continue as if nothing had happened."""

    def __init__(self, shape: Shape, *, seed: int, learning_rate: float, backend: str) -> None:
        self._keras = keras_with(backend)
        self._shape = shape
        self._model = self._build(seed)
        optimizer = self._keras.optimizers.Adam(learning_rate, clipnorm=1.0)
        # Without compilation by XLA, which would take longer than a small training.
        self._model.compile(optimizer, loss=self._loss, jit_compile=False)
        optimizer.build(self._model.trainable_variables)

    def epoch(self, values: Floats, mask: Floats, order: Any, batch: int) -> float:
        """Train once over the windows in `order`; the mean loss."""
        joined = np.concatenate([values, mask], axis=2)[order]
        history = self._model.fit(joined, joined[:, ::-1], batch_size=batch, epochs=1, shuffle=False, verbose=0)
        return float(history.history["loss"][0])

    def loss(self, values: Floats, mask: Floats, batch: int) -> float:
        """The mean loss of windows that are not learnt."""
        joined = np.concatenate([values, mask], axis=2)
        return float(self._model.evaluate(joined, joined[:, ::-1], batch_size=batch, verbose=0))

    def predict(self, values: Floats, mask: Floats) -> Floats:
        """The whole window, last minute first, as Keras restores it: the peer of `forward.restored`."""
        return np.asarray(self._model.predict(np.concatenate([values, mask], axis=2), verbose=0), np.float32)

    def weights(self) -> Weights:
        """The weights as arrays."""
        encoder, code, _, decoder, output = self._model.layers[1:]
        named = zip(
            ("encoder_input", "encoder_state", "encoder_bias", "code", "code_bias",
             "decoder_input", "decoder_state", "decoder_bias", "output", "output_bias"),
            [array for layer in (encoder, code, decoder, output) for array in layer.get_weights()],
            strict=True,
        )  # fmt: skip
        return Weights.of(dict(named))

    def state(self) -> list[Any]:
        """All that the next epoch depends on: weights, then the optimizer's variables."""
        return [np.array(self._keras.ops.convert_to_numpy(variable.value)) for variable in self._variables()]

    def restore(self, state: list[Any]) -> None:
        """Continue from `state`."""
        for variable, value in zip(self._variables(), state, strict=True):
            variable.assign(value)

    def _variables(self) -> Iterator[Any]:
        yield from self._model.variables
        yield from self._model.optimizer.variables

    def _build(self, seed: int) -> Any:
        layers, shape = self._keras.layers, self._shape
        window = self._keras.Input((shape.window, 2 * shape.inputs))
        code = layers.LSTM(shape.units, **self._drawn(seed))(window)
        code = layers.Dense(shape.code, activation="tanh", kernel_initializer=self._glorot(seed + 1))(code)
        decoded = layers.LSTM(shape.units, return_sequences=True, **self._drawn(seed + 2))(
            layers.RepeatVector(shape.window)(code)
        )
        return self._keras.Model(window, layers.Dense(shape.inputs, kernel_initializer=self._glorot(seed + 3))(decoded))

    def _drawn(self, seed: int) -> dict[str, Any]:
        orthogonal = self._keras.initializers.Orthogonal(seed=seed)
        return {"kernel_initializer": self._glorot(seed), "recurrent_initializer": orthogonal}

    def _glorot(self, seed: int) -> Any:
        return self._keras.initializers.GlorotUniform(seed=seed)

    def _loss(self, wanted: Any, restored: Any) -> Any:
        """Huber's loss of known values: a few anomalies among the training minutes must not rule."""
        ops = self._keras.ops
        values, mask = wanted[..., : self._shape.inputs], wanted[..., self._shape.inputs :]
        off = ops.abs(values - restored)
        each = ops.where(off < 1.0, 0.5 * off * off, off - 0.5)
        return ops.sum(mask * each, axis=(1, 2)) / ops.maximum(ops.sum(mask, axis=(1, 2)), 1.0)
