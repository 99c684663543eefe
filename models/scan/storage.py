"""A fitted scan as arrays in one file, without pickling."""

from pathlib import Path

import numpy as np

from models.scan.calibration import Scale
from models.scan.layout import KINDS, STATISTICS, Usual
from models.scan.market_scan import MarketScan
from models.scan.tail import Tail


def write(scan: MarketScan, path: Path) -> None:
    """Write a scan as `.npz`."""
    arrays = {
        "symbols": np.array(scan.symbols, dtype=np.str_),
        **{f"usual_{name}": array for name, array in scan.usual._asdict().items()},
        **{f"scale_{name}": np.stack([getattr(each, name) for each in scan.scales]) for name in _SCALE},
    }
    for group, tails in (("tail", scan.tails), ("kind_tail", scan.kind_tails), ("whole", (scan.whole,))):
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
        tails, kind_tails, (whole,) = (
            tuple(
                Tail(heights, float(excess))
                for heights, excess in zip(arrays[f"{group}_heights"], arrays[f"{group}_excess"], strict=True)
            )
            for group in ("tail", "kind_tail", "whole")
        )
        symbols = tuple(str(symbol) for symbol in arrays["symbols"])
    if (len(scales), len(tails), len(kind_tails)) != (len(STATISTICS), len(STATISTICS), len(KINDS)):
        raise ValueError(f"{path.name} holds {len(tails)} statistics, this version has {len(STATISTICS)}")
    return MarketScan(symbols, usual, scales, tails, kind_tails, whole)


_SCALE = ("median", "width", "time_of_day")
