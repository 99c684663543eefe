"""Random requests of people who are logged in, to every route and form: nobody gets more than the role allows, and nothing breaks.

Some hundred by default; ten thousand, with new examples each time:
TAPEWATCH_FUZZ=10000 HYPOTHESIS_PROFILE=explore pytest tests/dashboard/access/test_fuzz_logged_in.py
"""

import os
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as some
from starlette.applications import Starlette
from starlette.testclient import TestClient

from dashboard.app import entrance
from dashboard.live.routes import ROUTES
from tapewatch.accounts.sessions import Lifetime, open_session
from tapewatch.accounts.users import list_users, set_locked
from tapewatch.settings import Settings
from tapewatch.store.database.database import Database
from tests.dashboard.access.conftest import STREAMLIT
from tests.dashboard.access.test_hostile_input import COOKIE, SQL, XSS
from tests.support.login import HTML, csrf_of

_AT_ONCE = 25
_ROLES = ("viewer", "user", "manager", "admin")
_EXAMPLES = max(int(os.environ.get("TAPEWATCH_FUZZ", "400")) // _AT_ONCE // len(_ROLES), 1)
#: Routes that answer for a long time by design are left out.
_PATHS = [route.path for route in ROUTES if route.path != "/tape/events"]
_FORMS = [
    f"/access/{name}"
    for name in (
        "login", "password", "totp", "totp/off", "tokens", "tokens/revoke", "sessions/end", "users/add", "users/role",
        "users/lock", "users/password", "users/totp",
    )
]  # fmt: skip
_FIELDS = (
    "name", "role", "locked", "password", "current", "wanted", "again", "title", "days", "id", "code", "sealed", "next",
    "market", "symbol", "from", "to", "most",
)  # fmt: skip
_TEXTS = some.one_of(
    some.text(some.characters(codec="utf-8"), max_size=20),
    some.sampled_from([SQL, XSS, "admin", "viewer", "user", "yes", "stocks", "AAPL", "1709649000", "1e400", "-1", "../../x", "\x00", "9" * 400]),
)  # fmt: skip
_REQUESTS = some.tuples(
    some.sampled_from(["GET", "POST", "POST", "PUT", "DELETE"]),
    some.sampled_from([*_PATHS, *_FORMS, *_FORMS, "/", "/access/account", "/access/users", "/access/", "/metrics"]),
    some.dictionaries(some.sampled_from(_FIELDS), _TEXTS, max_size=7),
    some.booleans(),
    _TEXTS,
)
_Asked = tuple[str, str, dict[str, str], bool, str]


@pytest.fixture
def pages(settings: Settings, database: Database, placed: Path) -> Starlette:
    """The login in front of the real routes, over the watched home."""
    routes, middleware = entrance(settings, database, ROUTES)
    return Starlette(routes=[*routes, *STREAMLIT], middleware=middleware)


@pytest.mark.parametrize("role", _ROLES)
@given(asked=some.lists(_REQUESTS, min_size=_AT_ONCE, max_size=_AT_ONCE))
# What fails is shown as it is: making it smaller would take longer than finding it.
@settings(max_examples=_EXAMPLES, phases=[Phase.reuse, Phase.generate], suppress_health_check=list(HealthCheck))
def test_no_random_request_breaks_anything_or_gets_more_than_the_role_allows(
    pages: Starlette, database: Database, role: str, asked: list[_Asked]
) -> None:
    set_locked(database, role, locked=False, actor="test")
    before = {(user.name, user.role) for user in list_users(database)}
    with TestClient(pages, follow_redirects=False) as client:
        # Not through the form: it lets an address try only so often.
        client.cookies.set(
            COOKIE, open_session(database, role, lifetime=Lifetime(), is_complete=True, address="", agent="")
        )
        token = csrf_of(client.get("/access/account", headers=HTML))
        for each in asked:
            _expect_harmless(_answer(client, token, each), each, role)
    if role != "admin":
        assert {(user.name, user.role) for user in list_users(database)} == before
    assert ("admin", "admin") in {(user.name, user.role) for user in list_users(database)}


def _answer(client: TestClient, token: str, asked: _Asked) -> httpx.Response:
    method, path, fields, has_token, text = asked
    path = path.replace("{name}", quote(text, safe="")).replace("{form}", quote(text, safe="") or "csv")
    sent = fields | ({"csrf": token} if has_token else {})
    return client.request(method, path, params=fields, data=None if method == "GET" else sent, headers=HTML)


def _expect_harmless(reply: httpx.Response, asked: _Asked, role: str) -> None:
    method, path, *_ = asked
    assert reply.status_code < 500 or (reply.status_code == 503 and path == "/tape/assets/{name}"), asked
    assert "<img src=x" not in reply.text or not reply.headers["content-type"].startswith("text/html"), asked
    if reply.status_code == 200 and role != "admin":
        assert path != "/access/users", asked
        assert not (method == "POST" and path.startswith("/access/users")), asked
    if reply.status_code == 200 and role == "viewer":
        assert not path.startswith("/tape/export"), asked
