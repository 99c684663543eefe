"""An emulator in the test's process, on a real socket, with a clock that the test sets."""

import datetime as dt
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from tapewatch.emulator.faults import read
from tapewatch.emulator.server import config
from tapewatch.emulator.tape.market_tape import MarketTape
from tapewatch.emulator.vendor.gate import Gate

NOW = dt.datetime(2024, 3, 8, 20, tzinfo=dt.UTC)


@dataclass
class Clock:
    """A present that moves only when the test sets it."""

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
    source: str = "",
    port: int = 0,
    certificate: tuple[Path, Path] | None = None,
    corporate: Path | None = None,
) -> Iterator[str]:
    """The base URL of an emulator over `tape`; the streams' address is the same with `ws://`.

    `faults` is a faults file's content; `speed` and `replay` are as on the command line. With the files of a `certificate`
    and its key, it is served over TLS. `corporate` is a file of splits and dividends.
    """
    gate = Gate(key, clock or Clock())
    tls: dict[str, object] = {}
    if certificate:
        # A client that refused the certificate does not close its side, and the server would wait 30 s for it.
        tls = {"ssl_certfile": certificate[0], "ssl_keyfile": certificate[1], "timeout_graceful_shutdown": 1}
    server = uvicorn.Server(
        config(
            tape,
            gate,
            read(faults or {}, "the test"),
            speed=speed,
            replay=replay,
            source=source,
            port=port,
            corporate=corporate,
            **tls,
        )
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server ended before it started"
        time.sleep(0.01)
    try:
        yield f"{'https' if certificate else 'http'}://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(60)
