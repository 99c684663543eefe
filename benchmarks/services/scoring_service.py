"""The scoring service over HTTP beside a no-op in bare FastAPI, FastAPI with scikit-learn, and bare ONNX Runtime.

Run: python -m benchmarks.services.scoring_service [--requests N]. The servers are processes beside each other and are asked in turn, by this
one; rows differ from request to request, so no cache answers. For one row the row is a whole one, with every feature. The service
logs each request, as it does by default. It serves the ensemble of forest and classifier, which is the champion by default, and a forest alone.
"""

import argparse
import asyncio
import http.client
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import onnxruntime
import polars as pl
import psutil

from models.anomaly_classifier.detector import AnomalyClassifierDetector
from models.base import Detector
from models.ensemble.detector import EnsembleDetector
from models.ensemble.onnx_graph import MARKET, SCORES, ensemble_graph
from models.ensemble.storage import WHOLE, member_folders
from models.isolation_forest.detector import IsolationForestDetector
from models.isolation_forest.onnx_graph import forest_graph
from models.onnx_files import session
from models.served.classifier import classifier_graph
from models.served.evidence import EvidenceArrays
from models.served.loading import load_row_scorer
from models.served.minutes import Minutes
from resources.feature_store.definitions import VIEWS
from resources.feature_store.store import Features, repo_config
from serving.bento import build_bento
from serving.start import serve_command
from serving.store import StoredBento
from tests.support.detectors import ordinary_rows
from tests.support.ensembles import training_rows
from tests.support.labelled_minutes import injected_minutes
from tests.support.ports import free_port
from tests.support.redis import redis_server

