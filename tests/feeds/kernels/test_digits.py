"""The compiled readers of numbers against Python's own."""

import numba
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapewatch.feeds.kernels.digits import decimal, nineteen_digits, whole
from tapewatch.feeds.kernels.pointers import pointer_to


@numba.njit
def _read_decimal(source: npt.NDArray[np.uint8]) -> float:
    value, _ = decimal(pointer_to(source), 0)
    return float(value)


@pytest.mark.long
@settings(max_examples=2000, deadline=None)
@given(
    st.one_of(
        st.floats(0, 1e15).map(repr),
        st.tuples(st.floats(0, 1e9), st.floats(0, 1e9)).map(lambda pair: repr(pair[0] + pair[1])),
        st.decimals(0, 10**17, allow_nan=False, places=2).map(str),
        st.integers(2**53, 2**64).map(lambda i: f"{i // 1000}.{i % 1000:03d}"),
        # Halfway between two doubles, or nearly.
        st.integers(2**52, 2**53 - 1).map(lambda i: f"{i // 2}.{'25' if i % 2 else '75'}"),
    )
)
def test_decimals_are_read_to_the_nearest_double_or_reported(text: str) -> None:
    value = _read_decimal(np.frombuffer(text.encode() + bytes(8), np.uint8))
    assert value in (float(text), -1.0)


def test_sums_of_decimals_are_read() -> None:
    for text in ("1463.9457029999999", "9696.623867999999", "0.30000000000000004", "731.9728515000001"):
        assert _read_decimal(np.frombuffer(text.encode() + bytes(8), np.uint8)) == float(text)


@numba.njit
def _read_whole(source: npt.NDArray[np.uint8]) -> tuple[int, int]:
    value, end = whole(pointer_to(source), 0)
    return int(value), int(end)


@numba.njit
def _read_nineteen(source: npt.NDArray[np.uint8]) -> int:
    return int(nineteen_digits(pointer_to(source), 0))


@settings(deadline=None)
@given(st.integers(0, 10**20 - 1))
def test_integers_are_read_as_far_as_64_bits_hold_them(number: int) -> None:
    text = np.frombuffer(str(number).encode() + bytes(24), np.uint8)
    value, end = _read_whole(text)
    assert (value, end) == (number, len(str(number))) if number < 2**63 else value < 0
    if 10**18 <= number < 2**63:
        assert _read_nineteen(text) == number


def test_other_forms_than_plain_integers_are_reported() -> None:
    for text in ("", "-1", "01", "1.0", "1e3", "1E3", "x"):
        assert _read_whole(np.frombuffer(text.encode() + bytes(24), np.uint8))[0] == -1
    assert _read_nineteen(np.frombuffer(b"1700000000x00000000" + bytes(24), np.uint8)) == -1
