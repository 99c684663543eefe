"""ActiveFaults of REST: every so many calls an answer 429 or 500, or a page that ends in the middle."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tapewatch.emulator.faults import ActiveFaults, Fault
from tapewatch.emulator.vendor import replies

_CONCERNED = ("/v1/", "/v2/", "/v3/", "/futures/")


class FaultyRest:
    """An application whose answers are sometimes wrong. What is asked of the emulator itself is left alone.

    Args:
        app: the application.
        faults: what strikes; those switched while it runs count at once.
    """

    def __init__(self, app: ASGIApp, faults: ActiveFaults) -> None:
        self._app = app
        self._faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        fault = None
        if scope["type"] == "http" and scope["path"].startswith(_CONCERNED):
            fault = self._faults.rest.advance(1)
        if fault is None:
            await self._app(scope, receive, send)
            return
        self._faults.counts[fault.kind] += 1
        if fault.kind == "cut_page":
            await self._app(scope, receive, _cut(send))
        else:
            await _refusal(fault).response()(scope, receive, send)


def _refusal(fault: Fault) -> replies.Refusal:
    if fault.kind == "http_429":
        return replies.too_many_requests(max(1, fault.delay_ms // 1000))
    return replies.Refusal(500, {"status": "ERROR", "error": "Internal Server Error"})


def _cut(send: Send) -> Send:
    started: list[Message] = []

    async def cut(message: Message) -> None:
        if message["type"] == "http.response.start":
            started.append(message)
            return
        # Half a body under a length that fits it: nothing but the JSON says that it is not whole.
        body = message.get("body", b"")[: len(message.get("body", b"")) // 2]
        start = started.pop()
        length = str(len(body)).encode()
        start["headers"] = [(k, length if k == b"content-length" else v) for k, v in start["headers"]]
        await send(start)
        await send({**message, "body": body})

    return cut
