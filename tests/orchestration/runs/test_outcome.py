"""What a run prints at its end."""

import io

from rich.console import Console

from orchestration.runs.outcome import show
from tests.support.made_up_run import summary


def test_without_a_truth_the_kinds_found_are_named_as_elsewhere() -> None:
    made = summary(truth=None)
    kind = next(kind for kind in made.anomalies["kind"].to_list() if "_" in kind)
    printed = io.StringIO()
    show(Console(file=printed, width=100), made)
    assert "the source has no truth" in printed.getvalue()
    assert kind.replace("_", " ") in printed.getvalue()
    assert kind not in printed.getvalue()
