"""TCP ports for services that a test starts, and that choose none themselves.

The ports lie below those that systems give to whoever asks for any (from 32,768 on Linux): between the choice of a port and the
service that takes it, no outgoing connection and no other server can come by the same. Each worker of a test run has a block
of its own, and goes through it in a circle, so that a port comes again long after its last service is gone.
"""

import os
import re
import socket
import threading
from collections.abc import Sequence
from contextlib import ExitStack

_FIRST, _BLOCKS, _PORTS_A_BLOCK = 20_000, 12, 1_000


def free_port() -> int:
    """A loopback port that nobody listens on, and that nobody but the caller is told of."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """`count` such ports in a row: a service that counts its ports from the first may be given that."""
    for _ in range(_PORTS_A_BLOCK):
        ports = _next(count)
        if _are_free(ports):
            return list(ports)
    raise RuntimeError(f"no {count} free ports in a row in {_FIRST} to {_FIRST + _BLOCKS * _PORTS_A_BLOCK}")


def _next(count: int) -> range:
    """The ports after those that were told last; the circle begins where no other process's is likely to."""
    with _telling:
        if _place[0] + count > _PORTS_A_BLOCK:
            _place[0] = 0
        start = _block() + _place[0]
        _place[0] += count
    return range(start, start + count)


def _block() -> int:
    worker = re.fullmatch(r"gw(\d+)", os.environ.get("PYTEST_XDIST_WORKER", ""))
    number = int(worker[1]) if worker else os.getpid()
    return _FIRST + number % _BLOCKS * _PORTS_A_BLOCK


def _are_free(ports: Sequence[int]) -> bool:
    with ExitStack() as held:
        try:
            for port in ports:
                held.enter_context(socket.create_server(("127.0.0.1", port)))
        except OSError:
            return False
    return True


_place = [os.getpid() * 37 % _PORTS_A_BLOCK]
_telling = threading.Lock()
