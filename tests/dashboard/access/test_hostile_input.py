"""Hostile input: text in every field, guessing, second factors, tokens, and random requests."""

import asyncio
import re
from urllib.parse import quote

import httpx
import pyotp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from dashboard.access.forms import local
from tapewatch.accounts import records
from tapewatch.accounts.records import digest
from tapewatch.accounts.throttle import FREE_FAILURES, LOCKING_FAILURES
from tapewatch.accounts.tokens import make_token
from tapewatch.accounts.users import expect_user, list_users, set_locked
from tapewatch.market.tables.accounts import LOGIN_FAILURES
from tapewatch.store.database.database import Database, DatabaseError
from tapewatch.store.database.engine import transaction
from tests.dashboard.access.conftest import is_in, until
from tests.support.login import HTML, PASSWORD, add_person, log_in, submit

COOKIE = "tapewatch_dashboard"
SQL = "' OR 1=1; DROP TABLE users; --"
XSS = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
EXPORT = "/tape/export/candles.csv"


@pytest.mark.parametrize("text", [SQL, XSS, "\x00", "a" * 3000, "é☃", "{{ 7 * 7 }}", "%s%n", "../../etc/passwd"])
def test_no_text_in_a_field_runs_breaks_or_gets_in(client: TestClient, database: Database, text: str) -> None:
    names = [user.name for user in list_users(database)]
    for fields in (
        {"name": text, "password": PASSWORD},
        {"name": "admin", "password": text},
        {"name": text, "password": text},
    ):
        reply = submit(client, "/access/login", **fields, next=text)
        assert reply.status_code == 401
        assert "<img src=x" not in reply.text
        assert ">alert(1)<" not in reply.text
    end = log_in(client, "manager")
    set_locked(database, "admin", locked=False, actor="test")
    assert end.status_code == 303
    for form, path, fields in (
        ("/access/account", "/access/tokens", {"title": text, "days": text}),
        ("/access/account", "/access/tokens", {"title": text, "days": "3"}),
        ("/access/account", "/access/tokens/revoke", {"id": text}),
        ("/access/account", "/access/sessions/end", {"id": text}),
        ("/access/password", "", {"current": text, "wanted": text, "again": text}),
        ("/access/totp", "", {"sealed": text, "code": text}),
    ):
        assert submit(client, form, path, **fields).status_code < 500
        set_locked(database, "manager", locked=False, actor="test")
    page = client.get("/access/account", headers={**HTML, "user-agent": "x"}).text
    assert "<img src=x" not in page
    assert [user.name for user in list_users(database)] == names


def test_a_browser_that_calls_itself_a_script_is_shown_as_text(app: Starlette) -> None:
    with TestClient(app, headers={"user-agent": XSS}, follow_redirects=False) as client:
        log_in(client, "viewer")
        page = client.get("/access/account", headers=HTML).text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert" not in page


@given(
    st.one_of(
        st.text(max_size=60),
        st.sampled_from(["//evil.com", "/\\evil.com", "https://evil.com", "/\t/evil.com", "\\\\evil.com"]),
    )
)
def test_the_way_on_never_leads_to_another_site(wanted: str) -> None:
    path = local(wanted)
    assert path.startswith("/")
    assert not path.startswith(("//", "/\\"))
    assert not re.search(r"[\x00-\x20\\]", path.replace(" ", ""))


def test_guessing_through_the_form_is_answered_with_wait(client: TestClient, database: Database) -> None:
    add_person(database, "target", "user")
    answers = [submit(client, "/access/login", name="target", password=f"guess {n}") for n in range(FREE_FAILURES)]
    assert {answer.status_code for answer in answers} == {401}
    with transaction(database.engine) as connection:
        # As after seven more, so that the delay is longer than any machine is slow.
        assert records.update(connection, LOGIN_FAILURES, "password:target", failures=LOCKING_FAILURES)
    late = log_in(client, "target")
    assert late.status_code == 429, "the right password has to wait too"
    assert int(late.headers["retry-after"]) >= 1
    assert not is_in(client)


