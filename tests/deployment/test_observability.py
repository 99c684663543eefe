"""Scrape config, alert rules and dashboards, on a real Prometheus that scrapes the metrics of the platform's own code."""

import json
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
import uvicorn
import yaml
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from orchestration.processes.collectors import collector_name, metrics_port
from serving.metrics import CONTENT_TYPE_LATEST, REQUESTS, ROWS, SECONDS, exposition
from tapewatch.market.instruments import Market
from tapewatch.settings import Settings
from tapewatch.streaming.collector.metrics import CollectorStatus, Latencies, serve_metrics
from tests.support.ports import free_ports
from tests.support.unpacked import program

CHECKOUT = Path(__file__).resolve().parents[2]
FOLDER = CHECKOUT / "deployment" / "observability"
DASHBOARDS = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted((FOLDER / "dashboards").glob("*.json"))}
PATIENCE_S = 120


def queries() -> list[str]:
    return [
        target["expr"].replace("$market", ".*")
        for board in DASHBOARDS.values()
        for panel in board["panels"]
        for target in panel["targets"]
    ]


def test_rules_are_valid_and_their_cases_pass() -> None:
    promtool = program("promtool", "prometheus")
    for command in (["check", "rules", "rules.yml"], ["test", "rules", "rules_test.yml"]):
        done = subprocess.run([promtool, *command], cwd=FOLDER, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case_that_fires_and_says_what_to_do() -> None:
    rules = yaml.safe_load((FOLDER / "rules.yml").read_text("utf-8"))["groups"]
    alerts = [rule for group in rules for rule in group["rules"]]
    quiet, troubled = yaml.safe_load((FOLDER / "rules_test.yml").read_text("utf-8"))["tests"]
    fired = {sample["labels"] for sample in troubled["promql_expr_test"][0]["exp_samples"]}
    assert fired == {f'{{alertname="{rule["alert"]}"}}' for rule in alerts}
    assert {case["alertname"] for case in quiet["alert_rule_test"]} == {rule["alert"] for rule in alerts}
    for rule in alerts:
        assert rule["annotations"].keys() == {"summary", "action"}
        assert rule["labels"]["severity"] in {"page", "ticket"}


def test_collectors_are_scraped_at_their_ports() -> None:
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text("utf-8"))
    targets = {
        job["job_name"]: {t for group in job["static_configs"] for t in group["targets"]}
        for job in config["scrape_configs"]
    }
    settings = Settings(_env_file=None)
    known = {f"{collector_name(market)}:{metrics_port(settings, market)}" for market in Market}
    assert targets["collectors"] <= known
    assert targets["scoring"] == {f"scoring:{settings.port_scoring}"}


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prometheus that scrapes a collector's and the scoring service's metrics each second."""
    home, (port, scoring_port) = tmp_path_factory.mktemp("prometheus"), free_ports(2)
    registry = CollectorRegistry()
    status = CollectorStatus(market="crypto", state="streaming", pid=1, lag_s=0.5)
    latencies = Latencies(Market.CRYPTO, registry)
    figures = Route("/metrics", lambda _: Response(exposition(), media_type=CONTENT_TYPE_LATEST))
    app = Starlette(routes=[figures, Route("/score", lambda _: Response("{}"))])
    server = uvicorn.Server(uvicorn.Config(app, port=scoring_port, log_level="warning"))
    with ExitStack() as stack:
        collector_port = stack.enter_context(serve_metrics(0, lambda: status, registry))
        threading.Thread(target=server.run, daemon=True).start()
        stack.callback(lambda: setattr(server, "should_exit", True))
        config = yaml.safe_load((FOLDER / "prometheus.yml").read_text("utf-8"))
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        for job, target in zip(config["scrape_configs"], (collector_port, scoring_port), strict=True):
            job["static_configs"] = [{"targets": [f"127.0.0.1:{target}"]}]
        token = home / "token"
        token.write_text("t" * 20)
        config["scrape_configs"][1]["authorization"]["credentials_file"] = str(token)
        (home / "prometheus.yml").write_text(yaml.safe_dump(config))
        shutil.copy(FOLDER / "rules.yml", home)
        options = {"config.file": home / "prometheus.yml", "storage.tsdb.path": home / "data"}
        command = [program("prometheus", "prometheus"), *(f"--{name}={value}" for name, value in options.items())]
        command.append(f"--web.listen-address=127.0.0.1:{port}")
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        stack.callback(process.wait)
        stack.callback(process.terminate)
        stop = threading.Event()
        worker = threading.Thread(target=_use, args=(stop, scoring_port, latencies), daemon=True)
        worker.start()
        stack.callback(stop.set)
        yield f"http://127.0.0.1:{port}"


def _use(stop: threading.Event, port: int, latencies: Latencies) -> None:
    """Keep requests and alerts coming."""
    while not stop.wait(0.2):
        try:
            httpx.get(f"http://127.0.0.1:{port}/score", trust_env=False)
        except httpx.HTTPError:
            continue
        REQUESTS.labels("/score", "200").inc()
        SECONDS.labels("/score").observe(0.001)
        ROWS.labels("ordinary").inc()
        latencies.add(0.01)


@pytest.mark.slow
def test_every_query_of_the_dashboards_returns_data(scraped: str) -> None:
    waiting, deadline = set(queries()), time.monotonic() + PATIENCE_S
    assert len(waiting) > 10
    while waiting and time.monotonic() < deadline:
        for query in sorted(waiting):
            try:
                answer = httpx.get(f"{scraped}/api/v1/query", params={"query": query}, trust_env=False).json()
            except httpx.HTTPError:
                break
            assert answer["status"] == "success", answer
            if answer["data"]["result"]:
                waiting.discard(query)
        time.sleep(0.5)
    assert not waiting
    loaded = httpx.get(f"{scraped}/api/v1/rules", trust_env=False).json()["data"]["groups"]
    assert {rule["health"] for group in loaded for rule in group["rules"]} <= {"ok", "unknown"}
    names = re.findall(r"tapewatch_\w+", (FOLDER / "rules.yml").read_text("utf-8"))
    known = set(httpx.get(f"{scraped}/api/v1/label/__name__/values", trust_env=False).json()["data"])
    assert set(names) <= known
