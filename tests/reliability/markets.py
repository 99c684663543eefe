"""Six markets on a Dask cluster, from their tape to the backtest, while workers are killed; compared with one process.

Each market's features, detections and backtest are runs of their own, side by side; one training on all of them computes its detectors
side by side. The lake is on S3, and the databases are on PostgreSQL.
"""

import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from dask.distributed import Client

from orchestration.home import instance
from tapewatch.emulator.process import running_emulator
from tapewatch.market.instruments import Market
from tests.reliability.scenario import Outcome
from tests.support.command import environment
from tests.support.hosts import Loopback
from tests.support.stage import Stage, stage

SYMBOLS = {
    Market.STOCKS: "VOO",
    Market.CRYPTO: "X:BTC-USD",
    Market.FOREX: "C:EUR-USD",
    Market.INDICES: "I:SPX",
    Market.OPTIONS: "O:AAPL291221C00190000",
    Market.FUTURES: "ESZ9",
}
DAYS = ("2024-06-04", "2024-06-05")
JOBS = ("update_day", "train_detectors", "detect_anomalies", "backtest_signals", "judge_strategies")
#: In each of these a worker is killed: the first that computes a step whose name has the text.
KILLED_IN = {"update_day": "features", "detect_anomalies": "", "backtest_signals": ""}
#: Jobs of which parts can run side by side; the last reads all markets in one step.
_SIDE_BY_SIDE = JOBS[:-1]
_WORKERS = 3
_HERE = "127.0.0.1"
#: What differs from run to run: MLflow's ids, and those of a page's charts.
_IDS = re.compile(rb"[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Compared:
    """The cluster's lake and detectors against those of one process, and how many markets, or detectors, each job computed at once."""

    objects: int
    files: int
    differing: tuple[str, ...]
    at_once: Mapping[str, int]

    @property
    def is_none(self) -> bool:
        """Whether all is equal, and what can run side by side did."""
        return not self.differing and all(self.at_once.get(job, 0) > 1 for job in _SIDE_BY_SIDE)

    def __str__(self) -> str:
        found = ", ".join(self.differing[:5]) or "0 differ"
        return f"{self.objects:,} objects of the lake and {self.files} files of detectors against those of one process: {found}"


def six_markets(home: Path) -> Outcome:
    """Run everything in one process, and on the cluster meanwhile."""
    with ExitStack() as stack:
        emulator = stack.enter_context(running_emulator(seed=7))
        variables = {
            "POLYGON_API_KEY": "advanced-markets",  # pragma: allowlist secret
            "POLYGON_BASE_URL": emulator.base_url,
            # TensorFlow's sums depend on how many threads it finds.
            "TAPEWATCH_KERAS_BACKEND": "none",
            **{f"TAPEWATCH_SYMBOLS_{market.upper()}": symbol for market, symbol in SYMBOLS.items()},
            **{f"POLYGON_TIER_{market.upper()}": "advanced" for market in SYMBOLS},
        }
        alone = home / "alone"
        process = _begun(environment(alone, NO_PROXY=_HERE, no_proxy=_HERE, **variables), at_once=1)
        stack.callback(_end, process)
        running = stack.enter_context(stage(home / "cluster", [Loopback(_HERE, _HERE)] * _WORKERS, variables))
        killed = _on_cluster(running)
        _await(process)
        found = _compared(running, alone)
    side_by_side = ", ".join(f"{found.at_once.get(job, 0)} in {job}" for job in _SIDE_BY_SIDE)
    note = f"markets or detectors at once: {side_by_side}"
    return Outcome("SIGKILL of Dask workers, six markets", len(killed), len(KILLED_IN), found, note)


def _begun(given: Mapping[str, str], *, at_once: int) -> subprocess.Popen[bytes]:
    plan = {"jobs": JOBS, "days": {market.value: DAYS for market in SYMBOLS}, "at_once": at_once}
    command = [sys.executable, "-W", "ignore", "-m", "tests.support.market_runs", json.dumps(plan)]
    return subprocess.Popen(command, env=dict(given), stdout=subprocess.DEVNULL, start_new_session=True)


def _await(process: subprocess.Popen[bytes]) -> None:
    if status := process.wait():
        raise subprocess.CalledProcessError(status, process.args)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End what is left of it and of the processes that it forked."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _on_cluster(running: Stage) -> list[str]:
    """Run it with one worker killed in each job of `KILLED_IN`, and another started; the jobs in which that was done."""
    for number in range(_WORKERS):
        running.worker(number)
    killed: list[str] = []
    is_over = threading.Event()
    with Client(running.dask.address, set_as_default=False) as client:
        client.wait_for_workers(_WORKERS)

        def kill() -> None:
            while not is_over.wait(0.05):
                for worker, tasks in client.processing().items():
                    job = next((job for task in tasks if (job := _job_of(task)) not in ("", *killed)), "")
                    if job:
                        os.kill(client.run(os.getpid, workers=[worker])[worker], signal.SIGKILL)
                        killed.append(job)
                        running.worker(0)
                        break

        thread = threading.Thread(target=kill, daemon=True)
        thread.start()
        try:
            _await(_begun(os.environ, at_once=len(SYMBOLS)))
        finally:
            is_over.set()
            thread.join()
    return killed


def _job_of(task: object) -> str:
    """The job of a task in which a worker is to be killed: tasks are named `job.run.step.piece`."""
    job, _, rest = str(task).partition(".")
    return job if job in KILLED_IN and KILLED_IN[job] in rest else ""


def _compared(running: Stage, alone: Path) -> Compared:
    lake = _alike(running.objects(), f"s3://{running.bucket}")
    own_lake = _alike(_files(alone / "lake"), str(alone))
    detectors, own = (
        _detectors(files) for files in (running.objects("mlflow/"), _files(alone / "mlflow" / "artifacts"))
    )
    differing = [name for name in sorted({*lake, *own_lake}) if lake.get(name) != own_lake.get(name)]
    differing += [name for name in sorted({*detectors, *own}) if detectors.get(name) != own.get(name)]
    return Compared(len(lake), len(detectors), tuple(differing), _at_once(running))


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _alike(files: Mapping[str, bytes], root: str) -> dict[str, bytes]:
    """The files, in those of text the lake's address and ids replaced."""
    return {
        name: content if name.endswith(".parquet") else _IDS.sub(b"ID", content.replace(root.encode(), b"ROOT"))
        for name, content in files.items()
    }


def _detectors(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The saved detectors and graphs, by the name of the model and of the file."""
    return {
        f"{name.partition('/')[0]}/{name.rpartition('/')[2]}": _comparable(name, content)
        for name, content in files.items()
        if "/detector/" in name or "/onnx/" in name
    }


def _comparable(name: str, content: bytes) -> bytes:
    """What of a detector's file is the same in each training.

    skops names arrays at random and writes down where objects were in memory; a manifest has the digests of the other files.
    """
    if name.endswith("manifest.json"):
        return _IDS.sub(b"ID", content)
    if not name.endswith(".skops"):
        return content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = {part: archive.read(part) for part in archive.namelist()}
    schema = re.sub(rb'"__id__": \d+|"file": "[^"]*"', b"", parts.pop("schema.json"))
    return schema + b"".join(sorted(_digest(part) for part in parts.values()))


def _digest(array: bytes) -> bytes:
    """Of the values of an array: between the fields of a tree's nodes is what was in memory."""
    values = np.load(io.BytesIO(array))
    columns = [values[name] for name in values.dtype.names] if values.dtype.names else [values]
    return hashlib.sha256(b"".join(column.tobytes() for column in columns)).digest()


def _at_once(running: Stage) -> dict[str, int]:
    """For each job how many markets were computed at the same moment; for a training, how many steps."""
    moments: dict[str, list[tuple[float, int, str]]] = {}
    with instance(running.settings) as opened:
        for run in opened.get_runs():
            of_run = moments.setdefault(run.job_name, [])
            for name, begin, end in _intervals(opened.all_logs(run.run_id)):
                label = name if run.job_name == "train_detectors" else run.tags["market"]
                of_run += [(begin, 1, label), (end, -1, label)]
    return {job: _most(sorted(found)) for job, found in moments.items()}


def _intervals(entries: Sequence[object]) -> Iterator[tuple[str, float, float]]:
    """The steps, or pieces of them, that a worker finished: name, begin and end in seconds."""
    begun: dict[tuple[str, int | None], float] = {}
    for entry in entries:
        event = entry.dagster_event  # type: ignore[attr-defined]
        if event is None or event.step_key is None:
            continue
        key = (event.step_key, event.pid)
        if event.is_step_start:
            begun[key] = entry.timestamp  # type: ignore[attr-defined]
        elif event.is_step_success and key in begun:
            yield event.step_key, begun.pop(key), entry.timestamp  # type: ignore[attr-defined]


def _most(moments: Sequence[tuple[float, int, str]]) -> int:
    current: Counter[str] = Counter()
    most = 0
    for _, change, label in moments:
        current[label] += change
        most = max(most, sum(count > 0 for count in current.values()))
    return most
