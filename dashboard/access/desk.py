"""What all pages of the login share: the door, the directory, the pages, and who sends a request."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

import anyio
from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dashboard.access import cookies
from dashboard.access.directory import Directory
from dashboard.access.forms import FormError, fields_of
from dashboard.access.pages import Pages
from tapewatch.accounts.login import Client, Door
from tapewatch.accounts.sessions import Session

T = TypeVar("T")
#: A hash takes 64 MiB and a processor for a tenth of a second.
_HASHES_AT_ONCE: Final = 2
Fields = Mapping[str, str]
Handler = Callable[[Request, Fields], Awaitable[Response]]


@dataclass(frozen=True)
class Desk:
    """The parts that handlers use."""

    door: Door
    directory: Directory
    pages: Pages
    hashing: anyio.CapacityLimiter

    @classmethod
    def of(cls, door: Door, directory: Directory) -> "Desk":
        return cls(door, directory, Pages(cookies.Forms(door.seal)), anyio.CapacityLimiter(_HASHES_AT_ONCE))

    async def hash(self, work: Callable[[], T]) -> T:
        """Run what hashes passwords beside the event loop, a few at once; what was known of sessions is forgotten."""
        try:
            return await run_sync(work, limiter=self.hashing)
        finally:
            self.directory.forget()

    async def do(self, work: Callable[[], T]) -> T:
        """Run what waits for the database beside the event loop; what was known of sessions is forgotten."""
        try:
            return await run_sync(work)
        finally:
            self.directory.forget()

    def enter(self, request: Request, secret: str, wanted: str) -> Response:
        """Give the browser a new session, and lead it on."""
        response = RedirectResponse(wanted, 303)
        cookies.set_session(response, request, secret)
        return response

    def form(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        """A handler of POST that first checks that one of our pages sent the form."""

        async def checked(request: Request) -> Response:
            try:
                fields = await fields_of(request)
            except FormError as error:
                return self.pages.show(request, "message", 413, title="Not understood", fault=str(error))
            if not self.pages.forms.is_ours(request, fields.get("csrf", "")):
                fault = "The form was too old, or came from elsewhere. Nothing was changed."
                return self.pages.show(request, "message", 403, title="Try again", fault=fault)
            return await handler(request, fields)

        return checked


def client_of(request: Request) -> Client:
    """Where a request comes from."""
    return Client(request.client.host if request.client else "", request.headers.get("user-agent", ""))


def session_of(request: Request) -> Session | None:
    """The session of a request, complete or not."""
    found: Session | None = request.scope.get("tapewatch.session")
    return found
