"""The served Bento under load: swaps, a killed worker, Redis stopped and started. One service for the module."""

import concurrent.futures
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import polars as pl
import psutil
import pytest

from orchestration.processes.services import Service
from orchestration.processes.supervision import Supervisor, stop_signals
from serving.bento import build_bento
from serving.client import AsyncScoringClient, ScoringClient, ScoringClientError, as_frame
from serving.start import serve_command
from serving.store import CHAMPION, StoredBento, point
from tapewatch.accounts.keys import create_key, revoke_key
from tapewatch.store.database.database import Database
from tests.support import ask
from tests.support.detectors import extreme, fitted, fitted_ensemble, ordinary_rows
from tests.support.ports import free_port
from tests.support.redis import redis_server

pytestmark = pytest.mark.slow
PATIENCE_S = 180
ROW = {"symbol": "AAPL", "event_time": "2024-06-03T13:31:00Z", "volume_ratio": 400.0}


@dataclass
class Live:
    """A running service, its home and model, and its Redis, which a test may stop and start."""

    url: str
    home: Path
    model: Path
    redis_port: int
    redis: ExitStack

    def start_redis(self) -> None:
        self.redis.enter_context(redis_server(self.home, self.redis_port))

    def build(self, version: str) -> None:
        build_bento(self.model, name="isolation_forest", version=version, metadata={}, bento_home=self.home / "bentoml")

    def name(self) -> str:
        return str(ask.get(f"{self.url}/model", timeout=PATIENCE_S).raise_for_status().json()["name"])

    def version(self) -> str:
        return str(ask.get(f"{self.url}/model", timeout=PATIENCE_S).raise_for_status().json()["version"])


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    home, model = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("model")
    fitted().save(model)
    Database(f"sqlite:///{home / 'tapewatch.db'}").close()
    port = free_port()
    with ExitStack() as redis:
        made = Live(f"http://127.0.0.1:{port}", home, model, free_port(), redis)
        made.build("3")
        made.start_redis()
        bento = StoredBento.latest(home / "bentoml")
        assert bento is not None
        command = tuple(serve_command(bento.folder, host="127.0.0.1", port=port))
        service = Service("scoring", "Scoring", command, health=f"{made.url}/readyz")
        environment = {
            **os.environ,
            "BENTOML_HOME": str(home / "bentoml"),
            "BENTOML_DO_NOT_TRACK": "true",
            "TAPEWATCH_HOME": str(home),
            "TAPEWATCH_REDIS_URL": f"redis://127.0.0.1:{made.redis_port}/0",
        }
        with stop_signals() as stopping, Supervisor([service], home, environment) as supervisor:
            supervisor.wait_until_healthy(service, timeout_s=300, stopping=stopping)
            yield made


def until(is_so: object, what: str) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():  # type: ignore[operator]
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


class Load:
    """Requests from several threads until the block ends; every one must be answered, and well."""

    def __init__(self, url: str, threads: int = 3) -> None:
        self._url, self._stop = url, threading.Event()
        self._pool = concurrent.futures.ThreadPoolExecutor(threads)
        self._threads = threads
        self.versions: list[str] = []

    def __enter__(self) -> "Load":
        self._runs = [self._pool.submit(self._run, number) for number in range(self._threads)]
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for run in self._runs:
            run.result(PATIENCE_S)
        self._pool.shutdown()

    def _run(self, number: int) -> None:
        with httpx.Client(base_url=self._url, timeout=PATIENCE_S) as client:
            at = 0
            while not self._stop.is_set():
                at += 1
                path = "/score?reasons=true" if at % 10 == 0 else "/score"
                row = ROW | {"return_bps": float(at * 10 + number)}
                answer = client.post(path, json={"rows": [row] * (1 if at % 7 else 200)})
                assert answer.status_code == 200, answer.text
                self.versions.append(answer.json()["model"]["version"])


