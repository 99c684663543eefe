"""The dashboard behind its login for tests: its process, and a client that fills in forms."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import unescape
from pathlib import Path

import httpx

from tapewatch.accounts.users import add_user, change_password
from tapewatch.settings import Settings
from tapewatch.store.database.database import Database
from tests.support.command import environment
from tests.support.ports import free_port

PASSWORD = "correct horse battery"  # noqa: S105  # pragma: allowlist secret
HTML = {"accept": "text/html"}
_WITH_SCRIPT = """
from pathlib import Path
from dashboard.server import serve
from tapewatch.settings import Settings
serve(Settings(), Path({script!r}))
"""
_CSRF = re.compile(r'name="csrf" value="([^"]+)"')


def add_person(database: Database, name: str, role: str) -> None:
    """An account whose owner has chosen PASSWORD."""
    add_user(database, name, role, actor="test")
    change_password(database, name, PASSWORD, actor=name)


def csrf_of(page: httpx.Response) -> str:
    """The token of the forms of a page."""
    found = _CSRF.search(page.text)
    assert found, page.text[:500]
    return unescape(found[1])


def submit(client: httpx.Client, form: str, path: str = "", **fields: str) -> httpx.Response:
    """Open the page `form` and send its fields to `path`, or to the page's own address; redirects are not followed."""
    token = csrf_of(client.get(form, headers=HTML))
    return client.post(path or form, data={"csrf": token, **fields}, headers=HTML, follow_redirects=False)


def log_in(client: httpx.Client, name: str, password: str = PASSWORD) -> httpx.Response:
    """Log in, without a second factor."""
    return submit(client, "/access/login", name=name, password=password, next="/")


@dataclass(frozen=True)
class Dashboard:
    """A running dashboard, and the database of its accounts."""

    url: str
    settings: Settings
    database: Database

    @property
    def websocket(self) -> str:
        return f"ws{self.url.removeprefix('http')}/_stcore/stream"

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60, verify=False, trust_env=False)  # noqa: S501


@contextmanager
def dashboard(home: Path, script: Path | None = None, **changes: str) -> Iterator[Dashboard]:
    """The process that `tapewatch up` starts, with further variables of the environment; `script` replaces the pages."""
    port = free_port()
    settings = Settings(home=home, port_dashboard=port, _env_file=None)
    variables = environment(home, TAPEWATCH_PORT_DASHBOARD=str(port), **changes)
    log = home / "dashboard.log"
    scheme = "https" if "TAPEWATCH_TLS" in changes else "http"
    with Database(settings.database) as database, log.open("wb") as output:
        command = ["-m", "dashboard"] if script is None else ["-c", _WITH_SCRIPT.format(script=str(script))]
        process = subprocess.Popen([sys.executable, *command], env=variables, stdout=output, stderr=output, umask=0o077)
        try:
            running = Dashboard(f"{scheme}://localhost:{port}", settings, database)
            while not _answers(running):
                assert process.poll() is None, log.read_text()
                time.sleep(0.2)
            yield running
        finally:
            process.terminate()
            process.wait(180)
    assert "Traceback" not in log.read_text(), log.read_text()


def _answers(running: Dashboard) -> bool:
    try:
        with running.client() as client:
            return client.get("/_stcore/health").is_success
    except httpx.TransportError:
        return False
