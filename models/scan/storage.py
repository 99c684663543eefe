"""A fitted scan as arrays in one file, without pickling."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from models.scan.calibration import Scale
from models.scan.layout import KINDS, STATISTICS, Usual
from models.scan.learned import Additive, Learned
from models.scan.market_scan import MarketScan
from models.scan.tail import Tail
from tapewatch.market.arrays import Array


def write(scan: MarketScan, path: Path) -> None:
    """Write a scan as `.npz`."""
    arrays = {
        "symbols": np.array(scan.symbols, dtype=np.str_),
        **{f"usual_{name}": array for name, array in scan.usual._asdict().items()},
        **{f"scale_{name}": np.stack([getattr(each, name) for each in scan.scales]) for name in _SCALE},
    }
    groups = [("tail", scan.tails), ("kind_tail", scan.kind_tails), ("whole", (scan.whole,))]
    if scan.learned is not None:
        groups.append(("odds_tail", scan.learned.tails))
        for name in _ADDITIVE:
            for part, array in vars(getattr(scan.learned, name)).items():
                arrays[f"{name}_{part}"] = array
    for group, tails in groups:
        arrays[f"{group}_heights"] = np.stack([tail.heights for tail in tails])
        arrays[f"{group}_excess"] = np.array([tail.excess for tail in tails])
    np.savez_compressed(path, allow_pickle=False, **arrays)


def read(path: Path) -> MarketScan:
    """The scan as written.

    Raises:
        KeyError, ValueError: the file holds no scan of this code's statistics.
    """
    with np.load(path, allow_pickle=False) as arrays:
        usual = Usual(**{name: arrays[f"usual_{name}"] for name in Usual._fields})
        scales = tuple(Scale(*each) for each in zip(*(arrays[f"scale_{name}"] for name in _SCALE), strict=True))
        tails, kind_tails, (whole,) = (_tails(arrays, group) for group in ("tail", "kind_tail", "whole"))
        learned = None
        if "odds_weight" in arrays:
            odds, names = (Additive(arrays[f"{name}_weight"], arrays[f"{name}_offset"]) for name in _ADDITIVE)
            learned = Learned(odds, _tails(arrays, "odds_tail"), names)
        symbols = tuple(str(symbol) for symbol in arrays["symbols"])
    if (len(scales), len(tails), len(kind_tails)) != (len(STATISTICS), len(STATISTICS), len(KINDS)):
        raise ValueError(f"{path.name} holds {len(tails)} statistics, this version has {len(STATISTICS)}")
    if learned is not None and any(each.weight.shape != _SHAPE for each in (learned.odds, learned.names)):
        raise ValueError(
            f"{path.name} has learnt weights of the shape {learned.odds.weight.shape}, this version's is {_SHAPE}"
        )
    return MarketScan(symbols, usual, scales, tails, kind_tails, whole, learned)


def _tails(arrays: Mapping[str, Array], group: str) -> tuple[Tail, ...]:
    return tuple(
        Tail(heights, float(excess))
        for heights, excess in zip(arrays[f"{group}_heights"], arrays[f"{group}_excess"], strict=True)
    )


_SCALE = ("median", "width", "time_of_day")
_ADDITIVE = ("odds", "names")
_SHAPE = Additive.nothing().weight.shape
