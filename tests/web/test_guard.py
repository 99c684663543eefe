"""The guard in front of a real application: which requests of pages and programs are answered."""

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from tapewatch.web.access import Access
from tapewatch.web.guard import Guard
from tapewatch.web.login import COOKIE, LOGIN

TOKEN = "correct-horse-battery-staple"  # noqa: S105  # pragma: allowlist secret
JSON = {"content-type": "application/json"}


async def echo(request: Request) -> Response:
    return PlainTextResponse(f"{request.method} {request.url.path}")


async def chat(websocket: WebSocket) -> None:
    await websocket.accept(subprotocol="graphql-ws")
    await websocket.send_text("hello")
    await websocket.close()


APP = Starlette(
    routes=[
        WebSocketRoute("/graphql", chat),
        Route("/{path:path}", echo, methods=["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]),
    ]
)


def client(
    *, host: str = "127.0.0.1", names: tuple[str, ...] = (), token: str = "", address: str = "http://127.0.0.1:3000"
) -> TestClient:
    """A client of a service that binds to `host`, to which it connects at `address`."""
    access = Access.of(host, names, token)
    guard = Guard(APP, access=access, open_paths=["/health"], closed=["/assistant"])
    return TestClient(guard, base_url=address, follow_redirects=False)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:3000", 200),
        ("localhost:3000", 200),
        ("LocalHost:3000", 200),
        ("[::1]:3000", 200),
        ("tapewatch.example.com", 200),
        ("evil.example.com:3000", 403),
        ("localhost.evil.example.com", 403),
        ("127.0.0.1.evil.example.com", 403),
        ("localhost:port", 403),
        ("", 403),
    ],
)
def test_only_the_service_s_own_names_are_answered(host: str, status: int) -> None:
    answer = client(names=("tapewatch.example.com",)).get("/", headers={"host": host})
    assert answer.status_code == status
    assert status == 200 or "TAPEWATCH_ALLOWED_HOSTS" in answer.json()["error"]


def test_the_address_at_which_a_connection_arrives_needs_no_setting() -> None:
    bearer = {"authorization": f"Bearer {TOKEN}"}
    everywhere = client(host="0.0.0.0", token=TOKEN, address="http://192.0.2.7:3000")  # noqa: S104
    assert everywhere.get("/", headers=bearer).status_code == 200
    assert everywhere.get("/", headers={**bearer, "host": "192.0.2.8:3000"}).status_code == 403


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize(
    ("origin", "is_ours"),
    [
        ("http://127.0.0.1:3000", True),
        ("http://127.0.0.1:8000", False),
        ("http://localhost:3000", False),
        ("https://evil.example.com", False),
        ("null", False),
        ("", False),
        ("chrome-extension://abc", False),
        ("http://127.0.0.1:port", False),
    ],
)
def test_a_request_of_another_page_is_refused(method: str, origin: str, is_ours: bool) -> None:
    answer = client().request(method, "/x", headers={**JSON, "origin": origin})
    assert answer.status_code == (200 if is_ours else 403)


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("tapewatch.example.com", "https://tapewatch.example.com"),
        ("tapewatch.example.com:443", "https://tapewatch.example.com"),
        ("tapewatch.example.com:8443", "https://tapewatch.example.com:8443"),
    ],
)
def test_a_proxy_with_tls_may_stand_in_front(host: str, origin: str) -> None:
    behind = client(names=("tapewatch.example.com",), token=TOKEN)
    headers = {**JSON, "host": host, "origin": origin, "authorization": f"Bearer {TOKEN}"}
    assert behind.post("/x", headers=headers).status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize(
    ("mode", "dest", "method", "status"),
    [
        ("no-cors", "image", "GET", 403),
        ("no-cors", "script", "GET", 403),
        ("navigate", "iframe", "GET", 403),
        ("navigate", "document", "GET", 200),
        ("navigate", "document", "POST", 403),
        ("cors", "empty", "GET", 403),
    ],
)
def test_from_another_site_a_browser_may_only_follow_a_link(
    site: str, mode: str, dest: str, method: str, status: int
) -> None:
    marks = {"sec-fetch-site": site, "sec-fetch-mode": mode, "sec-fetch-dest": dest}
    assert client().request(method, "/runs", headers={**JSON, **marks}).status_code == status


def test_graphql_is_not_run_by_get() -> None:
    assert client().get("/graphql", params={"query": "mutation { x }"}).status_code == 405
    assert client().get("/graphql/?query=%7Bx%7D").status_code == 405
    assert client().head("/graphql?query=x").status_code == 405
    assert client().get("/graphql").status_code == 200, "the page to write queries in"


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("application/x-protobuf", 200),
        ("text/plain", 415),
        ("text/plain; application/json", 415),
        ("Application/X-WWW-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        (None, 415),
    ],
)
def test_a_post_must_have_a_type_that_no_page_sends_unasked(kind: str | None, status: int) -> None:
    headers = {} if kind is None else {"content-type": kind}
    assert client().post("/graphql", content=b"{}", headers=headers).status_code == status


