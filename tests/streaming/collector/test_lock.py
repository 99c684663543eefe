"""Two collectors for one market: the second refuses and names the first."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest

from tapewatch.market.instruments import Market
from tapewatch.streaming.collector import lock as lock_module
from tapewatch.streaming.collector.lock import CollectorError, CollectorLock

HOLDER = """
import sys, time
from pathlib import Path
from tapewatch.market.instruments import Market
from tapewatch.streaming.collector.lock import CollectorLock
with CollectorLock(Path(sys.argv[1]), Market.CRYPTO):
    print("held", flush=True)
    time.sleep(600)
"""


def test_the_second_refuses_until_the_first_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(CollectorError, match=rf"process {holder.pid} collects crypto into {tmp_path}"):
            CollectorLock(folder, Market.CRYPTO).__enter__()
        with CollectorLock(folder, Market.STOCKS):
            pass
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with CollectorLock(folder, Market.CRYPTO):
        pass


def test_a_collector_may_start_during_a_check(tmp_path: Path) -> None:
    checking = CollectorLock(tmp_path, Market.CRYPTO)
    with patch.object(checking._lock, "release"):
        checking.check()
    # The first attempt finds the lock held; before the second the check has released it.
    with (
        patch.object(lock_module, "_CHECK_S", 120),
        patch("time.sleep", side_effect=lambda _: checking._lock.release(force=True)),
        CollectorLock(tmp_path, Market.CRYPTO) as lock,
    ):
        assert lock.restarts == 0


def test_counts_the_starts_of_one_supervisor(tmp_path: Path) -> None:
    for expected in (0, 1, 2):
        with CollectorLock(tmp_path, Market.CRYPTO, watch="monday") as lock:
            assert lock.restarts == expected
    with CollectorLock(tmp_path, Market.CRYPTO, watch="tuesday") as lock:
        assert lock.restarts == 0
    with CollectorLock(tmp_path, Market.CRYPTO) as lock:
        assert lock.restarts == 0


def test_a_truncated_record_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "collector-crypto.json").write_text('{"pid": ')
    with CollectorLock(tmp_path, Market.CRYPTO, watch="monday"):
        assert str(os.getpid()) in (tmp_path / "collector-crypto.json").read_text()
