"""What keeps a container from starting: it names that and the way out, its exit status is 1, and what its volume held stays."""

import hashlib
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from tapewatch.store.database.database import Database
from tests.support.containers import HOME, USER, Container, ContainerError, container
from tests.support.ports import free_port

_SECRET = "hunter2"  # noqa: S105  # pragma: allowlist secret


def scoring(found: Container) -> None:
    """Of the scoring service; its volume has a Bento."""
    with _kept(found.volume), _full(found.volume) as full, _newer(found.volume) as newer:
        for sign, given in {**_everywhere(full, newer), **_bucket("TAPEWATCH_BENTOS_URL", "cannot be read")}.items():
            _refused(found, sign, given)


def parts(found: Container) -> None:
    """Of an image whose program is `tapewatch`, with a key."""
    with _kept(found.volume), _full(found.volume) as full, _newer(found.volume) as newer:
        wanted = {
            **_everywhere(full, newer),
            **_bucket("TAPEWATCH_LAKE_URL", "cannot be written"),
            "POLYGON_API_KEY is not set, nor is TAPEWATCH_FLAT_FILES": {"POLYGON_API_KEY": ""},
        }
        for sign, given in wanted.items():
            _refused(found, sign, given)


def second(found: Container, *command: str) -> None:
    """Of a second one on the volume of one that runs."""
    with container(found.target, found.volume, found.variables) as other:
        said = other.refusal(*command)
    if "already" not in said or HOME not in said:
        raise ContainerError(f"a second {command} on the volume: {said}")


def _everywhere(full: str, newer: str) -> dict[str, dict[str, str]]:
    """What every part refuses: the sign of its message, and the settings."""
    closed = f"127.0.0.1:{free_port()}"
    return {
        "set TAPEWATCH_TOKEN to a secret": {"TAPEWATCH_HOST": "0.0.0.0"},  # noqa: S104
        "start the server, or correct the address": {
            "TAPEWATCH_DATABASE_URL": f"postgresql://me:{_SECRET}@{closed}/tapes"
        },
        f"the volume of {full} is full": {"TAPEWATCH_HOME": full},
        "newer than this Tapewatch": {"TAPEWATCH_DATABASE_URL": newer},
    }


def _bucket(variable: str, sign: str) -> dict[str, dict[str, str]]:
    """A bucket whose server does not answer; the home is an empty one."""
    given = {
        variable: "s3://tapes/there",
        "TAPEWATCH_HOME": f"{HOME}/empty",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}",
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": _SECRET,
    }
    return {f"{variable}: s3://tapes/there {sign}": given}


def _refused(found: Container, sign: str, given: Mapping[str, str]) -> None:
    said = found.with_settings(**given).refusal()
    if sign not in said or _SECRET in said or "Traceback" in said:
        raise ContainerError(f"{dict(given)}: instead of {sign!r} it says {said}")


@contextmanager
def _full(volume: Path) -> Iterator[str]:
    """A full volume below `volume`, as the container sees it."""
    folder = volume / "full"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=8m,uid={USER}", "tmpfs", folder], check=True)
    try:
        yield f"{HOME}/full"
    finally:
        subprocess.run(["umount", folder], check=True)
        folder.rmdir()


@contextmanager
def _newer(volume: Path) -> Iterator[str]:
    """The address of a database that a newer version upgraded."""
    file = volume / "newer.db"
    with Database(f"sqlite:///{file}") as database, database.engine.begin() as connection:
        connection.execute(sa.text("UPDATE tapewatch_version SET version_num = '9999'"))
    for each in volume.glob("newer.db*"):
        each.chmod(0o666)
    yield f"sqlite:///{HOME}/newer.db"


@contextmanager
def _kept(volume: Path) -> Iterator[None]:
    """Afterwards each file of the volume is what it was."""
    before = _digests(volume)
    yield
    after = _digests(volume)
    if changed := [name for name, digest in before.items() if after.get(name) != digest]:
        raise ContainerError(f"these files were lost or changed: {changed}")


def _digests(volume: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in volume.rglob("*")
        if path.is_file() and "logs" not in path.parts
    }