def test_a_mark_that_is_sent_twice_is_no_way_around() -> None:
    ours = "http://127.0.0.1:3000"
    for name, values in {
        "host": ["127.0.0.1:3000", "evil.example.com"],
        "origin": [ours, "https://evil.example.com"],
        "content-type": ["application/json", "text/plain"],
    }.items():
        headers = [(name, value) for value in values]
        headers += [("content-type", "application/json")] if name != "content-type" else []
        assert client().post("/x", content=b"{}", headers=headers).status_code in (403, 415), name


def test_answers_are_kept_out_of_other_pages() -> None:
    headers = client().get("/").headers
    assert headers["x-frame-options"] == "SAMEORIGIN"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["x-content-type-options"] == "nosniff"


def test_closed_parts_are_not_served() -> None:
    assert client().get("/assistant/sessions").status_code == 404


@pytest.mark.parametrize(
    ("headers", "is_answered"),
    [
        ({"origin": "http://127.0.0.1:3000"}, True),
        ({}, True),
        ({"origin": "https://evil.example.com"}, False),
        ({"host": "evil.example.com:3000"}, False),
    ],
)
def test_a_websocket_is_checked_alike(headers: dict[str, str], is_answered: bool) -> None:
    def read() -> str:
        with client().websocket_connect("ws://127.0.0.1:3000/graphql", ["graphql-ws"], headers=headers) as opened:
            return opened.receive_text()

    if is_answered:
        assert read() == "hello"
    else:
        with pytest.raises(WebSocketDisconnect):
            read()


def test_without_a_token_only_this_machine_is_served() -> None:
    answer = client(host="0.0.0.0", address="http://192.0.2.7:3000").get("/")  # noqa: S104
    assert answer.status_code == 403
    assert "TAPEWATCH_TOKEN" in answer.json()["error"]


def test_a_program_sends_the_token_as_bearer() -> None:
    asking = client(token=TOKEN)
    assert asking.get("/x").status_code == 401
    assert asking.get("/x", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
    for wrong in (f"Bearer {TOKEN}x", "Bearer ", f"Basic {TOKEN}", TOKEN, "Bearer é".encode("latin-1")):
        assert asking.get("/x", headers={"authorization": wrong}).status_code == 401
    assert asking.get("/health").status_code == 200, "health pages are open"
    with pytest.raises(WebSocketDisconnect), asking.websocket_connect("ws://127.0.0.1:3000/graphql"):
        pass


def test_a_person_logs_in_and_returns_to_the_page() -> None:
    person = client(token=TOKEN)
    asked = person.get("/runs/1?tab=a%20b", headers={"accept": "text/html"})
    assert asked.status_code == 303
    form = person.get(asked.headers["location"])
    assert 'name="next" value="/runs/1?tab=a%20b"' in form.text
    wrong = person.post(LOGIN, data={"token": "guess", "next": "/runs/1"})
    assert (wrong.status_code, COOKIE in person.cookies) == (401, False)
    right = person.post(LOGIN, data={"token": TOKEN, "next": "/runs/1?tab=a%20b"})
    assert (right.status_code, right.headers["location"]) == (303, "/runs/1?tab=a%20b")
    assert "HttpOnly" in right.headers["set-cookie"]
    assert TOKEN not in right.headers["set-cookie"]
    assert person.get("/runs/1").status_code == 200
    with person.websocket_connect("ws://127.0.0.1:3000/graphql") as opened:
        assert opened.receive_text() == "hello"


@pytest.mark.parametrize(
    "wanted", ["//evil.example.com", "https://evil.example.com", "/\\evil.example.com", "x", "/a\r\nb"]
)
def test_the_login_leads_nowhere_else(wanted: str) -> None:
    right = client(token=TOKEN).post(LOGIN, data={"token": TOKEN, "next": wanted})
    assert right.headers["location"] == "/"


def test_another_site_cannot_log_a_person_in() -> None:
    answer = client(token=TOKEN).post(LOGIN, data={"token": TOKEN}, headers={"origin": "https://evil.example.com"})
    assert answer.status_code == 403


def test_a_long_form_is_refused() -> None:
    assert client(token=TOKEN).post(LOGIN, data={"token": "x" * 100_000}).status_code == 413


def test_the_cookie_is_for_https_only_where_https_is_used() -> None:
    secure = client(token=TOKEN, address="https://127.0.0.1").post(LOGIN, data={"token": TOKEN})
    assert "Secure" in secure.headers["set-cookie"]
