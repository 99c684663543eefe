"""The dashboard as a process: Streamlit behind the login, over HTTP, WebSocket, HTTPS and in a browser."""

import re
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pyotp
import pytest
from playwright.sync_api import Page, expect
from prometheus_client.parser import text_string_to_metric_families
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from dashboard.access.gate import _is_activity
from orchestration.processes.dashboard import dashboard_state
from tapewatch.accounts.sessions import end_sessions_of
from tapewatch.accounts.tokens import make_token
from tapewatch.accounts.users import expect_user, first_admin, set_role
from tests.support import ask
from tests.support.browser import browser_page, violations
from tests.support.login import HTML, PASSWORD, Dashboard, add_person, dashboard, log_in, submit

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
COOKIE = "tapewatch_dashboard"
ENDED = 4401
SCRIPT = Path(__file__).parents[2] / "support" / "login_script.py"


#: The widget's identity, which Streamlit derives from its script.
_NOTE = [""]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    with dashboard(tmp_path_factory.mktemp("home"), SCRIPT) as started:
        add_person(started.database, "ada", "user")
        add_person(started.database, "vic", "viewer")
        yield started


def cookie_of(running: Dashboard, name: str) -> str:
    with running.client() as client:
        log_in(client, name)
        return f"{COOKIE}={client.cookies[COOKIE]}"


def opened(
    running: Dashboard, cookie: str = "", *, origin: str | None = None, resumes: str = "", **headers: str
) -> ClientConnection:
    """A WebSocket to Streamlit, as its page opens it."""
    sent = {"Cookie": cookie} if cookie else {}
    return connect(
        running.websocket,
        additional_headers={**sent, **headers},
        origin=origin or running.url,  # type: ignore[arg-type]
        subprotocols=[Subprotocol(name) for name in ("streamlit", *(("x", resumes) if resumes else ()))],
        open_timeout=180,
        proxy=None,
    )


def shown(stream: ClientConnection, note: str | None = None) -> str:
    """Run the script, and return the text of what it shows."""
    message = BackMsg()
    message.rerun_script.query_string = ""
    if note is not None:
        widget = message.rerun_script.widget_states.widgets.add()
        widget.id, widget.string_value = _NOTE[0], note
    stream.send(message.SerializeToString())
    texts = []
    while True:
        answer = ForwardMsg()
        answer.ParseFromString(stream.recv(timeout=180))
        texts.append(str(answer))
        _NOTE[:] = re.findall(r'id: "([^"]*-note)"', texts[-1]) or _NOTE
        if answer.WhichOneof("type") == "script_finished":
            return "\n".join(texts)


def test_the_address_of_the_first_page_leads_there_with_what_it_asks(running: Dashboard) -> None:
    with running.client() as client:
        log_in(client, "ada")
        answer = client.get("/watch?symbol=AAPL", headers=HTML, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (307, "/?symbol=AAPL")
    turned_away = ask.get(f"{running.url}/watch", headers=HTML, follow_redirects=False)
    assert turned_away.headers["location"].startswith("/access/login")


def test_the_script_is_run_for_whoever_is_logged_in_and_for_nobody_else(running: Dashboard) -> None:
    for headers in ({}, {"x-tapewatch-session": "0" * 64}, {"Authorization": "Bearer x"}):
        for cookie in ("", f"{COOKIE}=forged", "_streamlit_user=forged"):
            with pytest.raises(InvalidStatus) as caught:
                opened(running, cookie, **headers)
            assert caught.value.response.status_code == 403
    with pytest.raises(InvalidStatus):
        opened(running, cookie_of(running, "ada"), origin="https://evil.example.com")
    cookie = cookie_of(running, "ada")
    with opened(running, cookie, **{"x-tapewatch-session": "0" * 64}) as stream:
        page = shown(stream)
    assert "ada" in page
    assert cookie.partition("=")[2] not in page


def test_the_page_of_a_session_that_ended_is_closed(running: Dashboard) -> None:
    with opened(running, cookie_of(running, "vic")) as stream:
        assert "vic" in shown(stream)
        end_sessions_of(running.database, "vic")
        with pytest.raises(ConnectionClosed) as caught:
            _read_to_the_end(stream)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == ENDED


def test_its_figures_are_for_programs_with_a_token(running: Dashboard) -> None:
    add_person(running.database, "prometheus", "viewer")
    token = make_token(running.database, expect_user(running.database, "prometheus"), "Prometheus", 30)

    def figures() -> dict[tuple[str, ...], float]:
        page = ask.get(f"{running.url}/metrics", headers={"Authorization": f"Bearer {token}"}).raise_for_status().text
        families = text_string_to_metric_families(page)
        return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}

    assert ask.get(f"{running.url}/metrics").status_code == 401
    before = figures()
    with opened(running, cookie_of(running, "ada")) as stream:
        shown(stream)
        assert figures()["tapewatch_dashboard_open", "websocket"] == before["tapewatch_dashboard_open", "websocket"] + 1
    after = figures()
    assert before["tapewatch_dashboard_requests_total", "pages", "401"] >= 1
    assert after["tapewatch_dashboard_requests_total", "access", "303"] >= 1, "the login"
    assert after["tapewatch_dashboard_request_seconds_count", "access"] >= 1


