"""A real Prometheus with the deployment's configuration and rules, and the queries of the deployment's dashboards."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import yaml

from tests.support import ask
from tests.support.ports import free_port
from tests.support.unpacked import program

FOLDER = Path(__file__).resolve().parents[2] / "deployment" / "observability"
_PATIENCE_S = 180


def queries(board: str) -> set[str]:
    """The queries of a dashboard's panels, for all markets."""
    panels = json.loads((FOLDER / "dashboards" / f"{board}.json").read_text("utf-8"))["panels"]
    return {target["expr"].replace("$market", ".*") for panel in panels for target in panel["targets"]}


@contextmanager
def prometheus(home: Path, ports: Mapping[str, int]) -> Iterator[str]:
    """Scrapes these ports of this machine each second, by job; the other jobs have no target. Yields its address."""
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text("utf-8"))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    (home / "token").write_text("t" * 20)
    for job in config["scrape_configs"]:
        job["static_configs"] = [
            {"targets": [f"127.0.0.1:{port}"]} for name, port in ports.items() if name == job["job_name"]
        ]
        if "authorization" in job:
            job["authorization"]["credentials_file"] = str(home / "token")
    (home / "prometheus.yml").write_text(yaml.safe_dump(config))
    shutil.copy(FOLDER / "rules.yml", home)
    address = f"127.0.0.1:{free_port()}"
    options = {
        "config.file": home / "prometheus.yml",
        "storage.tsdb.path": home / "data",
        "web.listen-address": address,
    }
    command = [program("prometheus", "prometheus"), *(f"--{name}={value}" for name, value in options.items())]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait()


def without_data(address: str, wanted: set[str]) -> set[str]:
    """Those of the queries that return nothing, once all do or after two minutes."""
    waiting, deadline = set(wanted), time.monotonic() + _PATIENCE_S
    while waiting and time.monotonic() < deadline:
        for query in sorted(waiting):
            try:
                answer = ask.get(f"{address}/api/v1/query", params={"query": query}, trust_env=False).json()
            except (httpx.HTTPError, ValueError):  # it says in plain text that it starts
                break
            assert answer["status"] == "success", answer
            if answer["data"]["result"]:
                waiting.discard(query)
        time.sleep(0.5)
    return waiting
