"""Random numbers that are the same on every machine: hashed keys, splitmix64, tabulated distributions.

Only integer arithmetic and correctly rounded float operations are used, and no exponentials of a library, so that a tape
depends neither on the processor nor on the version of numpy.

Source: Steele, Lea and Flood (2014), "Fast splittable pseudorandom number generators", OOPSLA.
"""

import hashlib
import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from tapewatch.market.compiled import njit

Floats = npt.NDArray[np.float64]
State = npt.NDArray[np.uint64]

_CELLS = 4096
_INCREMENT = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_S27, _S30, _S31, _S11, _S52 = (np.uint64(shift) for shift in (27, 30, 31, 11, 52))
_LOW_40 = np.uint64((1 << 40) - 1)
_PER_2_40 = 1.0 / (1 << 40)
_PER_2_53 = 1.0 / (1 << 53)
_TAYLOR_HALVINGS = 8


def _quantiles() -> Floats:
    # Rounded, so that last-bit differences between the logarithms of C libraries have no effect.
    normal = NormalDist()
    return np.array([round(normal.inv_cdf((i + 0.5) / (_CELLS + 1)), 10) for i in range(_CELLS + 1)])


_NORMAL = _quantiles()
_EXPONENTIAL: Floats = np.array([round(-math.log1p(-(i + 0.5) / (_CELLS + 1)), 10) for i in range(_CELLS + 1)])


def stream(*key: object) -> State:
    """The generator's state for a key; equal keys give equal numbers."""
    text = "\x1f".join(str(part) for part in key)
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return np.array([int.from_bytes(digest, "little")], dtype=np.uint64)


@njit(cache=True, inline="always")
def bits(state: State) -> np.uint64:
    state[0] += _INCREMENT
    z = state[0]
    z = (z ^ (z >> _S30)) * _MIX_1
    z = (z ^ (z >> _S27)) * _MIX_2
    mixed: np.uint64 = z ^ (z >> _S31)
    return mixed


@njit(cache=True, inline="always")
def uniform(state: State) -> float:
    """Uniform on [0, 1)."""
    return float(bits(state) >> _S11) * _PER_2_53


@njit(cache=True, inline="always")
def _tabulated(table: Floats, z: np.uint64) -> float:
    cell = np.int64(z >> _S52)
    return float(table[cell] + (table[cell + 1] - table[cell]) * (float(z & _LOW_40) * _PER_2_40))


@njit(cache=True, inline="always")
def normal(state: State) -> float:
    """Standard normal, cut at ±3.7; fat tails come from the varying volatility."""
    return _tabulated(_NORMAL, bits(state))


@njit(cache=True, inline="always")
def exponential(state: State) -> float:
    """Exponential of mean 1, cut at 9."""
    return _tabulated(_EXPONENTIAL, bits(state))


@njit(cache=True)
def exp(x: float) -> float:
    """e to the power x for |x| up to about 20, from multiplications and additions only."""
    y = x / (1 << _TAYLOR_HALVINGS)
    value = 1.0 + y * (1.0 + y / 2.0 * (1.0 + y / 3.0 * (1.0 + y / 4.0 * (1.0 + y / 5.0))))
    for _ in range(_TAYLOR_HALVINGS):
        value *= value
    return value


@njit(cache=True)
def normals(state: State, count: int) -> Floats:
    out = np.empty(count)
    for i in range(count):
        out[i] = normal(state)
    return out
