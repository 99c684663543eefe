"""Faults of REST: replies 429 and 500, and pages cut in the middle."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tapewatch.emulator.faults import ActiveFaults, Fault
from tapewatch.emulator.vendor import replies

_VENDOR_PATHS = ("/v1/", "/v2/", "/v3/", "/futures/")


class FaultyRest:
    """Middleware that replaces or cuts replies at the vendor's addresses. Faults replaced while it runs apply at once."""

    def __init__(self, app: ASGIApp, faults: ActiveFaults) -> None:
        self._app = app
        self._faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        fault = None
        if scope["type"] == "http" and scope["path"].startswith(_VENDOR_PATHS):
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
        # The stated length fits the half body: only the JSON shows that it is cut.
        body = message.get("body", b"")[: len(message.get("body", b"")) // 2]
        start = started.pop()
        length = str(len(body)).encode()
        start["headers"] = [(k, length if k == b"content-length" else v) for k, v in start["headers"]]
        await send(start)
        await send({**message, "body": body})

    return cut
