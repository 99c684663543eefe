"""An ingest run killed at each of its durable steps in turn, and run again, gives the same lake as an undisturbed one."""

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

import polars as pl
import pytest

from tapewatch.market.instruments import Partition
from tapewatch.market.tables.stream import STREAM_BATCHES, STREAM_QUOTES, STREAM_TRADES
from tapewatch.market.tables.tape import QUOTES, TRADES, quarantine_of
from tapewatch.store.lake.lake import Lake
from tapewatch.store.spool.files import HealedInterval, waiting_for
from tapewatch.store.spool.spool import SpoolWriter
from tapewatch.streaming.ingest import ingest as ingest_module
from tests.streaming.ingest.test_ingest import CRYPTO, FOREX, OPEN, STOCKS, run
from tests.support.crash_points import Killed, killed_at
from tests.support.streams import trades_at

MOST = ingest_module.PASS_BYTES
#: Columns of the ledger that differ when a batch is merged again after a kill.
_COUNTS = ["added", "revised", "repeated"]


def spooled(root: Path, partition: Partition) -> None:
    """Streamed rows, repeated and corrected; rows that break a rule; and a heal over some of them."""
    times = range(OPEN, OPEN + 10 * 10**9, 10**9)
    rows = trades_at(times)
    bad = trades_at([OPEN + 1], price=0.0, first_number=50)
    with SpoolWriter(root, partition.market, "collector") as writer:
        for batch in (rows[:6], rows[4:], rows[2:4].with_columns(price=11.0), rows[2:3].with_columns(price=12.0), bad):
            writer.add_rows(STREAM_TRADES, batch)
            writer.flush()
    with SpoolWriter(root, partition.market, "healer") as writer:
        healed = trades_at(times[6:9], price=20.0, first_number=7)
        symbol = str(rows["symbol"][0])
        writer.add_heal(STREAM_TRADES, healed, HealedInterval(symbol, times[6], times[9]))
        writer.add_heal(STREAM_QUOTES, STREAM_QUOTES.empty(), HealedInterval(symbol, times[6], times[9]))


def outcome(home: Path, partition: Partition) -> dict[str, pl.DataFrame]:
    """The lake's tables, without the counts that depend on how often batches were merged."""
    lake = Lake(home / "lake")
    tables = (TRADES, QUOTES, STREAM_BATCHES, quarantine_of(STREAM_TRADES))
    found = {table.name: lake.read(table, partition) for table in tables if lake.exists(table, partition)}
    found[STREAM_BATCHES.name] = found[STREAM_BATCHES.name].drop(_COUNTS).sort("batch")
    refused = quarantine_of(STREAM_TRADES).name
    found[refused] = found[refused].sort("source", "line")
    assert not waiting_for(home / "spool", partition)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("partition", "pass_bytes", "every"),
    [(STOCKS, MOST, 1), (CRYPTO, MOST, 1), (FOREX, MOST, 1), (STOCKS, 1, 7), (FOREX, 1, 7)],
)
def test_killed_at_any_step_and_run_again_an_ingest_does_the_same(tmp_path, partition, pass_bytes, every) -> None:
    spooled(tmp_path / "as it was", partition)
    with (
        patch.object(ingest_module, "PASS_BYTES", pass_bytes),
        patch.object(ingest_module, "ThreadPoolExecutor", InTurn),
    ):

        def run_to_kill(name: str, moment: int | None) -> int:
            home = tmp_path / name
            shutil.copytree(tmp_path / "as it was", home / "spool")
            with killed_at(moment) as disk, suppress(Killed):
                run(home, partition)
            return disk.moments

        moments = run_to_kill("undisturbed", None)
        expected = outcome(tmp_path / "undisturbed", partition)
        for moment in range(0, moments, every):
            run_to_kill(str(moment), moment)
            run(tmp_path / str(moment), partition)
            found = outcome(tmp_path / str(moment), partition)
            assert found.keys() == expected.keys(), moment
            for name, frame in found.items():
                assert frame.equals(expected[name]), (moment, name)
            shutil.rmtree(tmp_path / str(moment))


class InTurn:
    """A pool that runs its calls in order, so that the steps to kill at are the same each time."""

    def __init__(self, *_: object) -> None: ...

    def __enter__(self) -> "InTurn":
        return self

    def __exit__(self, *_: object) -> None: ...

    def map(self, call: Callable, some) -> list:
        return [call(one) for one in some]
