"""An emulator within the test's own process, on a real socket, with a clock that the test sets."""

import datetime as dt
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn

from tapewatch.emulator import app
from tapewatch.emulator.faults import read
from tapewatch.emulator.stream.pace import Speed
from tapewatch.emulator.stream.playback import Replay
from tapewatch.emulator.stream.streams import Streams
from tapewatch.emulator.tape.market_tape import MarketTape
from tapewatch.emulator.tape.renaming import RenamedTape
from tapewatch.emulator.vendor.gate import Gate

NOW = dt.datetime(2024, 3, 8, 20, tzinfo=dt.UTC)


@dataclass
class Clock:
    """A present that moves only when it is told to."""

    ns: int = int(NOW.timestamp()) * 1_000_000_000

    def __call__(self) -> int:
        return self.ns


@contextmanager
def serving(
    tape: MarketTape,
    *,
    key: str | None = None,
    clock: Clock | None = None,
    speed: str = "max",
    replay: str | None = None,
    faults: Mapping[str, object] | None = None,
) -> Iterator[str]:
    """The base URL of an emulator over `tape`; its streams stand under the same address with `ws://`.

    `faults` is a faults file's content; the other settings of streams are spelt as on the command line.
    """
    asked = read(faults or {}, "the test")
    tape = RenamedTape(tape, asked.rename) if asked.rename else tape
    gate = Gate(key, clock or Clock())
    streams = Streams(
        tape,
        gate,
        speed=Speed.parse(speed),
        replay=Replay.parse(replay) if replay else None,
        faults=asked,
    )
    config = uvicorn.Config(
        app.build(tape, gate, streams), ws=streams.protocol(), port=0, log_level="warning", lifespan="off"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server ended before it began"
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(60)
