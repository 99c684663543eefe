"""Lines of the logs have the fields that the page lists, and no secret."""

import asyncio
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import httpx
import msgspec
import pytest

from orchestration.processes.logs import LogLine
from serving.app import application
from serving.http.log import Log
from tests.support.scoring import deployment_of, save_detector

PAGE = (Path(__file__).parents[3] / "docs" / "design" / "logs.md").read_text()
#: Given as text: pytest has handlers of its own in this process.
PROGRAM = """
import logging
from orchestration.processes.logs import start_log
from tapewatch.settings import Settings
ADDRESS = "postgresql://tape:hidden@host/tape"  # pragma: allowlist secret
start_log("healer", Settings(_env_file=None, log_format={format!r}))
logging.getLogger("tapewatch.healer").warning("away: %s", ADDRESS)
try:
    raise OSError(ADDRESS)
except OSError:
    logging.getLogger("tapewatch.healer").exception("failed")
"""


def written(form: str) -> str:
    program = PROGRAM.format(format=form)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


def listed(section: str) -> set[str]:
    """The fields in the table of a section."""
    part = PAGE.partition(f"## {section}\n")[2].partition("\n## ")[0]
    return {name for row in re.findall(r"^\| (`.*?) \|", part, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}


def test_lines_as_json_have_the_fields_of_the_page_and_no_secret() -> None:
    text = written("json")
    warned, failed = (msgspec.json.decode(line, type=LogLine) for line in text.splitlines())
    assert (warned.level, warned.service, warned.logger) == ("warning", "healer", "tapewatch.healer")
    assert "OSError" in failed.exception
    assert "hidden" not in text
    assert set(json.loads(text.splitlines()[1])) == listed("Collectors, healer, paper trader")


def test_lines_of_text_are_the_default_form_and_are_masked_too() -> None:
    text = written("text")
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z WARNING  healer: away: ", text)
    assert "hidden" not in text


@pytest.mark.long
def test_a_request_has_the_fields_of_the_page(tmp_path: Path) -> None:
    log = io.StringIO()

    async def ask() -> None:
        deployment = deployment_of(save_detector(tmp_path / "model"), tmp_path, otlp_endpoint="http://127.0.0.1:9")
        deployment.log = Log(log)
        await deployment.start()
        transport = httpx.ASGITransport(application(deployment))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            await client.get("/models")
        await deployment.stop()

    asyncio.run(ask())
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    (request,) = [line for line in lines if line["event"] == "request"]
    assert set(request) == listed("Scoring service")
    assert all({"time", "level", "service", "event"} <= set(line) for line in lines)
