"""Containers without an engine: an image's program as its user, in namespaces of its own, on a root file system that is read-only."""

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import psutil

#: That of the images, and where their volume is.
USER = 10001
HOME = "/data"
_BUILDAH = {"BUILDAH_ISOLATION": "chroot", "BUILDAH_FORMAT": "docker"}
_PATIENCE_S = 900
#: A health check of a busy machine takes seconds of its processors.
_POLL_S = 2.0
#: Where mmdebstrap fetches a base.
_MIRROR = ("deb.debian.org", 80)
#: Mounts of a container, made where no other process sees them; then its program takes the place of the shell.
_ENTER = """
set -e
root=$1 volume=$2 temporary=$3 user=$4
shift 4
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --rbind "$volume" "$root/data"
mount --bind "$temporary" "$root/tmp"
for file in etc/hosts etc/resolv.conf; do
    touch "$root/$file"
    mount --bind "/$file" "$root/$file"
done
mount -o remount,ro,bind "$root"
exec chroot --userspec="$user" --groups="${user#*:}" "$root" "$@"
"""


class ContainerError(RuntimeError):
    """A container ended, or did not become healthy; the message holds what it said."""


def buildah(*arguments: str) -> str:
    """Run buildah; what it printed."""
    done = subprocess.run(
        ["buildah", *arguments], env=os.environ | _BUILDAH, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout.strip()


@dataclass(frozen=True)
class Container:
    """A container of an image. It has this machine's network, and can write to its volume and to /tmp alone."""

    target: str
    image: Mapping[str, Any]
    variables: Mapping[str, str]
    root: Path
    volume: Path
    own: Path

    @property
    def entrypoint(self) -> list[str]:
        return list(self.image["Entrypoint"])

    def with_settings(self, **variables: str) -> Self:
        """The same container with other settings in its environment."""
        return replace(self, variables={**self.variables, **variables})

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the container to its end, beside nothing else, and keep what it printed."""
        return _finished(self._alone(*words))

    def refusal(self, *arguments: str) -> str:
        """What the image's program says as it refuses to start. Raises a ContainerError if its exit status is not 1."""
        done = self.run(*self._main(*arguments))
        if done.returncode != 1:
            raise ContainerError(f"exit status {done.returncode} instead of 1: {done.stdout}")
        return done.stdout

    @contextmanager
    def started(self, *arguments: str) -> Iterator["Running"]:
        """Like `docker run IMAGE ARGUMENTS`: within the block it runs, and is healthy; at its end it is stopped.

        Raises:
            ContainerError: it ended, is not healthy within minutes, or does not stop.
        """
        log = self.own / "log"
        with log.open("w") as output:
            process = subprocess.Popen(self._alone(*self._main(*arguments)), stdout=output, stderr=output)
        try:
            running = Running(self, process)
            running.wait_until_healthy()
            yield running
            running.first.terminate()
            process.wait(_PATIENCE_S)
        finally:
            process.kill()  # and so everything in the container
            process.wait()

    def _main(self, *arguments: str) -> list[str]:
        return [*self.entrypoint, *(arguments or self.image["Cmd"] or ())]

    def _alone(self, *words: str) -> list[str]:
        """The command line that runs a command as the first process of the container."""
        places = map(str, (self.root, self.volume, self.own / "tmp", self.image["User"]))
        apart = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
        return [*apart, "sh", "-c", _ENTER, "sh", *places, *self.program(*words)]

    def program(self, *words: str) -> list[str]:
        """A command with the container's environment and working directory."""
        given = dict(pair.split("=", 1) for pair in self.image["Env"]) | dict(self.variables)
        return [
            *("env", "--ignore-environment", f"--chdir={self.image['WorkingDir']}"),
            *(f"{name}={value}" for name, value in given.items()),
            *words,
        ]


@dataclass(frozen=True)
class Running:
    """A container that runs."""

    container: Container
    process: subprocess.Popen[bytes]

    @property
    def first(self) -> psutil.Process:
        """Its first process, which a stop signals."""
        (found,) = psutil.Process(self.process.pid).children()
        return found

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command beside the container's own, as `docker exec` does."""
        user, _, group = self.container.image["User"].partition(":")
        enter = ("nsenter", f"--target={self.first.pid}", "--mount", "--pid", "--root")
        return _finished([*enter, f"--setuid={user}", f"--setgid={group}", *self.container.program(*words)])

    def wait_until_healthy(self) -> None:
        """Return once the image's health check passes."""
        check, deadline = self.container.image["Healthcheck"]["Test"][1:], time.monotonic() + _PATIENCE_S
        said = "it has not started"
        while self.process.poll() is None and time.monotonic() < deadline:
            if psutil.Process(self.process.pid).children():
                done = self.run(*check)
                if done.returncode == 0:
                    return
                said = done.stdout
            time.sleep(_POLL_S)
        log = (self.container.own / "log").read_text()
        raise ContainerError(f"it is not healthy: {said}\n{log[-4000:]}")


def _finished(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


@contextmanager
def container(target: str, volume: Path, variables: Mapping[str, str] | None = None) -> Iterator[Container]:
    """A container of `localhost/tapewatch-TARGET` on a volume, with settings of its own.

    Args:
        target: a role, or `ROLE:VERSION`.
        volume: a folder, which is given to the image's user, with what is in it.
        variables: of the environment, besides the image's.
    """
    image = json.loads(buildah("inspect", "--type", "image", f"localhost/tapewatch-{target}"))["Docker"]["config"]
    for path in (volume, *volume.rglob("*")):
        with suppress(FileNotFoundError):  # another container that runs on the volume
            os.chown(path, USER, USER)
    with ExitStack() as stack:
        name = buildah("from", f"localhost/tapewatch-{target}")
        stack.callback(buildah, "rm", name)
        root = Path(buildah("mount", name))
        own = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tapewatch-container-")))
        (own / "tmp").mkdir()
        (own / "tmp").chmod(0o1777)
        yield Container(target, image, variables or {}, root, volume, own)


def is_possible() -> str:
    """Why containers cannot be built and run here; empty if they can."""
    if os.geteuid() != 0:
        return "only root can build images"
    if missing := [program for program in ("mmdebstrap", "buildah", "unshare") if shutil.which(program) is None]:
        return f"missing: {', '.join(missing)}"
    if subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True, check=False).returncode:
        return "this machine gives root no mounts and processes of its own"
    if "tapewatch-base" not in buildah("images", "--format", "{{.Name}}"):
        try:
            socket.create_connection(_MIRROR, 10).close()
        except OSError as error:
            return f"there is no base yet, and Debian's mirror is not reached: {error}"
    return ""
