"""Ctrl-C while a step writes to Dagster's event log."""

import datetime as dt
import signal
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import Engine, event

from resources.interrupts import uninterrupted
from resources.lake import Days, LakeIOManager, LakeResource
from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.tape import TRADES

DAYS = [Partition(dt.date(2024, 6, day), Market.STOCKS) for day in (3, 4)]


@pytest.fixture(autouse=True)
def as_in_a_terminal() -> Iterator[None]:
    """Tests started in the background inherit SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Strike:
    """Ctrl-C at the n-th row that the step writes to Dagster's event log, when the row is written and not committed."""

    def __init__(self, at: int) -> None:
        self.is_armed, self.left = False, at
        self.has_torn, self.reached_the_end = False, False

    def __call__(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if self.is_armed and statement.startswith("INSERT"):
            self.left -= 1
            if self.left == 0:
                # Raised here, the transaction may stay open as long as the error is referenced.
                self.has_torn = True
                signal.raise_signal(signal.SIGINT)
                self.has_torn = False


def run(home: Path, strike: Strike) -> dg.ExecuteInProcessResult:
    @dg.asset(key=[TRADES.group, TRADES.name], partitions_def=dg.StaticPartitionsDefinition([str(day) for day in DAYS]))
    def trades() -> Days:
        def days() -> Generator[tuple[Partition, None], None, None]:
            for day in DAYS:
                strike.is_armed = True
                yield day, None
                strike.is_armed = False
            strike.reached_the_end = True

        return Days(days())

    home.mkdir()
    tags = {
        "dagster/asset_partition_range_start": str(DAYS[0]),
        "dagster/asset_partition_range_end": str(DAYS[-1]),
    }
    # Its telemetry would write to the home folder of the user.
    with dg.DagsterInstance.local_temp(str(home), overrides={"telemetry": {"enabled": False}}) as instance:
        event.listen(Engine, "after_cursor_execute", strike)
        try:
            return dg.materialize(
                [trades],
                instance=instance,
                tags=tags,
                resources={"io_manager": LakeIOManager(lake=LakeResource(root=str(home / "lake")))},
                raise_on_error=False,
            )
        finally:
            event.remove(Engine, "after_cursor_execute", strike)


@pytest.mark.slow
def test_an_interrupt_at_any_row_ends_the_step_and_the_failure_is_recorded(tmp_path: Path) -> None:
    for strikes in range(100):
        strike = Strike(at=strikes + 1)
        result = run(tmp_path / str(strikes), strike)
        if strike.reached_the_end:
            assert result.success
            break
        assert not strike.has_torn
        (failure,) = [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
        assert failure is not None
        assert "DagsterExecutionInterruptedError" in failure.to_string()
    assert strikes >= 4, "each of two days is recorded as two rows at least"


def test_a_signal_is_raised_after_the_block() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), uninterrupted():  # noqa: PT012 - what comes after the strike is the point
        signal.raise_signal(signal.SIGINT)
        done.append("the rest")
    assert done == ["the rest"]


def test_an_error_of_the_block_is_raised_unchanged() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ValueError, match="no"), uninterrupted():
        raise ValueError("no")
    assert signal.getsignal(signal.SIGTERM) is before
