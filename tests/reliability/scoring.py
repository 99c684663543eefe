"""The scoring service under load: swaps, Redis stopped and started, a worker killed. `python -m tests.reliability.scoring --minutes 30`.

Clients in threads ask at 70 % of what the service answers at most. Every answer is compared with the scores of the version that it names.
Only requests under way at a killed worker may fail: one a connection.
"""

import argparse
import http.client
import os
import random
import signal
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import psutil

from models.isolation_forest.detector import ForestParameters, IsolationForestDetector
from models.served.minutes import Minutes
from orchestration.processes.services import Service
from orchestration.processes.supervision import Supervisor, stop_signals
from serving.bento import build_bento, store_model
from serving.start import serve_command
from serving.store import CHAMPION, StoredBento, StoredModel, point
from serving.swap import load_stored
from tests.reliability.scenario import Outcome
from tests.support.detectors import extreme, ordinary_rows
from tests.support.ports import free_port
from tests.support.redis import redis_server

_CLIENTS, _SHARE, _WARM_S = 8, 0.7, 5.0
_TURN_S = 1e-4
_NAME = "isolation_forest"
#: Requests after which a worker has what it needs in memory.
_SETTLED = 500
#: A worker's memory may grow by so much from the middle to the end of a soak.
_GROWTH, _GROWTH_MB = 1.1, 16


@dataclass
class Soak:
    """What happened: requests and failures, the disturbances, and a worker's memory in the middle and at the end."""

    requests: int = 0
    failed: int = 0
    excused: int = 0
    wrong: int = 0
    swaps: int = 0
    redis_stops: int = 0
    kills: int = 0
    rate: float = 0.0
    memory_mb: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def is_none(self) -> bool:
        """Whether nothing failed that should not, every answer was right, and the memory was flat."""
        middle, end = self.memory_mb
        return not (self.failed or self.wrong) and end <= middle * _GROWTH + _GROWTH_MB

    def __str__(self) -> str:
        memory = " and ".join(f"{each:.0f} MB" for each in self.memory_mb)
        lost = f"{self.failed} failed, {self.wrong} wrong, {self.excused} lost with a killed worker"
        return f"{self.requests:,} requests at {self.rate:.0f}/s: {lost}; memory {memory}"


class Clients:
    """Threads that ask, at a pace or as fast as they can."""

    def __init__(self, port: int, rows: list[dict[str, object]], scores: dict[str, list[float]]) -> None:
        self._port, self._bodies, self._scores = port, [msgspec.json.encode(row) for row in rows], scores
        self._lock = threading.Lock()
        self.found = Soak()

    def run(self, seconds: float, rate: float | None) -> float:
        """Ask for so long; returns the requests a second that were answered."""
        before, start = self.found.requests, time.monotonic()
        turn = sys.getswitchinterval()
        # An answer that has come must not wait for another thread's turn to end.
        sys.setswitchinterval(_TURN_S)
        try:
            with ThreadPoolExecutor(_CLIENTS) as pool:
                runs = [pool.submit(self._ask, start + seconds, rate, seed) for seed in range(_CLIENTS)]
                for run in runs:
                    run.result()
        finally:
            sys.setswitchinterval(turn)
        return (self.found.requests - before) / (time.monotonic() - start)

    def _ask(self, end: float, rate: float | None, seed: int) -> None:
        chance, due = random.Random(seed), time.monotonic()  # noqa: S311 - choices of rows
        # Plain connections: a client that takes longer than the service would not find out what it answers at most.
        client, lost = http.client.HTTPConnection("127.0.0.1", self._port, timeout=180), 0
        while time.monotonic() < end:
            at, content = chance.randrange(len(self._bodies)), b""
            try:
                client.request("POST", "/score", self._bodies[at], {"content-type": "application/json"})
                answer = client.getresponse()
                content = answer.read()
                fault = "" if answer.status == 200 else f"{answer.status} {content[:80]!r}"
            except (OSError, http.client.HTTPException) as error:
                client.close()
                fault = repr(error)
            # A killed worker takes one request of each connection with it.
            is_excused = bool(fault) and lost < self.found.kills
            lost += is_excused
            self._count(fault, None if fault else msgspec.json.decode(content), at, is_excused=is_excused)
            if rate is not None:
                due = max(due + _CLIENTS / rate, time.monotonic() - 1.0)
                time.sleep(max(0.0, due - time.monotonic()))
        client.close()

    def _count(self, fault: str, answer: dict[str, object] | None, at: int, *, is_excused: bool) -> None:
        with self._lock:
            found = self.found
            found.requests += 1
            if answer is not None:
                version, score = answer["model"]["version"], answer["results"][0]["score"]  # type: ignore[index]
                found.wrong += abs(score - self._scores[version][at]) > 1e-9
            elif is_excused:
                found.excused += 1
            else:
                found.failed += 1
                found.faults.append(fault)


