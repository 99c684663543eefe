"""Hosts of their own on one machine: network namespaces, or, where the system allows none, addresses of loopback."""

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol

import psutil


class Host(Protocol):
    """A host with an address, which reaches this machine at `gateway`."""

    address: str
    gateway: str

    def command(self, *words: str) -> Sequence[str]:
        """The command line that runs `words` on this host."""

    def cut_off(self) -> None:
        """From now on nothing comes from this host and nothing reaches it; no connection is closed."""

    def connect(self) -> None:
        """Connect it again."""


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@dataclass(slots=True)
class Namespace:
    """A network namespace at the end of a cable, which can be pulled out."""

    name: str
    address: str
    gateway: str
    cable: str

    def command(self, *words: str) -> Sequence[str]:
        return ("ip", "netns", "exec", self.name, *words)

    def cut_off(self) -> None:
        _ip("link", "set", self.cable, "down")

    def connect(self) -> None:
        _ip("link", "set", self.cable, "up")


@dataclass(slots=True)
class Loopback:
    """An address of loopback. It is cut off by suspending what was started with that address."""

    address: str
    gateway: str

    def command(self, *words: str) -> Sequence[str]:
        return words

    def cut_off(self) -> None:
        self._signal(signal.SIGSTOP)

    def connect(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # it has ended, or was killed
                if self.address in process.cmdline():
                    process.send_signal(number)


@contextmanager
def hosts(count: int) -> Iterator[list[Host]]:
    """`count` hosts, gone with their network at the end of the block."""
    with ExitStack() as stack:
        try:
            found: list[Host] = [*_namespaces(count, stack)]
        except (OSError, subprocess.CalledProcessError):
            stack.close()
            found = [Loopback(f"127.0.0.{number + 2}", "127.0.0.1") for number in range(count)]
        yield found


def _namespaces(count: int, stack: ExitStack) -> Iterator[Namespace]:
    """Namespaces behind a bridge of this process. Needs root; raises what `ip` does where it is not allowed."""
    own = os.getpid()
    bridge, network = f"tw{own}", f"10.{64 + own // 256 % 64}.{own % 256}"
    gateway = f"{network}.1"
    _ip("link", "add", bridge, "type", "bridge")
    stack.callback(_ip, "link", "delete", bridge)
    _ip("address", "add", f"{gateway}/24", "dev", bridge)
    _ip("link", "set", bridge, "up")
    for number in range(count):
        host = Namespace(f"tw{own}-{number}", f"{network}.{number + 2}", gateway, f"tw{own}.{number}")
        _ip("netns", "add", host.name)
        stack.callback(_ip, "netns", "delete", host.name)
        _ip("link", "add", host.cable, "type", "veth", "peer", "name", "eth0", "netns", host.name)
        _ip("link", "set", host.cable, "master", bridge, "up")
        _ip("-n", host.name, "address", "add", f"{host.address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip("-n", host.name, "link", "set", device, "up")
        yield host
