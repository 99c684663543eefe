"""The emulator as a process: its command line, its socket, its end."""

import argparse
import contextlib
import datetime as dt
import os
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvicorn

from tapewatch import __version__
from tapewatch.emulator import DEFAULT_PORT, DEFAULT_SEED, DEFAULT_SPEED, LOOPBACK, app, name_of
from tapewatch.emulator.faults import FaultsFile, load
from tapewatch.emulator.rest import actions
from tapewatch.emulator.stream.pace import Speed
from tapewatch.emulator.stream.playback import Replay
from tapewatch.emulator.stream.streams import Streams
from tapewatch.emulator.tape.market_tape import MarketTape, SyntheticTape
from tapewatch.emulator.tape.renaming import RenamedTape
from tapewatch.emulator.vendor.gate import Gate
from tapewatch.market.instruments import Market

_HIGHEST_PORT = 65_535
_FIRST_DAY = ("VOO", dt.date(2024, 3, 5))

_HELP = """\
A server with the market data vendor's REST API and WebSocket streams, for work without a key or a network. It serves a
synthetic market (default) or recorded flat files. Point any client of the vendor's API at the address that it prints:

    RESTClient("any-key", base="http://127.0.0.1:8900")

The same seed always gives the same tape. Stocks: AAPL GOOGL MSFT TSLA VOO, and SYN001 to SYN999. Crypto: BTC ETH ADA SOL
DOT DOGE against USD (X:BTCUSD). Forex: C:EURUSD C:GBPUSD C:USDJPY. Indices: I:SPX I:NDX. Options: O:AAPL291221C00190000
O:AAPL291221P00190000 O:TSLA291221C00240000. Futures: ESZ9 NQZ9 CLZ9, and the spread CLZ9-CLF0, whose price crosses zero
every day. The anomalies in the tape are listed at /emulator/v1/truth?ticker=AAPL&date=2024-03-05.

Streams are at ws://127.0.0.1:8900/stocks, …/crypto and so on. --speed and --replay choose what they send, --faults what
goes wrong. /emulator/v1/stream?market=stocks shows how far a stream is.

Any key that is not empty is accepted, unless --key names one. A key that begins with basic-, starter-, developer- or
advanced- has that plan's rights and call rate; any other key has the plan advanced.
"""


def config(
    tape: MarketTape,
    gate: Gate,
    faults: FaultsFile,
    *,
    speed: str = DEFAULT_SPEED,
    replay: str | None = None,
    source: str = "",
    corporate: Path | None = None,
    **options: Any,
) -> uvicorn.Config:
    """Uvicorn's configuration of an emulator.

    Args:
        tape: the tape to serve, before the renames in `faults`.
        gate: keys, plans and the present.
        faults: a faults file's content.
        speed: of the streams: a multiple of real time (`60`), `max`, or a rate (`50000eps`).
        replay: days to stream, `FIRST` or `FIRST:LAST`; None for the default (see `Streams`).
        corporate: CSV file of splits and dividends to list: symbol, date, split_ratio, dividend.
        source: what the tape is, in words, for `/emulator/v1/info`; by default the tape's name.
        options: further options of `uvicorn.Config`.

    Raises:
        ValueError: an invalid speed or days.
    """
    tape = RenamedTape(tape, faults.rename) if faults.rename else tape
    days = Replay.parse(replay) if replay else None
    pace = Speed.parse(speed)
    streams = Streams(tape, gate, speed=pace, replay=days, faults=faults)
    info = {
        "emulator": True,
        "version": __version__,
        "source": source or tape.name,
        "speed": str(pace),
        "replay": replay,
        "markets": list(Market),
        "faults": len(faults.fault) + len(faults.rename),
    }
    protocol: Any = streams.protocol()
    return uvicorn.Config(
        app.build(tape, gate, streams, info, actions.read(corporate)),
        ws=protocol,
        log_level="warning",
        access_log=False,
        lifespan="off",
        **options,
    )


def _serve(given: argparse.Namespace) -> None:
    """Serve until SIGINT or SIGTERM. Prints the address once the socket is open."""
    faults = load(given.faults) if given.faults else FaultsFile()
    tape, source = _tape(given.seed, given.flat_files), name_of(given.seed, given.flat_files)
    settings = config(
        tape,
        Gate(given.key),
        faults,
        speed=given.speed,
        replay=given.replay,
        source=source,
        corporate=given.actions,
        timeout_graceful_shutdown=2,
    )
    listener = socket.create_server((LOOPBACK, given.port), backlog=256)
    sys.stdout.write(f"emulator at http://{LOOPBACK}:{listener.getsockname()[1]} ({source})\n")
    sys.stdout.flush()
    # The first requested day compiles the market's kernels: begin now, in the background.
    threading.Thread(target=tape.trades, args=_FIRST_DAY, daemon=True).start()
    with listener, contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(settings).run(sockets=[listener])


def _tape(seed: int, flat_files: str | None) -> MarketTape:
    if flat_files is None:
        return SyntheticTape(seed)
    # The synthetic market starts faster without the reader of flat files.
    from tapewatch.emulator.tape.recorded import RecordedTape  # noqa: PLC0415

    if "://" not in flat_files and not Path(flat_files).is_dir():
        raise FileNotFoundError(f"no folder {flat_files}: name the one that holds us_stocks_sip, global_crypto, …")
    return RecordedTape(flat_files)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        "python -m tapewatch.emulator", description=_HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=_port, default=DEFAULT_PORT, help="port on 127.0.0.1; 0 for a free one")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="seed of the synthetic market")
    parser.add_argument("--flat-files", metavar="DIR", help="serve the flat files in this folder or URL instead")
    parser.add_argument("--key", help="the only key to accept")
    parser.add_argument(
        "--speed",
        default=DEFAULT_SPEED,
        metavar="N|max|Neps",
        help="of the streams: a multiple of real time, max, or events a second",
    )
    parser.add_argument("--replay", metavar="FIRST[:LAST]", help="days to stream, such as 2024-03-05")
    parser.add_argument("--faults", metavar="FILE", type=Path, help="TOML file of faults")
    parser.add_argument(
        "--actions", metavar="FILE", type=Path, help="CSV of splits and dividends: symbol, date, split_ratio, dividend"
    )
    parser.add_argument("--until-input-ends", action="store_true", help="stop when standard input does")
    given = parser.parse_args(arguments)
    if given.until_input_ends:
        threading.Thread(target=_end_with_input, daemon=True).start()
    try:
        _serve(given)
    except (ValueError, FileNotFoundError) as error:
        return _failed(str(error))
    except OSError as error:
        return _failed(f"port {given.port}: {error.strerror}; choose another with --port, or 0")
    return 0


def _end_with_input() -> None:
    # Not by `sys.stdin`: a thread that waits in it would hold up the exit.
    while os.read(0, 1):
        pass
    # Immediately: the parent process is gone, and SIGTERM may be ignored, as the parent ignored it.
    os._exit(1)


def _failed(message: str) -> int:
    sys.stderr.write(f"emulator: {message}\n")
    return 1


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > _HIGHEST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: give a number from 0 to {_HIGHEST_PORT}")
    return int(text)
