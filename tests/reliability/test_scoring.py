"""A minute of the soak of the scoring service; the whole one is `python -m tests.reliability.scoring`."""

from pathlib import Path

import pytest

from tests.reliability.scoring import soak


@pytest.mark.slow
def test_swaps_a_stopped_redis_and_a_killed_worker_fail_no_other_request(tmp_path: Path) -> None:
    # Little load, which leaves the machine to other tests.
    found = soak(tmp_path, 60.0, share=0.15)
    assert found.is_none, f"{found}: {found.faults[:5]}"
    assert (found.swaps, found.redis_stops, found.kills) == (2, 1, 1)
    assert found.requests > 300
