"""ONNX graphs of detectors: what they share, and the check that a graph scores what its detector scores."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from models.base import DetectorError

Floats = npt.NDArray[np.float32]

#: Most that a graph's output may differ from the detector's.
PARITY = 1e-5
_OPSET, _ML_OPSET, _IR = 17, 3, 8


def constant(name: str, values: npt.NDArray[Any]) -> Any:
    """A tensor that the graph holds."""
    return numpy_helper.from_array(np.ascontiguousarray(values), name)


def trees_of(columns: dict[str, Any], into: str, out: str, *, is_double: bool = False) -> Any:
    """A node that sums the leaves that a row reaches in each of its trees (rows x 1, float32).

    Args:
        columns: the attributes of nodes and leaves, as ONNX names them; thresholds are float64.
        into, out: names of input and output.
        is_double: compare and add in float64; else in float32, with thresholds floored.
    """
    values, weights = columns["nodes_values"], columns["target_weights"]
    if is_double:
        names = {"nodes_values": "nodes_values_as_tensor", "target_weights": "target_weights_as_tensor"}
        columns = {name: each for name, each in columns.items() if name not in names}
        columns |= {
            new: constant(new, np.asarray(own, np.float64))
            for new, own in zip(names.values(), (values, weights), strict=True)
        }
    else:
        columns = columns | {"nodes_values": floored(np.asarray(values)).tolist()}
    return helper.make_node(
        "TreeEnsembleRegressor",
        [into],
        [out],
        domain="ai.onnx.ml",
        aggregate_function="SUM",
        n_targets=1,
        post_transform="NONE",
        **columns,
    )


def floored(thresholds: Any) -> Floats:
    """The greatest float32 not above each: a float32 value is at or below it just where it is at or below the threshold."""
    nearest = thresholds.astype(np.float32)
    return np.asarray(np.where(nearest > thresholds, np.nextafter(nearest, np.float32(-np.inf)), nearest))


def model_of(
    name: str,
    nodes: list[Any],
    constants: list[Any],
    inputs: dict[str, list[Any]],
    output: str,
    width: int,
    *,
    is_double: bool = False,
) -> Any:
    """A checked model with float32 (or float64) inputs (name to shape; text for a free size) and one float32 output, rows x `width`."""
    kind = TensorProto.DOUBLE if is_double else TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info(key, kind, shape) for key, shape in inputs.items()],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["rows", width])],
        constants,
    )
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid("ai.onnx.ml", _ML_OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR, producer_name="tapewatch")
    onnx.checker.check_model(model)
    return model


def session(model: Any) -> onnxruntime.InferenceSession:
    """A session of a model or its bytes on one thread, which is fastest for a row."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    data = model if isinstance(model, bytes) else model.SerializeToString()
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def write_checked(model: Any, path: Path, inputs: dict[str, Floats], expected: npt.NDArray[Any]) -> float:
    """Write `model` to `path` if it agrees with the detector; returns the greatest difference.

    Args:
        model: the graph.
        path: the file; untouched if the graph does not agree.
        inputs: of the graph.
        expected: the detector's output of the same rows.

    Raises:
        DetectorError: a difference is above `PARITY`.
    """
    (got,) = session(model).run(None, inputs)
    off = float(np.max(np.abs(got.reshape(expected.shape) - expected), initial=0.0))
    if not off <= PARITY:
        raise DetectorError(f"{path.name}: the ONNX graph differs from the detector by {off:.2g}, over {PARITY:.0e}")
    path.write_bytes(model.SerializeToString())
    return off
