"""Takes the pictures that the README shows, from a deployment that `tapewatch demo` filled.

    .venv/bin/tapewatch demo && .venv/bin/python docs/take_screenshots.py
"""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import httpx
from playwright.sync_api import Page, sync_playwright

from orchestration.home import environment, prepare
from orchestration.services import free_port
from tapewatch.settings import Settings

IMAGES = Path(__file__).parent / "images"
CHECKOUT = Path(__file__).resolve().parent.parent
_QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync", "--no-first-run"]
_PATIENCE_S = 90


def main() -> None:
    """Start the webserver over the demo's data, photograph what a newcomer looks at first, stop it."""
    settings = Settings()
    settings = settings.model_copy(update={"home": settings.home / "demo"})
    prepare(settings)
    port = free_port(settings.host)
    command = [sys.executable, "-m", "dagster_webserver", "-w", "workspace.yaml", "-h", settings.host, "-p", str(port)]
    server = subprocess.Popen(command, cwd=CHECKOUT, env={**_inherited(), **environment(settings)})
    address = f"http://{settings.host}:{port}"
    try:
        _wait_for(f"{address}/server_info")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=_chromium(), args=_QUIET)
            page = browser.new_page(viewport={"width": 1500, "height": 950}, device_scale_factor=1)
            _dagster(page, address)
            report = max((settings.home / "reports").glob("*.html"))
            page.goto(report.as_uri())
            page.wait_for_timeout(3000)
            page.screenshot(path=IMAGES / "report.png")
            browser.close()
    finally:
        server.terminate()
        server.wait()


def _dagster(page: Page, address: str) -> None:
    pictures = {
        "lineage": "/asset-groups",
        "asset": "/assets/features/microstructure?view=partitions",
        "evaluation": "/assets/models/evaluation",
        "checks": "/assets/tape/trades?view=checks",
        "shap": "/assets/explanations/isolation_forest_shap",
    }
    for name, path in pictures.items():
        page.goto(address + path)
        page.wait_for_timeout(6000)
        page.screenshot(path=IMAGES / f"{name}.png")


def _inherited() -> dict[str, str]:
    import os

    return dict(os.environ)


def _chromium() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    raise SystemExit("no Chromium: run `make system`")


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        try:
            if httpx.get(url).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.5)
    raise SystemExit(f"{url} did not answer within {_PATIENCE_S} s")


if __name__ == "__main__":
    main()
