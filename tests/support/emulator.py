"""An emulator within the test's own process, on a real socket, with a clock that the test sets."""

import datetime as dt
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn

from tapewatch.emulator import app
from tapewatch.emulator.gate import Gate
from tapewatch.emulator.market_tape import MarketTape

NOW = dt.datetime(2024, 3, 8, 20, tzinfo=dt.UTC)


@dataclass
class Clock:
    """A present that moves only when it is told to."""

    ns: int = int(NOW.timestamp()) * 1_000_000_000

    def __call__(self) -> int:
        return self.ns


@contextmanager
def serving(tape: MarketTape, *, key: str | None = None, clock: Clock | None = None) -> Iterator[str]:
    """The base URL of an emulator over `tape`."""
    config = uvicorn.Config(app.build(tape, Gate(key, clock or Clock())), port=0, log_level="warning", lifespan="off")
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
        thread.join(10)
