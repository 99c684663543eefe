"""The emulator as a process: its socket, its command line, its end."""

import argparse
import contextlib
import datetime as dt
import os
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from tapewatch.emulator import DEFAULT_PORT, DEFAULT_SEED, DEFAULT_SPEED, LOOPBACK, app
from tapewatch.emulator.faults import FaultsFile, load
from tapewatch.emulator.stream.pace import Speed
from tapewatch.emulator.stream.playback import Replay
from tapewatch.emulator.stream.streams import Streams
from tapewatch.emulator.tape.market_tape import MarketTape, SyntheticTape
from tapewatch.emulator.tape.renaming import RenamedTape
from tapewatch.emulator.vendor.gate import Gate

_HIGHEST_PORT = 65_535
_FIRST_DAY = ("VOO", dt.date(2024, 3, 5))

_SPEED_HELP = "of the streams: times real time, as fast as the client takes, or events a second (default 1)"

_HELP = """\
A server with the market data vendor's REST API and WebSocket streams, for work without a key or a network. It makes a
synthetic market (default) or replays recorded flat files. Point any client of the vendor's API at the address it prints:

    RESTClient("any-key", base="http://127.0.0.1:8900")

The same seed always makes the same tape. Stocks: AAPL GOOGL MSFT TSLA VOO, and SYN001 to SYN999. Crypto: BTC ETH ADA SOL
DOT DOGE against USD (X:BTCUSD). Forex: C:EURUSD C:GBPUSD C:USDJPY. Indices: I:SPX I:NDX. Options: O:AAPL291221C00190000
O:AAPL291221P00190000 O:TSLA291221C00240000. Futures: ESZ9 NQZ9 CLZ9, and CLZ9-CLF0, whose price crosses
zero every day. The anomalies put into the tape are stated at
/emulator/v1/truth?ticker=AAPL&date=2024-03-05.

Streams are at ws://127.0.0.1:8900/stocks, …/crypto and so on. --speed and --replay say what they send, --faults what goes
wrong with it; /emulator/v1/stream?market=stocks tells how far one is.

Any key that is not empty is accepted, unless --key names the one. A key that begins with basic-, starter-, developer- or
advanced- has that plan's rights and call rate; any other has the plan advanced.
"""


def main(
    port: int = DEFAULT_PORT,
    seed: int = DEFAULT_SEED,
    flat_files: str | None = None,
    key: str | None = None,
    host: str = LOOPBACK,
    *,
    speed: str = DEFAULT_SPEED,
    replay: str | None = None,
    faults: Path | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        port: 0 chooses a free one. The address is printed on standard output once the socket is open.
        seed: of the synthetic market; without meaning where flat files are replayed.
        flat_files: folder or fsspec URL of flat files to replay.
        key: the only key accepted; None accepts any.
        host: address to bind to.
        speed: of the streams: a multiple of real time (`60`), `max`, or a rate (`50000eps`).
        replay: days to stream, `FIRST` or `FIRST:LAST`. By default all recorded days; of the synthetic market the present
            at speed 1, else the last whole trading day.
        faults: file of what is to go wrong (see `faults`).

    Raises:
        OSError: the port is taken, or the folder is not there.
        ValueError: speed, days or faults make no sense.
    """
    asked = load(faults) if faults else FaultsFile()
    tape, gate = _tape(seed, flat_files), Gate(key)
    tape = RenamedTape(tape, asked.rename) if asked.rename else tape
    streams = Streams(
        tape,
        gate,
        speed=Speed.parse(speed),
        replay=Replay.parse(replay) if replay else None,
        faults=asked,
    )
    listener = socket.create_server((host, port), backlog=256)
    address = f"http://{host}:{listener.getsockname()[1]}"
    what = f"flat files in {flat_files}" if flat_files else f"synthetic market, seed {seed}"
    sys.stdout.write(f"emulator at {address} ({what})\n")
    sys.stdout.flush()
    # The first day asked for compiles the market's kernels; begin at once, in the background.
    threading.Thread(target=tape.trades, args=_FIRST_DAY, daemon=True).start()
    config = uvicorn.Config(
        app.build(tape, gate, streams),
        ws=streams.protocol(),  # type: ignore[arg-type]
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=2,
    )
    with listener, contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])


def _tape(seed: int, flat_files: str | None) -> MarketTape:
    if flat_files is None:
        return SyntheticTape(seed)
    # Only here: the synthetic market starts faster without the reader of files.
    from tapewatch.emulator.tape.recorded import RecordedTape  # noqa: PLC0415

    if "://" not in flat_files and not Path(flat_files).is_dir():
        raise FileNotFoundError(f"no folder {flat_files}: name the one that holds us_stocks_sip, global_crypto, …")
    return RecordedTape(flat_files)


def run(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    parser = argparse.ArgumentParser(
        "python -m tapewatch.emulator", description=_HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=_port, default=DEFAULT_PORT, help="port on 127.0.0.1; 0 for a free one")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="seed of the synthetic market")
    parser.add_argument("--flat-files", metavar="DIR", help="replay the flat files in this folder or URL instead")
    parser.add_argument("--key", help="accept this key alone")
    parser.add_argument("--speed", default=DEFAULT_SPEED, metavar="N|max|Neps", help=_SPEED_HELP)
    parser.add_argument("--replay", metavar="FIRST[:LAST]", help="days that the streams replay, as 2024-03-05")
    parser.add_argument("--faults", metavar="FILE", type=Path, help="TOML file of what is to go wrong")
    parser.add_argument("--until-input-ends", action="store_true", help="stop when standard input does")
    given = parser.parse_args(arguments)
    if given.until_input_ends:
        threading.Thread(target=_end_with_input, daemon=True).start()
    streams = {"speed": given.speed, "replay": given.replay, "faults": given.faults}
    try:
        main(given.port, given.seed, given.flat_files, given.key, **streams)
    except ValueError as error:
        return _failed(str(error))
    except FileNotFoundError as error:
        return _failed(str(error))
    except OSError as error:
        return _failed(f"port {given.port}: {error.strerror}; choose another with --port, or 0")
    return 0


def _end_with_input() -> None:
    # Not by `sys.stdin`: a thread that waits in it cannot be left behind at the end.
    while os.read(0, 1):
        pass
    # At once: who asked for it is gone, and SIGTERM may be ignored as that one ignored it.
    os._exit(1)


def _failed(message: str) -> int:
    sys.stderr.write(f"emulator: {message}\n")
    return 1


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > _HIGHEST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: give 0 to {_HIGHEST_PORT}")
    return int(text)
