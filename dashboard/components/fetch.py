"""Fetches the browser libraries of the components from the npm registry: `python -m dashboard.components.fetch`.

Each is one pinned release. Its archive must have the pinned SHA-512, so the registry cannot change what is served. Files
that are there already are left alone.
"""

import base64
import hashlib
import io
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

import httpx

from tapewatch.store.durable import make_folder, write_whole

#: Where the fetched files lie; git ignores it.
FOLDER = Path(__file__).parent / "vendor"
REGISTRY = "https://registry.npmjs.org"
_TIMEOUT_S = 60.0


class FetchError(RuntimeError):
    """A library cannot be had; the message names it and the way out."""


@dataclass(frozen=True, slots=True)
class Library:
    """One release on npm: the SHA-512 of its archive as npm writes it, and the one file that is used."""

    name: str
    version: str
    integrity: str
    member: str

    @property
    def file(self) -> str:
        """Name of the fetched file, which holds the version: a browser may keep it for ever."""
        stem, dot, suffixes = Path(self.member).name.partition(".")
        return f"{stem}-{self.version}{dot}{suffixes}"

    def address(self, registry: str = REGISTRY) -> str:
        """Where the archive is to be had."""
        return f"{registry}/{self.name}/-/{self.name}-{self.version}.tgz"


CHARTS = Library(
    "lightweight-charts",
    "5.2.1",
    "sha512-IVwoK1RLFiLPubaKIjNbtjWLnpPMqiABSrTay6whmNa8L1+19292VtHJ+BWyPUuLCwF0tcQlhEWd1CLB2a1nsQ==",  # pragma: allowlist secret
    "package/dist/lightweight-charts.standalone.production.mjs",
)
ARROW = Library(
    "apache-arrow",
    "21.2.0",
    "sha512-Hxe6Agq26gQOM954qpzYSllJBPJl+e16U5CkfuMUhLrNba+5nKkttIVlflaovN6oaTratqMGAO8H5u/aNhmHWQ==",  # pragma: allowlist secret
    "package/Arrow.es2015.min.js",
)
#: Judges a page's accessibility; tests use it.
AXE = Library(
    "axe-core",
    "4.14.1",
    "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",  # pragma: allowlist secret
    "package/axe.min.js",
)
#: What the dashboard serves.
SERVED = (CHARTS, ARROW)


def fetch(library: Library, folder: Path = FOLDER, registry: str = REGISTRY) -> Path:
    """The library's file, fetched and checked unless it is there.

    Raises:
        FetchError: the registry cannot be reached, or the archive is not the pinned one; nothing was written.
    """
    target = folder / library.file
    if target.exists():
        return target
    address = library.address(registry)
    try:
        reply = httpx.get(address, timeout=_TIMEOUT_S, follow_redirects=True)
        reply.raise_for_status()
    except httpx.HTTPError as error:
        raise FetchError(
            f"{library.name} {library.version} cannot be fetched from {address}: {error}. The dashboard's charts "
            f"need it: run `python -m dashboard.components.fetch` where the registry can be reached, and copy {folder} here"
        ) from error
    _check(library, reply.content)
    make_folder(folder)
    write_whole(target, _member(library, reply.content))
    return target


def _check(library: Library, archive: bytes) -> None:
    found = "sha512-" + base64.b64encode(hashlib.sha512(archive).digest()).decode()
    if found != library.integrity:
        raise FetchError(
            f"what came for {library.name} {library.version} is not the pinned release: its integrity is {found}, pinned is "
            f"{library.integrity}. "
            "Nothing was written; if the proxy in between alters downloads, fetch it elsewhere"
        )


def _member(library: Library, archive: bytes) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as files:
        try:
            stream = files.extractfile(library.member)
        except KeyError:
            stream = None
        if stream is None:
            raise FetchError(f"{library.name} {library.version} holds no {library.member}")
        return stream.read()


def main() -> None:
    """Fetch what the dashboard serves."""
    try:
        for library in SERVED:
            print(f"{library.name} {library.version}: {fetch(library)}")  # noqa: T201 - a command's output
    except FetchError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
