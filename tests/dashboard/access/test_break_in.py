"""Attempts to get in without an account, with another's session, or with too small a role."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from tapewatch.accounts.records import digest
from tapewatch.accounts.sessions import end_sessions_of
from tapewatch.accounts.users import change_password, list_users, set_locked, set_role
from tapewatch.market.tables.accounts import USER_SESSIONS
from tapewatch.market.tables.live import AUDIT
from tapewatch.store.database.database import Database
from tests.dashboard.access.conftest import is_in, until
from tests.support.login import HTML, PASSWORD, add_person, csrf_of, log_in, submit

COOKIE = "tapewatch_dashboard"
SQL = "' OR 1=1; DROP TABLE users; --"
EXPORT = "/tape/export/candles.csv"


@pytest.mark.parametrize(
    "path", ["/", "/static/js/index.js", "/media/x", "/component/x", "/_stcore/host-config", EXPORT, "/tape/events"]
)
def test_nothing_is_served_without_a_login(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 401
    page = client.get(path, headers=HTML)
    assert page.status_code == 303
    assert page.headers["location"].startswith("/access/login")
    for spelling in (
        f"/access/../{path}",
        f"//{path}",
        f"/access/login/..{path}",
        f"{path}?x=/access/login",
        f"/access/login;{path}",
    ):
        assert client.get(spelling).status_code in (401, 404), spelling
    with pytest.raises(WebSocketDisconnect) as caught, client.websocket_connect("/_stcore/stream"):
        pass
    assert caught.value.code == 1008


@pytest.mark.parametrize(
    "path", ["/auth/login", "/auth/logout", "/oauth2callback", "/_stcore/agent/interact", "/_stcore/metrics"]
)
def test_streamlits_own_login_and_offers_to_programs_are_not_served(client: TestClient, path: str) -> None:
    assert log_in(client, "admin").status_code == 303
    assert client.get(path).status_code == 404


def test_a_login_opens_the_page_and_the_script_never_gets_the_secret(client: TestClient) -> None:
    assert log_in(client, "user").headers["location"] == "/"
    assert is_in(client)
    secret = client.cookies[COOKIE]
    client.cookies.set("theirs", "1")
    with client.websocket_connect("/_stcore/stream", headers={"x-tapewatch-session": "forged"}) as stream:
        seen = stream.receive_json()
    assert seen["headers"]["x-tapewatch-session"] == digest(secret)
    assert seen["cookies"] == {"theirs": "1"}
    assert secret not in str(seen)
    answer = client.get(EXPORT, headers={"x-tapewatch-session": "forged", "authorization": "x"}).json()
    assert answer["name"] == "user"
    assert secret not in str(answer)
    assert "authorization" not in answer["headers"]


def test_cookies_are_closed_to_scripts_and_to_other_sites_and_to_plain_http_where_there_is_tls(app: Starlette) -> None:
    with TestClient(app, base_url="https://testserver", follow_redirects=False) as client:
        reply = submit(client, "/access/login", name="user", password=PASSWORD)
        cookie = reply.headers["set-cookie"]
        assert cookie.startswith(f"__Host-{COOKIE}=")
        for attribute in ("HttpOnly", "Secure", "SameSite=lax", "Path=/"):
            assert attribute in cookie
        assert "max-age=31536000" in reply.headers["strict-transport-security"]
        assert is_in(client)
        form = client.get("/access/account", headers=HTML).headers["set-cookie"]
        assert "SameSite=strict" in form
        assert "HttpOnly" in form


def test_the_headers_forbid_frames_foreign_scripts_and_guessed_types(client: TestClient) -> None:
    for page in (client.get("/access/login"), client.get("/x"), client.get("/_stcore/health")):
        assert page.headers["x-frame-options"] == "DENY"
        assert page.headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
        assert "unsafe-inline" not in page.headers["content-security-policy"].partition("style-src")[0]
    assert "default-src 'none'" in client.get("/access/login").headers["content-security-policy"]


def test_a_session_that_an_attacker_prepared_is_not_the_one_that_is_opened(
    client: TestClient, other: TestClient
) -> None:
    # Fixation: the attacker's own cookie in the victim's browser, before the login.
    log_in(other, "viewer")
    planted = other.cookies[COOKIE]
    client.cookies.set(COOKIE, planted, domain="testserver.local", path="/")
    token = csrf_of(client.get("/access/account", headers=HTML))
    client.post("/access/login", data={"csrf": token, "name": "admin", "password": PASSWORD})
    assert client.cookies[COOKIE] != planted
    assert is_in(client)
    assert not is_in(other), "the planted session ends with the login"


@pytest.mark.parametrize("forged", ["", "x", "a" * 5000, "é", digest("x"), "../../etc/passwd", "%00", SQL])
def test_a_forged_cookie_opens_nothing(client: TestClient, forged: str) -> None:
    assert client.get("/", headers={**HTML, "cookie": f"{COOKIE}={quote(forged)}"}).status_code == 303
    assert client.get(EXPORT, headers={"cookie": f"{COOKIE}={quote(forged)}"}).status_code == 401


def test_what_the_database_holds_of_a_session_opens_nothing(
    client: TestClient, other: TestClient, database: Database
) -> None:
    log_in(client, "admin")
    for session_id in database.read(USER_SESSIONS)["session_id"]:
        other.cookies.set(COOKIE, session_id)
        assert not is_in(other)
        other.cookies.clear()


def test_a_stolen_cookie_dies_with_a_logout_a_new_password_and_a_lock(
    client: TestClient, other: TestClient, database: Database
) -> None:
    add_person(database, "victim", "user")

    def stolen() -> None:
        client.cookies.clear()
        other.cookies.clear()
        log_in(client, "victim")
        other.cookies.set(COOKIE, client.cookies[COOKIE])
        assert is_in(other)

    stolen()
    submit(client, "/access/account", "/access/logout")
    assert not is_in(other)
    stolen()
    fields = {"current": PASSWORD, "wanted": "another good phrase", "again": "another good phrase"}
    assert submit(client, "/access/password", **fields).status_code == 303
    assert is_in(client), "who changed it stays logged in, with a new session"
    assert not is_in(other)
    change_password(database, "victim", PASSWORD, actor="test")
    stolen()
    # From another process it takes a second at most, which this process remembers a session.
    set_locked(database, "victim", locked=True, actor="test")
    until(lambda: not is_in(other))
    assert not is_in(client)


def test_what_lasts_ends_with_the_session(client: TestClient, other: TestClient, database: Database) -> None:
    add_person(database, "watcher", "viewer")
    log_in(client, "watcher")
    with client.websocket_connect("/_stcore/stream") as stream:
        stream.receive_json()
        end_sessions_of(database, "watcher")
        with pytest.raises(WebSocketDisconnect) as caught:
            stream.receive_json()
        assert caught.value.code == 4401
    assert client.get("/access/session").status_code == 401
    log_in(other, "watcher")
    with ThreadPoolExecutor(1) as pool:
        # The stream has no end of its own.
        stream_of_events = pool.submit(other.get, "/tape/events")
        while not stream_of_events.running():
            time.sleep(0.01)
        end_sessions_of(database, "watcher")
        assert stream_of_events.result().status_code in (200, 401)


@pytest.mark.parametrize("role", ["viewer", "user", "manager", "admin"])
def test_a_role_may_what_it_may_by_any_address(client: TestClient, database: Database, role: str) -> None:
    log_in(client, role)
    before = [(user.name, user.role) for user in list_users(database)]
    assert client.get(EXPORT).status_code == (403 if role == "viewer" else 200)
    is_admin = role == "admin"
    for path in ("/access/users", "/access/users?", "/access/./users"):
        assert ("Add an account" in client.get(path, headers=HTML, follow_redirects=True).text) is is_admin
    if not is_admin:
        for path, fields in (
            ("/access/users/add", {"name": "mallory", "role": "admin"}),
            ("/access/users/role", {"name": role, "role": "admin"}),
            ("/access/users/lock", {"name": "admin", "locked": "yes"}),
            ("/access/users/password", {"name": "admin"}),
            ("/access/users/totp", {"name": "admin"}),
        ):
            reply = submit(client, "/access/account", path, **fields)
            assert reply.status_code == 403, path
            assert "One-time" not in reply.text
    assert [(user.name, user.role) for user in list_users(database)] == before


def test_a_role_that_is_taken_away_is_gone_at_the_next_request(client: TestClient, database: Database) -> None:
    add_person(database, "demoted", "admin")
    log_in(client, "demoted")
    assert client.get("/access/users", headers=HTML).status_code == 200
    set_role(database, "demoted", "viewer", actor="test")
    until(lambda: client.get("/access/users", headers=HTML).status_code == 403)
    assert client.get(EXPORT).status_code == 403


def test_a_one_time_password_opens_nothing_but_the_page_to_change_it(client: TestClient, other: TestClient) -> None:
    log_in(other, "admin")
    page = submit(other, "/access/users", "/access/users/add", name="fresh", role="admin")
    found = re.search(r"<code>([a-z0-9-]{23})</code>", page.text)
    assert found
    assert log_in(client, "fresh", found[1]).status_code == 303
    assert not is_in(client)
    assert client.get(EXPORT).status_code == 401
    assert client.get("/access/users", headers=HTML).headers["location"] == "/access/password"
    assert (
        submit(client, "/access/password", "/access/tokens", title="x", days="3").headers["location"]
        == "/access/password"
    )
    fields = {"current": found[1], "wanted": PASSWORD, "again": f"{PASSWORD}!"}
    assert "differ" in submit(client, "/access/password", **fields).text
    assert submit(client, "/access/password", **fields | {"again": PASSWORD}).headers["location"] == "/"
    assert is_in(client)


@pytest.mark.parametrize(
    "path",
    ["/access/login", "/access/logout", "/access/password", "/access/totp", "/access/totp/off", "/access/tokens",
     "/access/tokens/revoke", "/access/sessions/end", "/access/users/add", "/access/users/role", "/access/users/lock",
     "/access/users/password", "/access/users/totp"],
)  # fmt: skip
def test_a_form_of_another_page_changes_nothing(
    client: TestClient, other: TestClient, database: Database, path: str
) -> None:
    log_in(client, "admin")
    log_in(other, "user")
    theirs = csrf_of(other.get("/access/account", headers=HTML))
    trail = database.read(AUDIT).height
    fields = {"name": "user", "role": "viewer", "locked": "yes", "title": "x", "days": "3", "password": PASSWORD}
    for token in ("", "x", theirs):
        assert client.post(path, data=fields | {"csrf": token}).status_code == 403, "a token of another browser"
    ours = csrf_of(client.get("/access/account", headers=HTML))
    for headers in (
        {"origin": "https://evil.example.com"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"host": "evil.example.com"},
    ):
        assert client.post(path, data=fields | {"csrf": ours}, headers=headers).status_code == 403
    assert client.get(path.replace("login", "logout"), headers=HTML).status_code in (200, 303, 405)
    assert database.read(AUDIT).height == trail
    assert is_in(client)


def test_a_page_of_another_site_opens_no_websocket(client: TestClient) -> None:
    log_in(client, "admin")
    for headers in (
        {"origin": "https://evil.example.com"},
        {"origin": "http://testserver:1"},
        {"host": "evil.example.com"},
    ):
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/_stcore/stream", headers=headers):
            pass
    with client.websocket_connect("/_stcore/stream", headers={"origin": "http://testserver"}) as stream:
        assert stream.receive_json()
