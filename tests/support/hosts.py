"""Network namespaces as separate hosts: each reaches this machine over a cable of its own, which can be pulled out. Needs root."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@dataclass(frozen=True, slots=True)
class Host:
    """A namespace with an address, which reaches this machine at `gateway`, and no other."""

    name: str
    address: str
    gateway: str
    cable: str

    def command(self, *words: str) -> Sequence[str]:
        """The command line that runs `words` on this host."""
        return ("ip", "netns", "exec", self.name, *words)

    def cut_off(self) -> None:
        """Pull the cable out: packets are lost in both directions, and no connection is closed."""
        _ip("link", "set", self.cable, "down")

    def connect(self) -> None:
        """Plug the cable in again."""
        _ip("link", "set", self.cable, "up")


@contextmanager
def hosts(count: int) -> Iterator[list[Host]]:
    """`count` hosts behind a bridge of this process, gone with their network at the end of the block."""
    own = os.getpid()
    bridge, network = f"tw{own}", f"10.{64 + own // 256 % 64}.{own % 256}"
    gateway = f"{network}.1"
    with ExitStack() as stack:
        _ip("link", "add", bridge, "type", "bridge")
        stack.callback(_ip, "link", "delete", bridge)
        _ip("address", "add", f"{gateway}/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        found = [
            Host(f"tw{own}-{number}", f"{network}.{number + 2}", gateway, f"tw{own}.{number}")
            for number in range(count)
        ]
        for host in found:
            _ip("netns", "add", host.name)
            stack.callback(_ip, "netns", "delete", host.name)
            _ip("link", "add", host.cable, "type", "veth", "peer", "name", "eth0", "netns", host.name)
            _ip("link", "set", host.cable, "master", bridge, "up")
            _ip("-n", host.name, "address", "add", f"{host.address}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                _ip("-n", host.name, "link", "set", device, "up")
        yield found
