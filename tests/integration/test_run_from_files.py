"""`tapewatch run` over flat files of options and futures, in the vendor's layout, from the tape to the report."""

import datetime as dt
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tapewatch.market.instruments import Market, Partition
from tapewatch.market.tables.tape import BARS, MICROSTRUCTURE, QUOTES, TRADES
from tapewatch.store.lake.lake import Lake
from tests.support.flat_tapes import write_days

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
DAYS = [dt.date(2024, 6, day) for day in (3, 4)]
SYMBOLS = {
    Market.OPTIONS: {"O:AAPL291221C00190000", "O:AAPL291221P00190000"},
    Market.FUTURES: {"CLZ9-CLF0", "ESZ9"},
}


def test_a_run_over_files_of_two_markets_ends_with_its_report(tmp_path: Path) -> None:
    for market, symbols in SYMBOLS.items():
        write_days(tmp_path / "files", market, DAYS, symbols=symbols)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TAPEWATCH_", "POLYGON_"))}
    done = subprocess.run(
        [
            str(Path(sys.executable).parent / "tapewatch"), "run", "--market", ",".join(SYMBOLS),
            "--flat-files", str(tmp_path / "files"), "--from", str(DAYS[0]), "--to", str(DAYS[-1]),
        ],
        cwd=tmp_path,
        env=environment | {"TAPEWATCH_HOME": str(tmp_path / "home"), "TAPEWATCH_KERAS_BACKEND": "tensorflow"},
        capture_output=True, text=True, timeout=800, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Report: " in done.stderr
    lake = Lake(tmp_path / "home" / "lake")
    for market, symbols in SYMBOLS.items():
        for day in DAYS:
            for table in (TRADES, QUOTES, BARS, MICROSTRUCTURE):
                assert set(lake.symbols(table, Partition(day, market))) == symbols, (table.name, day)
