"""What a run prints at its end."""

import io
import re

import pytest
from rich.console import Console

from orchestration.runs.outcome import show
from tests.support.made_up_run import comparison, summary


@pytest.mark.parametrize("width", [80, 120])
def test_the_detectors_are_compared_on_unseen_days(width: int) -> None:
    printed = io.StringIO()
    show(Console(file=printed, width=width), summary())
    lines = [re.sub(r"[│┃\s]+", " ", line).strip() for line in printed.getvalue().splitlines()]
    assert "Found on days that the detectors had not seen" in lines
    assert "price jump 2 2 90 s 2 9 s" in lines
    assert "all 4 2 90 s 3 14 s" in lines
    assert "found 50% 75%" in lines
    assert "false in 390 min 1.25 0.75" in lines


def test_detectors_that_were_judged_stand_beside_them() -> None:
    printed = io.StringIO()
    show(Console(file=printed, width=80), summary(comparison=comparison()))
    lines = [re.sub(r"[│┃\s]+", " ", line).strip() for line in printed.getvalue().splitlines()]
    assert "kind in tape ensemble Forest classifier scan" in lines
    assert "quote stuffing 2 1 0 0 1" in lines
    assert "false in 390 min 1.25 1.25 1.25 0.75" in lines


def test_without_a_truth_the_kinds_found_are_named_as_elsewhere() -> None:
    made = summary(truth=None)
    kind = next(kind for kind in made.anomalies["kind"].to_list() if "_" in kind)
    printed = io.StringIO()
    show(Console(file=printed, width=100), made)
    assert "the source has no truth" in printed.getvalue()
    assert kind.replace("_", " ") in printed.getvalue()
    assert kind not in printed.getvalue()