def test_a_second_factor_that_is_required_comes_before_everything_else(
    app_with_totp: Starlette, database: Database
) -> None:
    add_person(database, "needs", "user")
    with TestClient(app_with_totp, follow_redirects=False) as client:
        assert log_in(client, "needs").status_code == 303
        assert not is_in(client)
        assert client.get("/access/account", headers=HTML).headers["location"] == "/access/totp"
        page = client.get("/access/totp", headers=HTML)
        sealed = re.search(r'name="sealed" value="([^"]+)"', page.text)
        secret = re.search(r'<code class="wrap">([A-Z2-7]{32})</code>', page.text)
        assert sealed
        assert secret
        fields = {"sealed": sealed[1], "code": pyotp.TOTP(secret[1]).now()}
        wrong = submit(client, "/access/totp", sealed=sealed[1], code="12345")
        assert "not the code" in wrong.text
        another = submit(client, "/access/totp", sealed=sealed[1][:-2] + "AA", code=fields["code"])
        assert "too long" in another.text, "a secret of somebody else's choosing"
        assert "Recovery codes" in submit(client, "/access/totp", **fields).text
        assert is_in(client)
        assert submit(client, "/access/account", "/access/totp", **fields).headers["location"] == "/", "not set anew"
        assert submit(client, "/access/account", "/access/totp/off", password="x").status_code == 400  # noqa: S106
        assert submit(client, "/access/account", "/access/totp/off", password=PASSWORD).status_code == 303
        assert not is_in(client)


def test_an_account_that_cannot_be_read_is_not_let_in(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    log_in(client, "admin")

    def fails(*_: object) -> None:
        raise DatabaseError("away")

    monkeypatch.setattr("tapewatch.accounts.sessions.find_session", fails)
    until(lambda: client.get(EXPORT).status_code == 503)
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/_stcore/stream"):
        pass


def test_a_program_reads_the_pages_routes_and_nothing_else_with_a_token(client: TestClient, database: Database) -> None:
    token = make_token(database, expect_user(database, "user"), "nightly", 3)
    bearer = {"authorization": f"Bearer {token}"}
    assert client.get(EXPORT, headers=bearer).json()["name"] == "user"
    for path in ("/", "/static/x", "/access/account", "/access/users", "/_stcore/host-config"):
        assert client.get(path, headers=bearer).status_code == 401, path
    assert client.post(EXPORT, headers=bearer, json={}).status_code == 401
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/_stcore/stream", headers=bearer):
        pass
    for wrong in (token[:-1], token.upper(), "tapewatch_", digest(token), SQL, ""):
        assert client.get(EXPORT, headers={"authorization": f"Bearer {wrong}"}).status_code == 401
    viewers = make_token(database, expect_user(database, "viewer"), "nightly", 3)
    assert client.get(EXPORT, headers={"authorization": f"Bearer {viewers}"}).status_code == 403


_METHODS = st.sampled_from(["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD"])
_STARTS = st.sampled_from(["/access/", "/access/login", "/access/users/", "/_stcore/", "/tape/", "/", "/access/totp/"])
_KINDS = st.sampled_from(["application/x-www-form-urlencoded", "application/json", "text/plain", "multipart/form-data"])
_REQUESTS = st.tuples(
    _METHODS,
    _STARTS,
    st.text(st.characters(codec="utf-8", exclude_characters="?#"), max_size=20),
    st.binary(max_size=100),
    _KINDS,
    st.text(st.characters(codec="ascii", min_codepoint=33), max_size=30),
)
#: Examples of so many requests each: ten thousand in all.
_EXAMPLES, _AT_ONCE = 200, 50


@pytest.mark.slow
@given(st.lists(_REQUESTS, min_size=_AT_ONCE, max_size=_AT_ONCE))
@settings(
    max_examples=_EXAMPLES,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.large_base_example,
    ],
)
def test_ten_thousand_random_requests_neither_get_in_nor_break_it(
    app: Starlette, requests: list[tuple[str, str, str, bytes, str, str]]
) -> None:
    async def send_all() -> list[tuple[str, httpx.Response]]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return [await _answer(client, *request) for request in requests]

    for path, reply in asyncio.run(send_all()):
        assert reply.status_code < 500, path
        kind = reply.headers.get("content-type", "")
        is_open = path in ("/access/login", "/_stcore/health") or kind.startswith(("text/css", "text/javascript"))
        assert is_open or reply.status_code in (303, 401, 403, 404, 405, 413, 415), path


async def _answer(
    client: httpx.AsyncClient, method: str, start: str, rest: str, body: bytes, kind: str, cookie: str
) -> tuple[str, httpx.Response]:
    headers = {"content-type": kind, "cookie": f"{COOKIE}={cookie}"}
    return start + rest, await client.request(method, start + quote(rest), content=body, headers=headers)
