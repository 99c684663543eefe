"""A browser that leaves while a message is on its way to it."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Departures:
    """ASGI middleware, next to the pages: ends a WebSocket quietly once its browser has left.

    Streamlit reads from a WebSocket whose sending failed, takes the error for a text frame, and raises on closing what is closed
    already. Such an error says nothing, and would stand in the log with its traceback for every page that is closed at that moment.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return
        has_left = False

        async def sending(message: Message) -> None:
            nonlocal has_left
            try:
                await send(message)
            except OSError:
                has_left = True
                raise

        try:
            await self._app(scope, receive, sending)
        except RuntimeError:
            if not has_left:
                raise
