"""Ctrl-C in the terminal of a backfill signals the whole foreground process group; the user sees one sentence."""

import datetime as dt
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tapewatch.market.instruments import Market, Partition, trading_days
from tapewatch.market.tables.tape import QUOTES, TRADES
from tapewatch.store.lake.lake import Lake

pytestmark = pytest.mark.slow

CHECKOUT = Path(__file__).resolve().parents[2]
PATIENCE_S = 400
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A terminal of 120 columns that runs the command as its foreground process group and records the output."""

    def __init__(self, home: Path, *arguments: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("POLYGON_")}
        environment |= {"TAPEWATCH_HOME": str(home), "COLUMNS": "120", "TERM": "xterm"}
        ours, theirs = pty.openpty()
        command = [sys.executable, "-c", "from orchestration.cli.app import app; app()", *arguments]
        self.process = subprocess.Popen(
            command, cwd=CHECKOUT, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
        os.close(theirs)
        self._read = bytearray()
        self._reader = threading.Thread(target=self._follow, args=(ours,))
        self._reader.start()

    def _follow(self, terminal: int) -> None:
        with os.fdopen(terminal, "rb", buffering=0) as stream:
            while True:
                try:
                    read = stream.read(65536)
                except OSError:  # Linux raises it when the other end is closed
                    return
                if not read:
                    return
                self._read += read

    def text(self) -> str:
        """The output so far without colours and cursor movements."""
        return ESCAPES.sub("", self._read.decode("utf-8", "replace")).replace("\r", "")

    def interrupt(self) -> None:
        """Send SIGINT to every process of the group, as the terminal does on Ctrl-C."""
        os.killpg(self.process.pid, signal.SIGINT)

    def close(self) -> int:
        """Wait until the last process has closed the terminal; returns the command's exit code."""
        code = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        assert not self._reader.is_alive(), "a process of the backfill lives on"
        return code

    def kill(self) -> None:
        """Kill the remaining processes of the group."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def test_ctrl_c_shows_how_to_resume_and_leaves_nothing_running(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    # Half a year takes minutes; the test interrupts it after some seconds.
    first, end = Partition(dt.date(2024, 1, 2), Market.STOCKS), dt.date(2024, 6, 28)
    days = ("--from", str(first.date), "--to", str(end))
    terminal = Terminal(tmp_path, "backfill", "--market", "stocks", *days, "--symbols", "AAPL")
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not (lake.partitions(TRADES) or lake.partitions(QUOTES)):
            assert terminal.process.poll() is None, terminal.text()
            assert time.monotonic() < deadline, terminal.text()
            time.sleep(0.05)
        terminal.interrupt()
        code = terminal.close()
    finally:
        terminal.kill()
    output = terminal.text()
    assert code == 130, output
    assert "Traceback" not in output
    assert "KeyboardInterrupt" not in output
    last = output.strip().splitlines()[-1]
    assert last.startswith(f"Stopped. Of {len(trading_days(Market.STOCKS, first.date, end))} days the lake holds ")
    assert "goes on from there: tapewatch backfill --market stocks" in last
    with pytest.raises(ProcessLookupError):
        os.killpg(terminal.process.pid, 0)
    assert lake.exists(TRADES, first) or lake.exists(QUOTES, first)


def test_progress_is_drawn_while_a_backfill_runs(tmp_path: Path) -> None:
    days = ("--from", "2024-06-03", "--to", "2024-06-07")
    terminal = Terminal(tmp_path, "backfill", "--market", "stocks", *days, "--symbols", "AAPL")
    try:
        assert terminal.close() == 0, terminal.text()
    finally:
        terminal.kill()
    drawn = terminal.text()
    # A progress display drawn only at the end would show nothing but five of five.
    assert re.search(r"[1-4]/5 days", drawn), drawn
    assert "5/5 days" in drawn, drawn
