"""The emulator's WebSocket streams, one for each market, with their status and their faults."""

from collections.abc import Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from tapewatch.emulator.faults import ActiveFaults, FaultError, FaultsFile, read
from tapewatch.emulator.stream.connection import StreamConnection
from tapewatch.emulator.stream.pace import Speed
from tapewatch.emulator.stream.playback import Playback, Replay
from tapewatch.emulator.stream.wire import Listener, Wire
from tapewatch.emulator.tape.market_tape import MarketTape
from tapewatch.emulator.vendor import replies
from tapewatch.emulator.vendor.gate import Gate
from tapewatch.market.instruments import Market


class Streams:
    """The six streams over one tape.

    Args:
        replay: days to send. By default all recorded days; for a synthetic tape the present at speed 1, else the last
            finished trading day.
        faults: faults in force at the start.
    """

    def __init__(
        self,
        tape: MarketTape,
        gate: Gate,
        *,
        speed: Speed,
        replay: Replay | None = None,
        faults: FaultsFile | None = None,
    ) -> None:
        self.faults = ActiveFaults((faults or FaultsFile()).fault)
        self._playbacks = {market: Playback(market, tape, gate, speed, replay, self.faults) for market in Market}
        self._keys: dict[Market, dict[str, StreamConnection]] = {market: {} for market in Market}

    def protocol(self) -> Callable[..., Wire]:
        """The WebSocket protocol class to give to uvicorn."""

        def protocol(config: Any, server_state: Any, app_state: Any) -> Wire:  # noqa: ARG001 - uvicorn names them
            return Wire(server_state, self._listener)

        return protocol

    def _listener(self, path: str, wire: Wire) -> Listener | None:
        name = path.strip("/").partition("/")[0]
        if name not in list(Market):
            return None
        return StreamConnection(wire, self._playbacks[Market(name)], self._keys[Market(name)])

    def progress(self, request: Request) -> Response:
        """`GET /emulator/v1/stream?market=&key=`: a market's progress, for one key or for any, and its faults so far."""
        name = request.query_params.get("market", "")
        if name not in list(Market):
            raise replies.bad_request(f"market: {name!r} is none of {', '.join(Market)}")
        playback, key = self._playbacks[Market(name)], request.query_params.get("key")
        return replies.reply(
            {
                "market": name,
                "speed": str(playback.speed),
                "position_ns": playback.position_ns(key),
                "sent": playback.sent,
                "is_done": playback.is_done(key),
                "faults": dict(playback.counts + self.faults.counts),
            }
        )

    async def switch(self, request: Request) -> Response:
        """`POST /emulator/v1/faults`: replace the faults in force; the JSON has the shape of a faults file."""
        try:
            faults = read(msgspec.json.decode(await request.body() or b"{}"), "the request")
        except (FaultError, msgspec.DecodeError) as error:
            raise replies.bad_request(str(error)) from None
        if faults.rename:
            raise replies.bad_request("rename: a symbol's name is part of the tape; name it in the file of --faults")
        self.faults.replace(faults.fault)
        return replies.reply({"status": "OK", "faults": len(faults.fault)})
