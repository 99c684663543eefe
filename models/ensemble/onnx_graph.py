"""What the ensemble adds to its members as an ONNX graph: their scores and each row's market in, the score out."""

from typing import Any

import numpy as np
from onnx import TensorProto, helper

from models.base import Scores
from models.calibration.levels import Level, Levels
from models.onnx_files import constant, model_of
from models.profile import EVERY_MARKET

SCORES, MARKET, OUTPUT = "scores", "market", "score"
_EVERY = EVERY_MARKET


def markets_of(levels: dict[str, Levels], whole: str) -> list[str]:
    """The markets by their number in the graph; the last stands for all others."""
    return [*sorted(set(levels[whole].by_market) - {_EVERY}), _EVERY]


def ensemble_graph(levels: dict[str, Levels], members: list[str], whole: str) -> Any:
    """The model of calibrated members: `scores` (rows x members) and `market` (rows x 1, a number of `markets_of`) to `score`."""
    markets = markets_of(levels, whole)
    constants, nodes = [], [helper.make_node("Cast", [MARKET], ["number"], to=TensorProto.INT64)]
    nodes.append(helper.make_node("Squeeze", ["number", "last_axis"], ["at"]))
    constants.append(constant("last_axis", np.array([1], np.int64)))
    parts, weights = [], []
    for position, name in enumerate(members):
        constants.append(constant(f"{name}_column", np.array([position], np.int64)))
        nodes.append(helper.make_node("Gather", [SCORES, f"{name}_column"], [f"{name}_score"], axis=1))
        own = [levels[name].by_market.get(market) if market != _EVERY else None for market in markets]
        _level(name, f"{name}_score", own, nodes, constants)
        constants.append(constant(f"{name}_judges", np.array([[float(each is not None)] for each in own], np.float32)))
        nodes.append(helper.make_node("Gather", [f"{name}_judges", "at"], [f"{name}_weight"], axis=0))
        nodes.append(helper.make_node("Mul", [f"{name}_level", f"{name}_weight"], [f"{name}_part"]))
        parts.append(f"{name}_part")
        weights.append(f"{name}_weight")
    constants.append(constant("one", np.array(1.0, np.float32)))
    nodes += [
        helper.make_node("Sum", parts, ["total"]),
        helper.make_node("Sum", weights, ["judging"]),
        helper.make_node("Max", ["judging", "one"], ["divisor"]),
        helper.make_node("Div", ["total", "divisor"], ["margin"]),
    ]
    pooled = levels[whole].by_market[_EVERY]
    _level("whole", "margin", [levels[whole].by_market.get(market, pooled) for market in markets], nodes, constants)
    # h / (h + 6.5) = 1 / (1 + 12 * 10 ** (1 - level)) is a logistic function of the level.
    constants += [
        constant("steepness", np.array(np.log(10.0), np.float32)),
        constant("middle", np.array(1.0 + np.log10(12.0), np.float32)),
    ]
    nodes += [
        helper.make_node("Sub", ["whole_level", "middle"], ["above"]),
        helper.make_node("Mul", ["above", "steepness"], ["odds"]),
        helper.make_node("Sigmoid", ["odds"], [OUTPUT]),
    ]
    return model_of("ensemble", nodes, constants, {SCORES: ["rows", len(members)], MARKET: ["rows", 1]}, OUTPUT, 1)


def _level(name: str, of: str, levels: list[Level | None], nodes: list[Any], constants: list[Any]) -> None:
    """Nodes of the level of a column: pieces between knots, each with its slope, chosen by market; an open one at the end."""
    knots, slopes = _pieces(levels)
    lengths = np.append(np.diff(knots, axis=1), np.full((len(levels), 1), 1e30), axis=1)
    for part, table in (("knots", knots), ("lengths", lengths), ("slopes", slopes)):
        constants.append(constant(f"{name}_{part}_table", table.astype(np.float32)))
        nodes.append(helper.make_node("Gather", [f"{name}_{part}_table", "at"], [f"{name}_{part}"], axis=0))
    constants += [
        constant(f"{name}_zero", np.array(0.0, np.float32)),
        constant(f"{name}_pieces", np.array([1], np.int64)),
    ]
    nodes += [
        helper.make_node("Sub", [of, f"{name}_knots"], [f"{name}_beyond"]),
        helper.make_node("Max", [f"{name}_beyond", f"{name}_zero"], [f"{name}_reached"]),
        helper.make_node("Min", [f"{name}_reached", f"{name}_lengths"], [f"{name}_run"]),
        helper.make_node("Mul", [f"{name}_run", f"{name}_slopes"], [f"{name}_rises"]),
        helper.make_node("ReduceSum", [f"{name}_rises", f"{name}_pieces"], [f"{name}_level"], keepdims=1),
    ]


def _pieces(levels: list[Level | None]) -> tuple[Scores, Scores]:
    """Knots and slopes of the pieces of each level (levels x 6): median, five heights; zeros for none."""
    knots, slopes = np.zeros((len(levels), 6)), np.zeros((len(levels), 6))
    for at, level in enumerate(levels):
        if level is None:
            continue
        knots[at] = [level.median, *level.tail.heights]
        values = level.of(knots[at])
        with np.errstate(divide="ignore", invalid="ignore"):
            inner = np.diff(values) / np.diff(knots[at])
        slopes[at] = [*np.nan_to_num(inner, posinf=0.0), 1.0 / (level.tail.excess * np.log(10.0))]
    return knots, slopes
