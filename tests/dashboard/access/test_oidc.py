"""Login with a real provider of identities over HTTP: whom it lets in, and which answers are refused."""

from collections.abc import Iterator

import httpx
import pytest
from joserfc.jwk import RSAKey
from pydantic import SecretStr
from starlette.testclient import TestClient

from dashboard.access.oidc import ProviderError
from tapewatch.accounts.users import add_user, list_users, set_locked
from tapewatch.settings import Settings
from tapewatch.store.database.database import Database
from tests.dashboard.access.conftest import is_in, made
from tests.support import ask
from tests.support.login import HTML
from tests.support.oidc_provider import CLIENT_ID, CLIENT_SECRET, IdentityProvider, identity_provider


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityProvider]:
    with identity_provider() as running:
        yield running


@pytest.fixture
def person(provider: IdentityProvider) -> IdentityProvider:
    """The provider, where Ada is logged in and nothing is wrong."""
    provider.person = {"sub": "4711", "email": "Ada@example.org", "email_verified": True}
    provider.changes, provider.signing_key = {}, None
    return provider


def with_provider(settings: Settings, issuer: str, **changes: object) -> Settings:
    given = {"oidc_issuer": issuer, "oidc_client_id": CLIENT_ID, "oidc_client_secret": SecretStr(CLIENT_SECRET)}
    return settings.model_copy(update=given | changes)


@pytest.fixture
def client(settings: Settings, database: Database, person: IdentityProvider) -> Iterator[TestClient]:
    with TestClient(made(with_provider(settings, person.issuer), database), follow_redirects=False) as opened:
        yield opened


def go_through(client: TestClient) -> httpx.Response:
    """To the provider and back; the answer to the way back."""
    begun = client.get("/access/oidc?next=/alerts", headers=HTML)
    assert begun.status_code == 302, begun.text
    back = ask.get(begun.headers["location"], follow_redirects=False, trust_env=False).headers["location"]
    assert back.startswith("http://testserver/access/oidc/callback?")
    return client.get(back, headers=HTML)


def test_only_a_person_whose_account_an_admin_made_gets_in(client: TestClient, database: Database) -> None:
    assert "127.0.0.1" in client.get("/access/login", headers=HTML).text
    refused = go_through(client)
    assert refused.status_code == 401
    assert "There is no account ada@example.org" in refused.text
    add_user(database, "ada@example.org", "user", actor="test", has_password=False)
    entered = go_through(client)
    assert entered.headers["location"] == "/alerts"
    assert is_in(client)
    assert "ada@example.org" in client.get("/access/account", headers=HTML).text
    set_locked(database, "ada@example.org", locked=True, actor="test")
    assert "closed" in go_through(client).text
    set_locked(database, "ada@example.org", locked=False, actor="test")


@pytest.mark.long
def test_another_person_with_the_same_address_does_not_get_the_account(
    client: TestClient, database: Database, person: IdentityProvider
) -> None:
    add_user(database, "eve@example.org", "admin", actor="test", has_password=False)
    person.person = {"sub": "1", "email": "eve@example.org", "email_verified": True}
    assert go_through(client).status_code == 303
    client.cookies.clear()
    person.person = {"sub": "2", "email": "eve@example.org", "email_verified": True}
    assert "belongs to another login" in go_through(client).text
    # Nor does a provider take over an account with a password, and nor does an address that nobody has verified count.
    add_user(database, "local@example.org", "admin", actor="test")
    person.person = {"sub": "3", "email": "local@example.org", "email_verified": True}
    assert "belongs to another login" in go_through(client).text
    for unverified in (False, "true", None):
        person.person = {"sub": "4", "email": "new@example.org", "email_verified": unverified}
        assert "does not vouch" in go_through(client).text
    assert not is_in(client)


@pytest.mark.parametrize(
    "changes",
    [{"nonce": "x"}, {"aud": "another"}, {"iss": "https://evil.example.com"}, {"exp": 1}, {"sub": ""}],
    ids=lambda changes: next(iter(changes)),
)
def test_a_token_for_another_purpose_is_refused(
    client: TestClient, person: IdentityProvider, changes: dict[str, object]
) -> None:
    person.changes = changes
    assert go_through(client).status_code == 401
    assert not is_in(client)


def test_a_forged_token_is_refused(client: TestClient, person: IdentityProvider) -> None:
    person.signing_key = RSAKey.generate_key(2048, {"kid": "1"})
    assert go_through(client).status_code == 401
    assert not is_in(client)


def test_the_way_back_works_once_and_in_the_browser_that_began_it(client: TestClient, app: object) -> None:
    begun = client.get("/access/oidc", headers=HTML).headers["location"]
    back = ask.get(begun, follow_redirects=False, trust_env=False).headers["location"]
    kept = dict(client.cookies)
    client.cookies.clear()
    assert client.get(back, headers=HTML).status_code == 401, "login CSRF: another browser"
    client.cookies.update(kept)
    assert client.get(back.replace("state=", "state=x"), headers=HTML).status_code == 401
    client.cookies.update(kept)
    assert client.get(back, headers=HTML).status_code == 303
    client.cookies.update(kept)
    assert client.get(back, headers=HTML).status_code == 401, "the provider gave the code once"


def test_new_people_get_the_role_of_the_setting(
    settings: Settings, database: Database, person: IdentityProvider
) -> None:
    person.person = {"sub": "99", "email": "grace@example.org", "email_verified": True}
    app = made(with_provider(settings, person.issuer, oidc_role="viewer"), database)
    with TestClient(app, follow_redirects=False) as client:
        assert go_through(client).status_code == 303
        assert go_through(client).status_code == 303
    assert [(user.role, user.has_password) for user in list_users(database) if user.name == "grace@example.org"] == [
        ("viewer", False)
    ]


def test_settings_that_cannot_work_are_named(settings: Settings, database: Database) -> None:
    with pytest.raises(ProviderError, match="begins with https"):
        made(with_provider(settings, "http://id.example.org"), database)
    with pytest.raises(ProviderError, match="TAPEWATCH_OIDC_CLIENT_SECRET"):
        made(with_provider(settings, "https://id.example.org", oidc_client_secret=None), database)


def test_a_provider_that_is_away_is_said_so(settings: Settings, database: Database) -> None:
    with TestClient(made(with_provider(settings, "http://127.0.0.1:9"), database), follow_redirects=False) as client:
        assert client.get("/access/oidc", headers=HTML).status_code == 401
