"""A real browser for tests: the machine's headless Chromium."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from playwright.sync_api import Page, expect, sync_playwright

from dashboard.components.fetch import AXE, fetch

_QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync", "--no-first-run"]
#: Time for a page to load on a busy machine.
_PATIENCE_MS = 240_000
#: Without it, what a test expects must be there within five seconds.
expect.set_options(timeout=_PATIENCE_MS)

_LEVEL_A = ["wcag2a", "wcag21a"]


def violations(page: Page) -> list[str]:
    """What axe-core finds against level A of WCAG, in Streamlit's shadow roots too."""
    page.evaluate(fetch(AXE).read_text())
    found = page.evaluate("levels => axe.run({ runOnly: levels })", _LEVEL_A)
    assert found["passes"]
    return [f"{rule['id']}: {[node['html'][:200] for node in rule['nodes']]}" for rule in found["violations"]]


@contextmanager
def browser_page(width: int = 1500, height: int = 950, arguments: Sequence[str] = ()) -> Iterator[Page]:
    """A new page; `arguments` are further ones of Chromium. Raises a RuntimeError with instructions if no Chromium is installed."""
    found = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )
    if found is None:
        raise RuntimeError("no Chromium on this machine: run `make system`")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=[*_QUIET, *arguments], timeout=_PATIENCE_MS)
        try:
            page = browser.new_page(viewport={"width": width, "height": height})
            page.set_default_timeout(_PATIENCE_MS)
            yield page
        finally:
            browser.close()