_JSON = {"content-type": "application/json"}
_STREAM = "application/vnd.apache.arrow.stream"
_ARROW = {"content-type": _STREAM, "accept": _STREAM}
_ROUNDS, _SLICES, _CONNECTIONS, _SYMBOLS, _MANY = 5, 5, 8, 50, 10_000
#: The slow peer gets one request in ten.
_SLOW = 10
_STARTS = 3
#: The port and the process that answers, by name.
Detectors = dict[str, Detector]
Servers = dict[str, tuple[int, psutil.Process]]
#: Seconds of each request, requests a second, and seconds of CPU a request.
Measured = tuple[npt.NDArray[np.float64], float, float]
#: The peers, as few lines as they can have; the second is how a forest is usually put behind FastAPI.
_NOOP = "from fastapi import FastAPI\napp = FastAPI()\n@app.post('/score')\nasync def score(row: dict):\n    return {'score': 0.5}\n"
_PLAIN = """
import sys
from pathlib import Path
import polars as pl
from fastapi import FastAPI
from models.isolation_forest.detector import IsolationForestDetector
app, detector = FastAPI(), IsolationForestDetector.load(Path({folder!r}))
@app.post('/score')
def score(row: dict):
    frame = pl.DataFrame([row]).with_columns(pl.col('event_time').str.to_datetime(time_zone='UTC'), session_minute=55)
    score = float(-detector.forest.score_samples(detector.inputs(frame))[0])
    return {{'score': score, 'is_anomaly': score >= detector.threshold}}
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1_500, help="a round and server")
    parser.add_argument("--only-batch", action="store_true", help="measure large requests alone")
    asked = parser.parse_args()
    requests = asked.requests
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        home = Path(folder)
        detectors = _detectors()
        for name, detector in detectors.items():
            detector.save(home / name)
        redis = stack.enter_context(redis_server(home))
        (home / "noop.py").write_text(_NOOP)
        (home / "plain.py").write_text(_PLAIN.format(folder=str(home / "isolation_forest")))
        noop = stack.enter_context(_uvicorn(home, "noop"))
        plain = stack.enter_context(_uvicorn(home, "plain"))
        served = {name: stack.enter_context(_service(home, name, redis)) for name in detectors}
        servers = {f"the service, {name}": (port, worker) for name, (port, _, worker) in served.items()}
        features = tuple(detectors["ensemble"].features)
        if asked.only_batch:
            _batch(detectors, home, {name: port for name, (port, _, _) in served.items()})
            return
        _single(features, {"bare FastAPI, no-op": noop, **servers, "FastAPI, scikit-learn": plain}, requests)
        _batch(detectors, home, {name: port for name, (port, _, _) in served.items()})
        _symbols(home, redis, {name: port for name, (port, _, _) in served.items()})
        for name, (port, (wall, cpu), worker) in served.items():
            _explained(features, name, port)
            memory = worker.memory_info().rss / 2**20
            print(
                f"{name}: start to ready {wall:.1f} s, of which {cpu:.1f} s CPU, best of {_STARTS}; a worker {memory:.0f} MB"
            )


def _detectors() -> Detectors:
    """Of the size that is trained by default."""
    rows, days = training_rows(), ["2024-06-03|stocks"]
    forest = IsolationForestDetector().fit(rows, partitions=days)
    classifier = AnomalyClassifierDetector().fit(rows, partitions=days, labelled=injected_minutes())
    return {
        "ensemble": EnsembleDetector((forest, classifier)).fit(rows, partitions=days),
        "isolation_forest": forest,
    }


def _single(features: Sequence[str], servers: Servers, requests: int) -> None:
    """Latency over one connection each, asked in turn request by request, and throughput over several, in turn slice by slice.

    Other work on the machine delays all of them alike. Ratios are taken within a round, and the median round counts. The CPU time of a
    request gives the most that one core can answer, also on a busy machine.
    """
    rounds = [_round(features, servers, requests) for _ in range(_ROUNDS)]
    peer = next(iter(servers))
    columns = ("p50 ms", "p99 ms", "p99.9", "a second", "CPU µs", "p50", "p99", "rate", "per CPU")
    print(f"{'one row':30}" + "".join(f"{each:>10}" for each in columns))
    for name in servers:
        spent = np.concatenate([each[name][0] for each in rounds]) * 1e3
        ratios = np.array([_ratios(each[name], each[peer]) for each in rounds])
        p50, p99, rate, per_cpu = np.median(ratios, axis=0)
        figures = "".join(f"{np.percentile(spent, q):10.3f}" for q in (50, 99, 99.9))
        own_rate, own_cpu = np.median([each[name][1:] for each in rounds], axis=0)
        figures += f"{own_rate:10.0f}{own_cpu * 1e6:10.0f}"
        print(f"{name:30}{figures}{p50:9.2f}x{p99:9.2f}x{rate:10.0%}{per_cpu:10.0%}")


def _ratios(own: Measured, peer: Measured) -> tuple[float, float, float, float]:
    p50, p99 = np.percentile(own[0], [50, 99]) / np.percentile(peer[0], [50, 99])
    return float(p50), float(p99), own[1] / peer[1], peer[2] / own[2]


def _round(features: Sequence[str], servers: Servers, requests: int) -> dict[str, Measured]:
    bodies, spent = _bodies(features), {name: list[float]() for name in servers}
    connections = {name: http.client.HTTPConnection("127.0.0.1", port) for name, (port, _) in servers.items()}
    for number in range(requests):
        for name, connection in connections.items():
            if "scikit" not in name or number % _SLOW == 0:
                spent[name].append(_latency(connection, next(bodies)))
    for connection in connections.values():
        connection.close()
    seconds, cpu = dict.fromkeys(servers, 0.0), {name: -_cpu(process) for name, (_, process) in servers.items()}
    for _ in range(_SLICES):
        for name, (port, _) in servers.items():
            few = _some(name, requests) // _SLICES
            seconds[name] += asyncio.run(_seconds(port, [next(bodies) for _ in range(few)]))
    done = {name: _some(name, requests) // _SLICES * _SLICES for name in servers}
    return {
        name: (
            np.array(times[len(times) // 10 :]),
            done[name] / seconds[name],
            (cpu[name] + _cpu(servers[name][1])) / done[name],
        )
        for name, times in spent.items()
    }


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _some(name: str, requests: int) -> int:
    """How many requests a server gets: a slow one fewer."""
    return requests // _SLOW if "scikit" in name else requests


def _bodies(features: Sequence[str]) -> Iterator[bytes]:
    """Whole rows as JSON, each another."""
    row = {"symbol": "AAPL", "event_time": "2024-06-03T14:25:00Z", **dict.fromkeys(features, 0.5)}
    for number in count():
        yield json.dumps(row | {"return_bps": number / 1e6}).encode()


def _latency(connection: http.client.HTTPConnection, body: bytes, headers: dict[str, str] = _JSON) -> float:
    start = time.perf_counter()
    connection.request("POST", "/score", body, headers)
    response = connection.getresponse()
    response.read()
    spent = time.perf_counter() - start
    _expect(response.status == 200, f"status {response.status}")
    return spent


async def _seconds(port: int, bodies: list[bytes]) -> float:
    """How long requests over several connections take, written and read as plain bytes: the client must not be what is measured."""
    waiting = iter(bodies)

    async def work() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for body in waiting:
            head = f"POST /score HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            answered = await reader.readuntil(b"\r\n\r\n")
            _expect(answered.startswith(b"HTTP/1.1 200"), str(answered))
            length = next(line for line in answered.lower().split(b"\r\n") if line.startswith(b"content-length"))
            await reader.readexactly(int(length.split(b":")[1]))
        writer.close()

    start = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(_CONNECTIONS)))
    return time.perf_counter() - start


def _batch(detectors: Detectors, home: Path, ports: dict[str, int]) -> None:
    """Many rows: the service's whole answer beside its model in this process, and beside the graphs of the model alone.

    The graphs are those that the registry keeps with the champion, each run on inputs that are there. The model makes these inputs of the
    features besides; the service reads Arrow and the calendar too, and writes a verdict for each row, and uses the cores that there are.
    So the graphs run on one thread and on all cores; the model has one thread. The client writes and reads plain bytes over one connection.
    """
    rows = pl.concat([ordinary_rows(1)] * (_MANY // ordinary_rows(1).height + 1)).head(_MANY)
    print(f"\n{_MANY:,} rows, best of {_ROUNDS * 2}")
    for model, detector in detectors.items():
        graphs = _graphs(detector, home / model, rows)
        on_all = [(_on_all_cores(graph), given) for graph, given in graphs]
        scorer, minutes = load_row_scorer(home / model), Minutes.of_frame(rows, detector.features)
        plain = rows.select(pl.col("symbol").cast(pl.String), "event_time", *detector.features)
        connection = http.client.HTTPConnection("127.0.0.1", ports[model], timeout=60)
        bare, shared, whole, own = (
            f"{each}, {model}"
            for each in ("graphs in ONNX Runtime", "graphs, all cores", "model in process", "the service")
        )
        spent: dict[str, list[float]] = {bare: [], shared: [], whole: [], own: []}
        for number in range(_ROUNDS * 2):
            for name, runs in ((bare, graphs), (shared, on_all)):
                start = time.perf_counter()
                for graph, given in runs:
                    graph.run(None, given)
                spent[name].append(time.perf_counter() - start)
            start = time.perf_counter()
            scorer.score(minutes)
            spent[whole].append(time.perf_counter() - start)
            body = _stream(plain.with_columns(return_bps=pl.col("return_bps") + number / 1e6))
            spent[own].append(_latency(connection, body, _ARROW))
        connection.close()
        best = {name: min(times) for name, times in spent.items()}
        for name, seconds in best.items():
            share = f"the service answers {seconds / best[own]:.0%} of its rows a second" if name != own else ""
            print(f"{name:42}{seconds * 1e3:8.1f} ms  {share}")


def _on_all_cores(graph: onnxruntime.InferenceSession) -> onnxruntime.InferenceSession:
    """A session of the same graph with the runtime's own number of threads, which do not keep cores busy while they wait."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(graph._model_bytes, options, providers=["CPUExecutionProvider"])


