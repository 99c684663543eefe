"""What a run prints at its end."""

import io
import re
from itertools import pairwise

import dagster as dg
import pytest
from dagster._utils.error import serializable_error_info_from_exc_info
from rich.console import Console

from orchestration.runs.outcome import show
from orchestration.runs.runs import _root
from tapewatch.feeds.files.blocks import LongLineError
from tapewatch.feeds.source import SourceError
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


def test_a_failed_step_is_told_by_the_first_error_of_ours() -> None:
    """Its message names the file and the way out; what it was raised from names less."""

    def told(*errors: Exception) -> str:
        for outer, inner in pairwise(errors):
            outer.__cause__ = inner
        with pytest.raises(type(errors[0])) as raised:
            raise errors[0]
        return _root(serializable_error_info_from_exc_info((raised.type, raised.value, raised.tb)))

    step = dg.DagsterError("Error occurred while executing op")
    ours, inner = (
        SourceError("t.csv.gz, line 7: a line is too long; fetch it again"),
        LongLineError("a line is too long"),
    )
    assert told(step, ours, inner) == told(step, RuntimeError("within"), ours, OSError("disk")) == str(ours)
    assert told(step, ValueError("no such column")) == "ValueError: no such column"
