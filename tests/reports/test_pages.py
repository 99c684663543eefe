"""How pages write what they tell."""

import pytest

from tapewatch.reports.pages import number


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, "not known"),
        (0.0, "0"),
        (264_132.4, "264,132"),
        (33_004.7, "33,005"),
        (999.96, "1000"),
        (-37.63, "-37.63"),
        (0.012344, "0.01234"),
        (0.00012345, "0.000123"),
        (7, "7"),
    ],
)
def test_numbers_are_written_as_people_read_them(value: float | None, written: str) -> None:
    assert number(value) == written
