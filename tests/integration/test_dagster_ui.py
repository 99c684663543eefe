"""The Dagster UI after a run in a real browser: definitions, row counts, plots and checks."""

import datetime as dt
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from orchestration.home import environment
from orchestration.runs.runs import run_days
from tapewatch.emulator.process import running_emulator
from tapewatch.market.instruments import Market
from tapewatch.settings import Settings
from tests.support.browser import browser_page
from tests.support.ports import free_port

pytestmark = pytest.mark.slow

CHECKOUT = Path(__file__).resolve().parents[2]
DAY = dt.date(2024, 6, 4)
PATIENCE_S = 240
PATIENCE_MS = PATIENCE_S * 1000


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("ui")
    with running_emulator(seed=5) as emulator:
        settings = Settings(
            home=home,
            polygon_api_key="ui-test-key",  # pragma: allowlist secret
            polygon_base_url=emulator.base_url,
            markets={"stocks": {"plan": "advanced", "symbols": ("VOO",)}},
            _env_file=None,
        )
        run_days(settings, "update_day", Market.STOCKS, DAY, DAY)
    port = free_port()
    command = [sys.executable, "-m", "dagster_webserver", "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, cwd=CHECKOUT, env=os.environ | environment(settings))
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{url}/server_info", server)
        yield url
    finally:
        server.terminate()
        server.wait(PATIENCE_S)


def wait_for(url: str, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        assert server.poll() is None, "the webserver died"
        try:
            if httpx.get(url).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.3)
    raise AssertionError(f"{url} did not answer")


def test_an_asset_page_shows_definition_rows_columns_and_checks(address: str) -> None:
    with browser_page() as page:
        page.goto(f"{address}/assets/features/microstructure")
        expect(page.get_by_text("quant-research")).to_be_visible(timeout=PATIENCE_MS)
        for text in ("Order flow, liquidity and volatility of a symbol", "effective_spread_bps", "bps", "tapewatch"):
            expect(page.get_by_text(text).first).to_be_visible(timeout=PATIENCE_MS)
        expect(page.get_by_text("External Asset")).to_have_count(0)


def test_a_materialization_shows_its_plot(address: str) -> None:
    with browser_page() as page:
        page.goto(f"{address}/assets/tape/trades?view=partitions&partition={DAY}%7Cstocks")
        expect(page.get_by_text("plot", exact=True).first).to_be_visible(timeout=PATIENCE_MS)


def test_passed_checks_are_shown(address: str) -> None:
    with browser_page() as page:
        page.goto(f"{address}/assets/tape/trades?view=checks")
        expect(page.get_by_text("rows_match_source").first).to_be_visible(timeout=PATIENCE_MS)
        expect(page.get_by_text("Passed").first).to_be_visible(timeout=PATIENCE_MS)
        expect(page.get_by_text("Skipped")).to_have_count(0)
