"""Scrape config, alert rules and dashboards, on a real Prometheus that scrapes the metrics of the platform's own code."""

import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import dagster as dg
import httpx
import pytest
import uvicorn
import yaml
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from dashboard.metrics import Counting, Figures
from deployment.observability.boards import BOARDS, made
from orchestration.processes.collectors import collector_name, metrics_port
from orchestration.processes.run_metrics import with_metrics
from serving.metrics import CONTENT_TYPE_LATEST, REQUESTS, ROWS, SECONDS, exposition
from tapewatch.market.instruments import Market
from tapewatch.settings import Settings
from tapewatch.streaming.collector.metrics import CollectorStatus, Latencies, serve_metrics
from tests.support import ask
from tests.support.ports import free_ports
from tests.support.prometheus import FOLDER, prometheus, queries, without_data
from tests.support.unpacked import program


@pytest.mark.parametrize("board", sorted(BOARDS))
def test_the_dashboards_are_those_of_the_code(board: str) -> None:
    written = (FOLDER / "dashboards" / f"{board}.json").read_text("utf-8")
    assert written == made(board), "run `python -m deployment.observability.boards`"


def test_no_other_dashboard_is_there() -> None:
    assert {path.stem for path in (FOLDER / "dashboards").glob("*.json")} == set(BOARDS)


@pytest.mark.slow
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


@dg.op
def work() -> None:
    """A run that succeeds."""


@dg.job
def train() -> None:
    work()


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prometheus that scrapes the metrics of a collector, Dagster, the dashboard and the scoring service each second."""
    scoring_port, runs_port, dashboard_port = free_ports(3)
    figures = Figures()
    pages = Counting(Starlette(routes=[figures.route()]), figures=figures)
    registry = CollectorRegistry()
    status = CollectorStatus(market="crypto", state="streaming", pid=1, lag_s=0.5)
    latencies = Latencies(Market.CRYPTO, registry)
    exposed = Route("/metrics", lambda _: Response(exposition(), media_type=CONTENT_TYPE_LATEST))
    app = Starlette(routes=[exposed, Route("/score", lambda _: Response("{}"))])
    with ExitStack() as stack:
        instance = stack.enter_context(dg.DagsterInstance.ephemeral())
        train.execute_in_process(instance=instance)
        for port, served in ((scoring_port, app), (runs_port, with_metrics(app, instance)), (dashboard_port, pages)):
            server = uvicorn.Server(uvicorn.Config(served, port=port, log_level="warning"))
            threading.Thread(target=server.run, daemon=True).start()
            stack.callback(setattr, server, "should_exit", True)
        collector_port = stack.enter_context(serve_metrics(0, lambda: status, registry))
        home = tmp_path_factory.mktemp("prometheus")
        ports = {"collectors": collector_port, "scoring": scoring_port, "runs": runs_port, "dashboard": dashboard_port}
        address = stack.enter_context(prometheus(home, ports))
        stop = threading.Event()
        worker = threading.Thread(target=_use, args=(stop, scoring_port, latencies), daemon=True)
        worker.start()
        stack.callback(stop.set)
        yield address


def _use(stop: threading.Event, port: int, latencies: Latencies) -> None:
    """Keep requests and alerts coming."""
    while not stop.wait(0.2):
        try:
            ask.get(f"http://127.0.0.1:{port}/score", trust_env=False)
        except httpx.HTTPError:
            continue
        REQUESTS.labels("/score", "200").inc()
        SECONDS.labels("/score").observe(0.001)
        ROWS.labels("ordinary").inc()
        latencies.add(0.01)


@pytest.mark.slow
def test_every_query_of_the_dashboards_returns_data(scraped: str) -> None:
    wanted = {query for board in BOARDS for query in queries(board)}
    assert len(wanted) > 10
    assert without_data(scraped, wanted) == set()
    loaded = ask.get(f"{scraped}/api/v1/rules", trust_env=False).json()["data"]["groups"]
    assert {rule["health"] for group in loaded for rule in group["rules"]} <= {"ok", "unknown"}
    names = re.findall(r"tapewatch_\w+", (FOLDER / "rules.yml").read_text("utf-8"))
    known = set(ask.get(f"{scraped}/api/v1/label/__name__/values", trust_env=False).json()["data"])
    assert set(names) <= known
