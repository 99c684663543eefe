"""Ctrl-C that strikes while a step tells Dagster of what it did."""

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
from tapewatch.market.tables import TRADES

DAYS = [Partition(dt.date(2024, 6, day), Market.STOCKS) for day in (3, 4)]


@pytest.fixture(autouse=True)
def as_in_a_terminal() -> Iterator[None]:
    """Whoever started the tests in the background made them deaf to Ctrl-C."""
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
                # Raised here, the transaction may stay open for as long as somebody holds the error.
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
    # Its telemetry would be kept in the folder of whoever runs the tests.
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


def test_it_ends_the_step_wherever_it_strikes_and_the_failure_is_told(tmp_path: Path) -> None:
    for strikes in range(100):
        strike = Strike(at=strikes + 1)
        result = run(tmp_path / str(strikes), strike)
        if strike.reached_the_end:
            assert result.success
            break
        assert not strike.has_torn
        (failure,) = [told.step_failure_data.error for told in result.all_events if told.is_step_failure]
        assert failure is not None
        assert "DagsterExecutionInterruptedError" in failure.to_string()
    assert strikes >= 4, "each of two days is told with two rows at least"


def test_it_is_raised_once_the_block_has_ended() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), uninterrupted():  # noqa: PT012 - what comes after the strike is the point
        signal.raise_signal(signal.SIGINT)
        done.append("the rest")
    assert done == ["the rest"]


def test_an_error_of_the_block_is_its_own() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ValueError, match="no"), uninterrupted():
        raise ValueError("no")
    assert signal.getsignal(signal.SIGTERM) is before