def _graphs(detector: Detector, folder: Path, rows: pl.DataFrame) -> list[tuple[onnxruntime.InferenceSession, Any]]:
    """The graphs of a detector, each with the inputs that the rows give."""
    if isinstance(detector, EnsembleDetector):
        folders = member_folders(folder)
        own = [each for member, at in zip(detector.members, folders, strict=True) for each in _graphs(member, at, rows)]
        scores = detector.member_scores(rows).astype(np.float32)
        graph = ensemble_graph(detector.levels, [member.name for member in detector.members], WHOLE)
        # The rows are of one market, the first.
        return [*own, (session(graph), {SCORES: scores, MARKET: np.zeros((rows.height, 1), np.float32)})]
    if isinstance(detector, IsolationForestDetector):
        graph, inputs = session(forest_graph(detector.forest)), detector.inputs(rows).astype(np.float32)
    else:
        surprises = EvidenceArrays.load(folder).surprises(Minutes.of_frame(rows, detector.features))
        graph, inputs = session(classifier_graph(folder)), surprises.astype(np.float32).astype(np.float64)
    return [(graph, {graph.get_inputs()[0].name: inputs})]


def _explained(features: Sequence[str], name: str, port: int) -> None:
    """A row with its reasons; the first of a worker loads their trees."""
    row = {"symbol": "AAPL", "event_time": "2024-06-03T14:25:00Z", **dict.fromkeys(features, 0.5)}
    spent = []
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        for number in range(100):
            start = time.perf_counter()
            client.post("/explain", json=row | {"volume_ratio": 9.0 + number}).raise_for_status()
            spent.append((time.perf_counter() - start) * 1e3)
    print(f"\n{name}: /explain, one row: first {spent[0]:.0f} ms, then p50 {np.median(spent[1:]):.1f} ms")