def test_another_person_who_resumes_a_page_finds_nothing_of_the_first(running: Dashboard) -> None:
    with opened(running, cookie_of(running, "ada")) as stream:
        name = re.search(r'session_id: "([^"]+)"', shown(stream))
        assert name
        assert "Kept: a secret note" in shown(stream, "a secret note")
    with opened(running, cookie_of(running, "vic"), resumes=name[1]) as stream:
        page = shown(stream)
    assert "Logged in as vic" in page
    assert "a secret note" not in page


def test_a_role_that_changed_counts_at_the_next_run_of_an_open_page(running: Dashboard) -> None:
    add_person(running.database, "promoted", "viewer")
    with opened(running, cookie_of(running, "promoted")) as stream:
        assert "viewer" in shown(stream)
        set_role(running.database, "promoted", "manager", actor="test")
        while "manager" not in shown(stream):
            pass


def test_a_page_that_refreshes_itself_is_no_activity() -> None:
    message = BackMsg()
    message.rerun_script.query_string = ""
    assert _is_activity(message.SerializeToString())
    message.rerun_script.is_auto_rerun = True
    assert not _is_activity(message.SerializeToString())
    assert not _is_activity(b"\xff\xff")


def test_over_https_with_a_certificate_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.mktemp("tls")
    with dashboard(home, TAPEWATCH_TLS="self-made") as started:
        add_person(started.database, "ada", "user")
        trusted = ssl.create_default_context(cafile=str(home / "dashboard" / "certificate.pem"))
        with httpx.Client(base_url=started.url, verify=trusted, timeout=60, trust_env=False) as client:
            reply = log_in(client, "ada")
            assert "Secure" in reply.headers["set-cookie"]
            assert "strict-transport-security" in reply.headers
            assert client.get("/", headers=HTML).status_code == 200
        state = dashboard_state(started.settings.model_copy(update={"tls": "self-made"}))
        assert state.endswith(": running")
    assert not [path for path in (home / "dashboard").iterdir() if path.stat().st_mode & 0o077]


def test_from_the_first_start_to_a_login_with_a_second_factor(running: Dashboard) -> None:
    with browser_page() as page:
        messages: list[str] = []
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(f"error: {error}"))
        _enter(page, running)
        code = _enrol(page)
        page.get_by_role("link", name="I have stored them").click()
        expect(page.get_by_text("Logged in as")).to_be_visible()
        page.goto(f"{running.url}/access/account")
        assert violations(page) == []
        page.get_by_role("link", name="Manage accounts").click()
        expect(page.get_by_role("heading", name="Add an account")).to_be_visible()
        assert violations(page) == []
        page.goto(f"{running.url}/access/account")
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_role("heading", name="Log in")).to_be_visible()
        assert violations(page) == []
        page.goto(f"{running.url}/?symbol=AAPL")
        _log_in(page)
        page.get_by_label("Code").fill("000000")
        page.get_by_role("button", name="Confirm").click()
        expect(page.get_by_role("alert")).to_contain_text("wrong")
        page.get_by_label("Code").fill(code)
        page.get_by_role("button", name="Confirm").click()
        expect(page.get_by_text("Logged in as")).to_be_visible()
        assert page.url.endswith("/?symbol=AAPL")
        page.get_by_label("Note").fill("kept")
        # The page leads to the login by itself once the session has ended.
        end_sessions_of(running.database, "boss")
        page.wait_for_url("**/access/login**")
    assert not [text for text in messages if "Content Security Policy" in text or text.startswith("error")]


def _enter(page: Page, running: Dashboard) -> None:
    """The first login of an account: with the one-time password, then with one's own."""
    with running.client() as client:
        add_person(running.database, "root", "admin")
        log_in(client, "root")
        made = submit(client, "/access/users", "/access/users/add", name="boss", role="admin").text
    once = made.partition("<code>")[2].partition("</code>")[0]
    assert first_admin(running.database, actor="test") is None
    page.goto(running.url)
    page.get_by_label("Name").fill("boss")
    page.get_by_label("Password").fill(once)
    page.get_by_role("button", name="Log in").click()
    page.get_by_label("One-time password").fill(once)
    page.get_by_label("New password", exact=True).fill(PASSWORD)
    page.get_by_label("New password again").fill(PASSWORD)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Logged in as")).to_be_visible()


def _enrol(page: Page) -> str:
    """Set up the second factor; a recovery code."""
    page.get_by_role("link", name="Account").click()
    page.get_by_role("link", name="Set up the second factor").click()
    expect(page.get_by_role("img", name="QR code")).to_be_visible()
    assert violations(page) == []
    secret = page.locator("code").inner_text()
    page.get_by_label("Code").fill(pyotp.TOTP(secret).now())
    page.get_by_role("button", name="Confirm").click()
    return page.locator(".codes li").first.inner_text()


def _log_in(page: Page) -> None:
    page.get_by_label("Name").fill("boss")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()


def _read_to_the_end(stream: ClientConnection) -> None:
    while True:
        stream.recv(timeout=180)
