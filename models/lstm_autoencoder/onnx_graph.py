"""The autoencoder as an ONNX graph: scaled windows in, the restored last minute out."""

from typing import Any

import numpy as np
from onnx import helper

from models.lstm_autoencoder.forward import Weights
from models.lstm_autoencoder.inputs import Floats
from models.onnx_files import constant, model_of

VALUES, MASK, OUTPUT = "values", "mask", "restored"
#: Keras orders the gates input, forget, cell, output; ONNX input, output, forget, cell.
_ORDER = (0, 3, 1, 2)


def autoencoder_graph(weights: Weights, window: int) -> Any:
    """The model of trained weights: `values` and `mask` (rows x `window` x inputs) to `restored` (rows x inputs)."""
    inputs, units = weights.output_bias.size, weights.encoder_state.shape[0]
    constants = [
        *_lstm("encoder", weights.encoder_input, weights.encoder_state, weights.encoder_bias),
        *_lstm("decoder", weights.decoder_input, weights.decoder_state, weights.decoder_bias),
        constant("code_weights", weights.code),
        constant("code_bias", weights.code_bias),
        constant("output_weights", weights.output),
        constant("output_bias", weights.output_bias),
        constant("first", np.array([0], np.int64)),
    ]
    node = helper.make_node
    nodes = [
        node("Concat", [VALUES, MASK], ["joined"], axis=2),
        # The LSTM wants minutes first.
        node("Transpose", ["joined"], ["sequence"], perm=[1, 0, 2]),
        node("LSTM", ["sequence", "encoder_w", "encoder_r", "encoder_b"], ["", "encoded"], hidden_size=units),
        node("Squeeze", ["encoded", "first"], ["hidden"]),
        node("Gemm", ["hidden", "code_weights", "code_bias"], ["linear"]),
        node("Tanh", ["linear"], ["code"]),
        # One step restores the last minute.
        node("Unsqueeze", ["code", "first"], ["step"]),
        node("LSTM", ["step", "decoder_w", "decoder_r", "decoder_b"], ["", "decoded"], hidden_size=units),
        node("Squeeze", ["decoded", "first"], ["state"]),
        node("Gemm", ["state", "output_weights", "output_bias"], [OUTPUT]),
    ]
    shape: list[Any] = ["rows", window, inputs]
    return model_of("lstm_autoencoder", nodes, constants, {VALUES: shape, MASK: shape}, OUTPUT, inputs)


def _lstm(name: str, into: Floats, state: Floats, bias: Floats) -> list[Any]:
    """Keras' kernels as ONNX has them: transposed, gates reordered, one direction, a second bias of 0."""
    ordered = [np.split(each, 4, axis=-1) for each in (into, state, bias)]
    w, r, b = (np.concatenate([parts[gate] for gate in _ORDER], axis=-1) for parts in ordered)
    return [
        constant(f"{name}_w", w.T[None]),
        constant(f"{name}_r", r.T[None]),
        constant(f"{name}_b", np.concatenate([b, np.zeros_like(b)])[None]),
    ]
