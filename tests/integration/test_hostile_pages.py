"""The real Dagster webserver against the requests of other sites' pages, sent by a real browser that is logged in."""

import functools
import http.server
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from typing import NamedTuple

import httpx
import pytest
from playwright.sync_api import Page, expect

from orchestration.home import environment, prepare
from orchestration.processes.services import services
from tapewatch.settings import Settings
from tests.support import ask
from tests.support.browser import browser_page
from tests.support.ports import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
TOKEN = "correct-horse-battery-staple"  # noqa: S105  # pragma: allowlist secret
BEARER = {"authorization": f"Bearer {TOKEN}"}
#: A mutation whose effect can be read.
PAUSE = "mutation { setAutoMaterializePaused(paused: true) }"
UNPAUSE = PAUSE.replace("true", "false")
READ = "{ instance { autoMaterializePaused } }"
REBOUND = "evil.example.com"
#: Each sends the mutation in a way that a page needs no permission for, and names what came of it.
ATTACKS = {
    "an image": "new Promise(done => { const i = new Image(); i.onload = () => done('loaded'); i.onerror = () => done('refused');"
    " i.src = `${server}/graphql?query=${encodeURIComponent(mutation)}`; })",
    "a POST of text": "fetch(`${server}/graphql`, {method: 'POST', mode: 'no-cors', credentials: 'include', body: JSON.stringify({query:"
    " mutation}), headers: {'content-type': 'text/plain'}}).then(() => 'sent', () => 'refused')",
    "a POST without a type": "fetch(`${server}/graphql?query=${encodeURIComponent(mutation)}`, {method: 'POST', mode: 'no-cors', credentials:"
    " 'include', body: new Blob(['x'])}).then(() => 'sent', () => 'refused')",
    "a POST of JSON": "fetch(`${server}/graphql`, {method: 'POST', credentials: 'include', headers: {'content-type': 'application/json'},"
    " body: JSON.stringify({query: mutation})}).then(() => 'sent', () => 'refused')",
    "a form": "new Promise(done => { const f = document.createElement('form'); f.method = 'post'; f.enctype = 'text/plain';"
    " f.target = 'frame'; f.action = `${server}/graphql?query=${encodeURIComponent(mutation)}`; document.body.append(f); f.submit();"
    " setTimeout(() => done('sent'), 500); })",
    "a WebSocket": "new Promise(done => { const s = new WebSocket(server.replace('http', 'ws') + '/graphql', 'graphql-ws');"
    " s.onopen = () => done('opened'); s.onerror = () => done('refused'); })",
}


class Webserver(NamedTuple):
    url: str
    settings: Settings

    def ask(self, query: str) -> httpx.Response:
        return ask.post(f"{self.url}/graphql", json={"query": query}, headers=BEARER, timeout=60)

    @property
    def is_paused(self) -> bool:
        return bool(self.ask(READ).raise_for_status().json()["data"]["instance"]["autoMaterializePaused"])


@pytest.fixture(scope="module")
def webserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webserver]:
    """The process that `tapewatch up` starts, with a token."""
    home = tmp_path_factory.mktemp("home")
    settings = Settings(home=home, port_dagster=free_port(), token=TOKEN, _env_file=None)
    prepare(settings)
    service = next(service for service in services(settings) if service.name == "dagster-webserver")
    log = home / "webserver.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            service.command,
            env={**os.environ, **environment(settings), "TAPEWATCH_TOKEN": TOKEN},
            stdout=output,
            stderr=output,
        )
    try:
        while not _answers(service.health):
            assert process.poll() is None, log.read_text()
        yield Webserver(service.url, settings)
    finally:
        process.terminate()
        process.wait(180)