def _symbols(home: Path, redis: str, ports: dict[str, int]) -> None:
    """The newest features of some symbols, read from Redis."""
    store = Features(repo_config(home, redis_url=redis), str(home / "lake"))
    store.apply()
    names = [f"S{number:03}" for number in range(_SYMBOLS)]
    rows = ordinary_rows(2).head(_SYMBOLS).with_columns(pl.Series("symbol", names, pl.Categorical()))
    store.push(VIEWS[0], rows)
    store.close()
    body = json.dumps({"symbols": names, "max_age_s": 31_536_000.0, "time": "2024-06-03T23:00:00Z"})
    print(f"\n/score_symbols, {_SYMBOLS} symbols from Redis, best of {_ROUNDS} rounds")
    for model, port in ports.items():
        rounds = []
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            for _ in range(_ROUNDS):
                spent = []
                for _ in range(200):
                    start = time.perf_counter()
                    answer = client.post("/score_symbols", content=body, headers=_JSON).raise_for_status()
                    spent.append(time.perf_counter() - start)
                rounds.append(np.percentile(spent, [50, 99]) * 1e3)
        _expect(all(each["score"] is not None for each in answer.json()["results"]), "a symbol was not scored")
        p50, p99 = min(rounds, key=lambda each: each[1])
        print(f"{model:30}p50 {p50:.1f} ms, p99 {p99:.1f} ms")


def _expect(is_so: bool, fault: str) -> None:
    if not is_so:
        raise RuntimeError(fault)


def _stream(rows: pl.DataFrame) -> bytes:
    sink = io.BytesIO()
    rows.write_ipc_stream(sink)
    return sink.getvalue()


@contextmanager
def _uvicorn(home: Path, module: str) -> Iterator[tuple[int, psutil.Process]]:
    """A peer under uvicorn, as the service's worker runs."""
    port = free_port()
    checkout = str(Path(__file__).resolve().parents[2])
    command = [sys.executable, "-m", "uvicorn", f"{module}:app", "--port", str(port), "--log-level", "warning"]
    environment = os.environ | {"PYTHONPATH": f"{home}{os.pathsep}{checkout}"}
    with _process(command, environment, f"http://127.0.0.1:{port}/openapi.json", home) as process:
        yield port, psutil.Process(process.pid)


@contextmanager
def _service(home: Path, model: str, redis: str) -> Iterator[tuple[int, tuple[float, float], psutil.Process]]:
    """The Bento as `tapewatch up` runs it; its port, seconds to ready and those of CPU, and worker."""
    bentos = home / f"bentoml_{model}"
    build_bento(home / model, name=model, version="1", metadata={}, bento_home=bentos)
    bento, port = StoredBento.latest(bentos), free_port()
    if bento is None:
        raise RuntimeError("there is no Bento")
    environment = {
        **os.environ,
        **{"BENTOML_HOME": str(bentos), "BENTOML_DO_NOT_TRACK": "true", "TAPEWATCH_HOME": str(home)},
        "TAPEWATCH_REDIS_URL": redis,
    }
    command = serve_command(bento.folder, host="127.0.0.1", port=port)
    page = f"http://127.0.0.1:{port}/readyz"
    # The first start compiles the Bento's own copy of the code.
    starts = []
    for _ in range(_STARTS + 1):
        start = time.perf_counter()
        with _process(command, environment, page, home) as process:
            wall, parent = time.perf_counter() - start, psutil.Process(process.pid)
            starts.append((wall, sum(map(_cpu, [parent, *parent.children(recursive=True)]))))
    with _process(command, environment, page, home) as process:
        ready = min(starts[1:])
        workers = psutil.Process(process.pid).children(recursive=True)
        yield port, ready, max(workers, key=lambda each: each.memory_info().rss)


@contextmanager
def _process(
    command: list[str], environment: dict[str, str], page: str, cwd: Path
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, env=environment, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(1_200):
            _expect(process.poll() is None, f"{command} ended")
            try:
                if httpx.get(page, timeout=5).is_success:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