def soak(home: Path, seconds: float, share: float = _SHARE) -> Soak:
    """Disturb a service for so long, under a share of the load that it can take."""
    store = home / "bentoml"
    rows, scores = _models(home, store)
    port, stack = free_port(), ExitStack()
    redis_port = free_port()
    bento = StoredBento.latest(store)
    if bento is None:
        raise RuntimeError("there is no Bento")
    service = Service(
        "scoring",
        "Scoring",
        tuple(serve_command(bento.folder, host="127.0.0.1", port=port)),
        health=f"http://127.0.0.1:{port}/readyz",
    )
    environment = {
        **os.environ,
        **{"BENTOML_HOME": str(store), "BENTOML_DO_NOT_TRACK": "true", "TAPEWATCH_HOME": str(home)},
        **{"TAPEWATCH_REDIS_URL": f"redis://127.0.0.1:{redis_port}/0", "TAPEWATCH_SCORING_CACHE_S": "1"},
        "TAPEWATCH_SCORING_LOG_REQUESTS": "false",
    }
    with stack, stop_signals() as stopping, Supervisor([service], home, environment) as supervisor:
        stack.enter_context(redis := ExitStack()).enter_context(redis_server(home, redis_port))
        supervisor.wait_until_healthy(service, timeout_s=300, stopping=stopping)
        clients = Clients(port, rows, scores)
        most = clients.run(_WARM_S, None)
        load = threading.Thread(target=clients.run, args=(seconds, share * most))
        start, found = time.monotonic(), clients.found
        found.rate = share * most
        load.start()
        steps = [(0.1, "stop redis"), (0.25, "start redis"), (0.35, "kill"), (0.6, "measure")]
        swaps = max(2, round(seconds / 60))
        steps += [((number + 0.5) / swaps, "swap") for number in range(swaps)]
        for moment, what in sorted(steps):
            time.sleep(max(0.0, start + moment * seconds - time.monotonic()))
            _disturb(what, clients, store, home, redis, redis_port)
        load.join()
        found.memory_mb.append(_worker(home).memory_info().rss / 2**20)
    return found


def _disturb(what: str, clients: Clients, store: Path, home: Path, redis: ExitStack, redis_port: int) -> None:
    found = clients.found
    match what:
        case "stop redis":
            redis.close()
            found.redis_stops += 1
        case "start redis":
            redis.enter_context(redis_server(home, redis_port))
        case "kill":
            found.kills += 1
            _worker(home).send_signal(signal.SIGKILL)
        case "measure":
            _until_served(clients)
            found.memory_mb.append(_worker(home).memory_info().rss / 2**20)
        case "swap":
            found.swaps += 1
            point(store, CHAMPION, f"{_NAME}-{1 + found.swaps % 2}")


def _until_served(clients: Clients) -> None:
    """Wait until the worker that followed the killed one has answered for a while."""
    wanted, deadline = clients.found.requests + _SETTLED, time.monotonic() + 120
    while clients.found.requests < wanted and time.monotonic() < deadline:
        time.sleep(0.05)


def _models(home: Path, store: Path) -> tuple[list[dict[str, object]], dict[str, list[float]]]:
    """Two versions in the store; rows as JSON, and their scores by each version."""
    frame = pl.concat([ordinary_rows(3).head(300), extreme(ordinary_rows(4).head(50))])
    days, scores = ["2024-06-03|stocks"], {}
    for version in ("2", "1"):
        parameters = ForestParameters(trees=50 * int(version), samples=256)
        IsolationForestDetector(parameters, seed=int(version)).fit(ordinary_rows(), partitions=days).save(
            home / version
        )
        put = build_bento if version == "1" else store_model
        put(home / version, name=_NAME, version=version, metadata={}, bento_home=store)
        stored = StoredModel.find(store, f"{_NAME}-{version}")
        if stored is None:
            raise RuntimeError(f"version {version} is not stored")
        scorer = load_stored(stored)
        minutes = Minutes.of_frame(frame, scorer.features)
        scores[version] = scorer.judged(minutes).scores.tolist()
    rows = [
        {
            "symbol": symbol,
            "event_time": moment.isoformat(),
            **{name: value for name, value in zip(scorer.features, row, strict=True) if not np.isnan(value)},
        }
        for symbol, moment, row in zip(minutes.symbols, minutes.times, minutes.values.tolist(), strict=True)
    ]
    return rows, scores


def _worker(home: Path) -> psutil.Process:
    """The process that answers; waits for one."""
    deadline = time.monotonic() + 120
    while True:
        for process in psutil.process_iter(["cmdline"]):
            line = " ".join(process.info["cmdline"] or ())
            if "_bentoml_impl.worker.service" in line and str(home) in line:
                return process
        if time.monotonic() > deadline:
            raise RuntimeError("no worker runs")
        time.sleep(0.05)


def outcome(home: Path, seconds: float) -> Outcome:
    """The soak as a row of the report."""
    found = soak(home, seconds)
    name = f"scoring: {found.swaps} swaps, Redis stopped, a worker killed, under load"
    count = found.swaps + found.redis_stops + found.kills
    return Outcome(name, count, count, found, "; ".join(found.faults[:3]))


def main() -> int:
    """Print what was survived; the exit status is 0 if all was."""
    parser = argparse.ArgumentParser("python -m tests.reliability.scoring", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    minutes = parser.parse_args().minutes
    with tempfile.TemporaryDirectory(prefix="tapewatch-soak-") as folder:
        found = soak(Path(folder), minutes * 60)
    done = f"{found.swaps} swaps, {found.redis_stops} stop of Redis, {found.kills} killed worker"
    sys.stdout.write(f"{minutes:g} minutes, {done}: {found}\n" + "".join(f"  {fault}\n" for fault in found.faults[:20]))
    return 0 if found.is_none else 1


if __name__ == "__main__":
    sys.exit(main())
