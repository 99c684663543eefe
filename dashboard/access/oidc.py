"""Login with a provider of identities: OpenID Connect, authorization code with PKCE, by authlib."""

import json
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.starlette_client import OAuth
from joserfc.errors import JoseError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dashboard.access.cookies import is_https
from dashboard.access.desk import Desk, client_of
from dashboard.access.forms import local
from tapewatch.accounts.errors import AccountError
from tapewatch.accounts.providers import user_of_claims
from tapewatch.settings import Settings
from tapewatch.web.access import is_loopback

_BEGIN: Final = "/access/oidc"
_BACK: Final = "/access/oidc/callback"
_COOKIE: Final = "tapewatch_oidc"
#: How long a person may take at the provider.
_WITHIN_S: Final = 600
#: A key that both sides share, or none, is refused: an ID token is signed with the provider's private key.
_ALGORITHMS: Final = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
    "Ed25519",
)
_FAILED: Final = (AuthlibBaseError, JoseError, httpx.HTTPError, AccountError, KeyError, ValueError, RuntimeError)


class ProviderError(ValueError):
    """The settings of the provider of identities cannot be used; the message names them and the way out."""


class Provider:
    """The handlers of a provider of identities."""

    def __init__(self, desk: Desk, issuer: str, client_id: str, client_secret: str, role: str | None) -> None:
        self._desk = desk
        self._issuer = issuer.rstrip("/")
        self._role = role
        self.title = urlsplit(issuer).hostname or issuer
        self._client: Any = OAuth().register(
            "provider",
            client_id=client_id,
            client_secret=client_secret,
            server_metadata_url=f"{self._issuer}/.well-known/openid-configuration",
            client_kwargs={"scope": "openid email", "code_challenge_method": "S256", "timeout": 10},
        )

    @classmethod
    def of(cls, settings: Settings, desk: Desk) -> "Provider":
        """The provider of the settings.

        Raises:
            ProviderError: a part is missing, or its address could be read on the way.
        """
        issuer = settings.oidc_issuer or ""
        address = urlsplit(issuer)
        if address.scheme != "https" and not is_loopback(address.hostname or ""):
            raise ProviderError(f"TAPEWATCH_OIDC_ISSUER is {issuer}: its address begins with https://")
        if settings.oidc_client_id is None or settings.oidc_client_secret is None:
            raise ProviderError(
                "TAPEWATCH_OIDC_ISSUER is set: set TAPEWATCH_OIDC_CLIENT_ID and TAPEWATCH_OIDC_CLIENT_SECRET, which the "
                "provider gave to this application"
            )
        secret = settings.oidc_client_secret.get_secret_value()
        return cls(desk, issuer, settings.oidc_client_id, secret, settings.oidc_role)

    def routes(self) -> list[Route]:
        return [Route(_BEGIN, self.begin), Route(_BACK, self.back)]

    async def begin(self, request: Request) -> Response:
        """To the provider; what must come back with the person is kept encrypted in a cookie."""
        request.scope["session"] = flow = {"wanted": local(request.query_params.get("next", "/"))}
        origin = f"{request.scope['scheme']}://{request.headers['host']}"
        try:
            await self._expect_issuer()
            response: Response = await self._client.authorize_redirect(request, f"{origin}{_BACK}")
        except _FAILED as error:
            return self._failed(request, error)
        sealed = self._desk.door.seal.close(json.dumps(flow))
        # Lax: the way back begins at another site.
        response.set_cookie(
            _COOKIE, sealed, max_age=_WITHIN_S, path=_BEGIN, httponly=True, secure=is_https(request), samesite="lax"
        )
        return response

    async def back(self, request: Request) -> Response:
        """From the provider, with a code for an ID token: checked, and exchanged for a session."""
        try:
            flow = json.loads(self._desk.door.seal.open(request.cookies.get(_COOKIE, ""), within_s=_WITHIN_S))
            request.scope["session"] = flow
            await self._expect_issuer()
            token = await self._client.authorize_access_token(request)
            find = partial(user_of_claims, self._desk.door.database, self._issuer, token["userinfo"], self._role)
            user = await self._desk.do(find)
            secret = await self._desk.do(partial(self._desk.door.admit, user, client_of(request)))
        except _FAILED as error:
            return self._failed(request, error)
        response = self._desk.enter(request, secret, local(str(flow.get("wanted", "/"))))
        response.delete_cookie(_COOKIE, path=_BEGIN)
        return response

    async def _expect_issuer(self) -> None:
        metadata = await self._client.load_server_metadata()
        if str(metadata.get("issuer", "")).rstrip("/") != self._issuer:
            raise AccountError("The provider of identities calls itself by another name than TAPEWATCH_OIDC_ISSUER.")
        named = metadata.get("id_token_signing_alg_values_supported") or ["RS256"]
        metadata["id_token_signing_alg_values_supported"] = [name for name in named if name in _ALGORITHMS]

    def _failed(self, request: Request, error: Exception) -> Response:
        why = (
            str(error) if isinstance(error, AccountError) else "The provider of identities did not confirm who you are."
        )
        response = self._desk.pages.show(request, "message", 401, title="Not logged in", fault=why)
        response.delete_cookie(_COOKIE, path=_BEGIN)
        return response