def _answers(page: str) -> bool:
    try:
        return ask.get(page, timeout=60).is_success
    except httpx.TransportError:
        return False


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of another site, with one page."""
    folder = tmp_path_factory.mktemp("foreign")
    (folder / "index.html").write_text("<!doctype html><body><iframe name=frame></iframe></body>")
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def page(webserver: Webserver) -> Iterator[Page]:
    """A browser that is logged in, and in which the name REBOUND leads to this machine."""
    with browser_page(arguments=[f"--host-resolver-rules=MAP {REBOUND} 127.0.0.1"]) as opened:
        opened.goto(f"{webserver.url}/locations")
        opened.get_by_label("Token").fill(TOKEN)
        opened.get_by_role("button", name="Log in").click()
        expect(opened).to_have_url(re.compile("/locations$"))
        yield opened


def test_the_mutation_works_for_who_knows_the_token(webserver: Webserver) -> None:
    for mutation, paused in ((PAUSE, True), (UNPAUSE, False)):
        assert webserver.ask(mutation).json()["data"] == {"setAutoMaterializePaused": paused}
        assert webserver.is_paused is paused


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer guess"}, {"cookie": "tapewatch_session=9.9"}])
def test_nothing_is_answered_without_the_token(webserver: Webserver, headers: dict[str, str]) -> None:
    for path in ("/graphql", "/download_debug/x", "/logs/x"):
        assert ask.get(f"{webserver.url}{path}", headers=headers, timeout=60).status_code == 401
    asked = ask.post(f"{webserver.url}/graphql", json={"query": PAUSE}, headers=headers, timeout=60)
    assert asked.status_code == 401
    assert not webserver.is_paused


@pytest.mark.parametrize("attack", ATTACKS)
def test_another_site_s_page_changes_nothing(webserver: Webserver, foreign: str, page: Page, attack: str) -> None:
    page.goto(foreign)
    script = f"([server, mutation]) => {ATTACKS[attack]}"
    assert page.evaluate(script, [webserver.url, PAUSE]) in ("refused", "sent")
    assert not webserver.is_paused


def test_a_name_that_was_pointed_here_is_not_answered(webserver: Webserver, page: Page) -> None:
    answer = page.goto(webserver.url.replace("127.0.0.1", REBOUND))
    assert answer is not None
    assert answer.status == 403


def test_another_site_may_not_show_our_pages_but_may_link_to_them(
    webserver: Webserver, foreign: str, page: Page
) -> None:
    page.goto(foreign)
    with page.expect_response(f"{webserver.url}/runs") as framed:
        page.evaluate("address => { document.querySelector('iframe').src = address }", f"{webserver.url}/runs")
    assert framed.value.status == 403
    page.evaluate("address => { location = address }", f"{webserver.url}/runs")
    expect(page.get_by_text("Runs").first).to_be_visible()


def test_dagster_s_pages_work_with_their_websocket(webserver: Webserver, page: Page) -> None:
    received: list[str | bytes] = []
    refused: list[str] = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: received.append(frame)))  # noqa: PLW0108
    page.on("response", lambda answer: refused.append(answer.url) if answer.status >= 400 else None)
    page.goto(f"{webserver.url}/locations")
    expect(page.get_by_text("tapewatch").first).to_be_visible()
    page.goto(f"{webserver.url}/assets/tape/trades")
    expect(page.get_by_text("Materialize").first).to_be_visible()
    assert any("connection_ack" in str(frame) for frame in received)
    assert not refused


def test_a_run_cannot_name_the_server_that_gets_the_key(webserver: Webserver) -> None:
    config = {"resources": {"tape_source": {"config": {"base_url": "http://192.0.2.1"}}}}
    selector = {
        "repositoryLocationName": "tapewatch",
        "repositoryName": "__repository__",
        "jobName": "backfill_tape",
    }
    query = (
        "mutation Launch($params: ExecutionParams!) { launchRun(executionParams: $params) { __typename"
        " ... on RunConfigValidationInvalid { errors { message } } } }"
    )
    variables = {"params": {"selector": selector, "runConfigData": config, "mode": "default"}}
    asked = ask.post(
        f"{webserver.url}/graphql", json={"query": query, "variables": variables}, headers=BEARER, timeout=120
    )
    answer = asked.json()["data"]["launchRun"]
    assert answer["__typename"] == "RunConfigValidationInvalid"
    assert "unexpected config entry" in answer["errors"][0]["message"]
