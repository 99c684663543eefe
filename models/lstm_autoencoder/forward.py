"""The autoencoder's forward pass in NumPy, so that scoring needs no deep-learning framework."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import numpy.typing as npt

from models.lstm_autoencoder.inputs import Floats

_CHUNK = 4096


@dataclass(frozen=True)
class Weights:
    """Float32 arrays, as Keras orders them: LSTM gates are input, forget, cell, output.

    The decoder gets the code at every step and restores the window backwards, its last minute first (Malhotra et al. 2016).
    """

    encoder_input: Floats
    encoder_state: Floats
    encoder_bias: Floats
    code: Floats
    code_bias: Floats
    decoder_input: Floats
    decoder_state: Floats
    decoder_bias: Floats
    output: Floats
    output_bias: Floats

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[np.float32]]) -> Self:
        """The weights in a mapping by field name; raises KeyError where one is missing."""
        return cls(**{field.name: np.ascontiguousarray(arrays[field.name], np.float32) for field in fields(cls)})


def restored(weights: Weights, values: Floats, mask: Floats) -> Floats:
    """The last minute of each window as the autoencoder restores it: windows x inputs, float32.

    Args:
        weights: trained.
        values: windows x minutes x inputs, 0 where masked.
        mask: the same shape, 1 where a value is known.
    """
    parts = [
        _restored(weights, values[start : start + _CHUNK], mask[start : start + _CHUNK])
        for start in range(0, len(values), _CHUNK)
    ]
    return np.concatenate(parts) if parts else np.empty((0, weights.output_bias.size), np.float32)


def _restored(weights: Weights, values: Floats, mask: Floats) -> Floats:
    joined = np.concatenate([values, mask], axis=2)
    units = weights.encoder_state.shape[0]
    hidden = np.zeros((len(joined), units), np.float32)
    cell = np.zeros_like(hidden)
    for minute in range(joined.shape[1]):
        gates = joined[:, minute] @ weights.encoder_input + hidden @ weights.encoder_state + weights.encoder_bias
        hidden, cell = _step(gates, cell)
    code = np.tanh(hidden @ weights.code + weights.code_bias)
    first, _ = _step(code @ weights.decoder_input + weights.decoder_bias, np.zeros_like(cell))
    return np.asarray(first @ weights.output + weights.output_bias, np.float32)


def _step(gates: Floats, cell: Floats) -> tuple[Floats, Floats]:
    into, forget, new, out = np.split(gates, 4, axis=1)
    cell = _sigmoid(forget) * cell + _sigmoid(into) * np.tanh(new)
    return np.asarray(_sigmoid(out) * np.tanh(cell)), np.asarray(cell)


def _sigmoid(values: Floats) -> Floats:
    # By tanh: no overflow, whatever the sign.
    half = np.float32(0.5)
    return np.asarray(half * np.tanh(half * values) + half)
