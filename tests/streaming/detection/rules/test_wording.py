"""Messages of alerts."""

import pytest

from tapewatch.streaming.detection.rules.wording import sentence


@pytest.mark.long
def test_a_fall_names_its_direction_once() -> None:
    row = {"rule": "price_move", "symbol": "AAA", "value": -255.5, "baseline": 4.94, "multiple": -51.7}
    assert sentence(row, "") == "AAA: price moved -255.5 bps, 51.7 times the usual 4.9 bps"
    assert row["multiple"] == -51.7
