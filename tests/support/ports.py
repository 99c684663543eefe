"""TCP ports for services of tests that cannot choose a port themselves.

The ports lie below the system's ephemeral ports (from 32,768 on Linux), so that no other connection takes a port between its
choice and the start of the service. Each worker of a test run has its own block of ports and uses them in rotation, so
that a port is reused late.
"""

import os
import re
import socket
import threading
from collections.abc import Sequence
from contextlib import ExitStack

_FIRST, _BLOCKS, _PORTS_A_BLOCK = 20_000, 12, 1_000


def free_port() -> int:
    """A free loopback port."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """`count` consecutive free ports, for a service that counts its ports from the first."""
    for _ in range(_PORTS_A_BLOCK):
        ports = _next(count)
        if _are_free(ports):
            return list(ports)
    raise RuntimeError(f"no {count} free ports in a row in {_FIRST} to {_FIRST + _BLOCKS * _PORTS_A_BLOCK}")


def _next(count: int) -> range:
    """The next ports of this process's rotation, which starts at a place that depends on the process id."""
    with _lock:
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
_lock = threading.Lock()