def workers(home: Path) -> list[psutil.Process]:
    """The processes that answer requests."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        if "_bentoml_impl.worker.service" in line and str(home) in line:
            found.append(process)
    return found


def test_a_worker_scores_and_explains_by_the_ensemble_without_the_libraries_that_fitted_it(
    live: Live, tmp_path: Path
) -> None:
    fitted_ensemble().save(tmp_path)
    build_bento(tmp_path, name="ensemble", version="1", metadata={}, bento_home=live.home / "bentoml")
    until(lambda: live.name() == "ensemble", "the ensemble is not served")
    answer = ask.post(f"{live.url}/explain", json=ROW, timeout=PATIENCE_S).raise_for_status().json()
    assert answer["model"] == {"name": "ensemble", "version": "1"}
    assert answer["results"][0]["one_in_hours"] >= 6.5
    assert answer["results"][0]["reasons"][0]["feature"] == "volume_ratio"
    (worker,) = workers(live.home)
    mapped = {Path(each.path).parts for each in worker.memory_maps() if each.path.startswith("/")}
    packages = {name for parts in mapped for name in parts}
    assert "onnxruntime" in packages
    assert not packages & {"sklearn", "scipy", "tensorflow", "keras", "numba", "llvmlite"}
    live.build("3")
    until(lambda: live.name() == "isolation_forest", "the forest is not served")


def test_a_swap_fails_no_request_and_every_later_one_is_of_the_new_model(live: Live) -> None:
    before = live.version()
    assert before == "3"
    with Load(live.url) as load:
        for version in ("4", "3"):
            live.build(version)
            until(lambda v=version: load.versions[-1:] == [v], f"version {version} is not served")
    assert {"3", "4"} == set(load.versions)
    assert ask.get(f"{live.url}/readyz", timeout=PATIENCE_S).status_code == 200


def test_a_model_that_cannot_be_loaded_is_refused_and_the_old_one_stays(live: Live) -> None:
    before = live.version()
    store = live.home / "bentoml"
    live.build("9")
    until(lambda: live.version() == "9", "version 9 is not served")
    manifest = store / "models" / "tapewatch_detector" / "isolation_forest-3" / "manifest.json"
    whole = manifest.read_bytes()
    manifest.write_text("{}")
    point(store, CHAMPION, "isolation_forest-3")

    def refused() -> bool:
        lines = ask.get(f"{live.url}/metrics", timeout=PATIENCE_S).text
        return 'tapewatch_scoring_swaps_total{outcome="refused"} 1.0' in lines

    until(refused, "the broken model is not refused")
    assert live.version() == "9"
    manifest.write_bytes(whole)
    live.build(before)


def test_redis_away_makes_answers_slower_and_never_wrong(live: Live) -> None:
    def answers() -> list[object]:
        body = {"rows": [ROW | {"volume_ratio": float(100 + at)} for at in range(3)]}
        return ask.post(f"{live.url}/explain", json=body, timeout=PATIENCE_S).raise_for_status().json()["results"]

    first = answers()
    with Load(live.url, threads=2):
        live.redis.close()
        assert answers() == first
        fresh = ask.post(f"{live.url}/explain", json=ROW | {"volume_ratio": 77.0}, timeout=PATIENCE_S)
        assert fresh.status_code == 200
        live.start_redis()
    assert answers() == first


def test_a_killed_worker_is_replaced(live: Live) -> None:
    (worker,) = workers(live.home)
    worker.send_signal(signal.SIGKILL)

    def is_back() -> bool:
        try:
            return ask.post(f"{live.url}/score", json=ROW, timeout=60).status_code == 200
        except httpx.TransportError:
            return False

    until(is_back, "no worker came back")
    assert [process.pid for process in workers(live.home)] != [worker.pid]


def test_the_client_takes_and_gives_frames(live: Live) -> None:
    rows = pl.concat([ordinary_rows(5).head(30), extreme(ordinary_rows(5).slice(40, 3))])
    with ScoringClient(live.url) as client:
        answer = client.score(rows)
        by_pandas = client.score(rows.with_columns(pl.col("symbol").cast(pl.String)).to_pandas())
        by_stream = client.score_frame(rows)
        reasons = client.score([ROW], reasons=True).results[0].reasons
        assert client.models().models[0].name == "isolation_forest"
        assert client.list_alerts(symbol="AAPL").alerts == []
        with pytest.raises(ScoringClientError, match="no alert") as refused:
            client.give_feedback("nothing", "confirmed")
    assert refused.value.status == 404
    frame = as_frame(answer)
    assert frame["is_anomaly"].tail(3).to_list() == [True] * 3
    assert as_frame(by_pandas).equals(frame)
    assert by_stream.equals(frame)
    assert reasons[0].feature

    async def ask() -> object:
        async with AsyncScoringClient(live.url) as client:
            return (await client.score(rows)).results

    import asyncio  # noqa: PLC0415

    assert asyncio.run(ask()) == answer.results


def test_a_client_without_a_service_says_so() -> None:
    with (
        ScoringClient(f"http://127.0.0.1:{free_port()}", attempts=1) as client,
        pytest.raises(ScoringClientError, match="no scoring service"),
    ):
        client.models()


def test_keys_close_a_running_service_and_revoking_the_last_one_opens_it(live: Live) -> None:
    with Database(f"sqlite:///{live.home / 'tapewatch.db'}") as database:
        key, text = create_key(database, "desk", ["score"], actor="ada")

        def status(headers: dict[str, str]) -> int:
            return ask.post(f"{live.url}/score", json=ROW, headers=headers, timeout=PATIENCE_S).status_code

        until(lambda: status({}) == 401, "the key is not read")
        assert status({"authorization": f"Bearer {text}"}) == 200
        assert (
            ask.post(f"{live.url}/explain", json=ROW, headers={"x-api-key": text}, timeout=PATIENCE_S).status_code
            == 403
        )
        assert ask.get(f"{live.url}/readyz", timeout=PATIENCE_S).status_code == 200
        revoke_key(database, key.key_id, actor="ada")
        until(lambda: status({}) == 200, "the revoked key still closes the service")
    assert json.loads(ask.get(f"{live.url}/health", timeout=PATIENCE_S).text)["access"].startswith("open")
