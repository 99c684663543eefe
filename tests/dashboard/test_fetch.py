"""Browser libraries come from a registry on a real socket: kept if they are the pinned release, else refused whole."""

import base64
import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dashboard.components.fetch import FetchError, Library, fetch
from tests.support.ports import free_port

_CODE = b"export const answer = 42;\n"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """An address that serves a folder."""
    folder = tmp_path / "registry"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", folder
    server.shutdown()
    server.server_close()
    thread.join()


def published(folder: Path, code: bytes = _CODE) -> Library:
    """A release in the registry's folder, and what pins it."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as files:
        member = tarfile.TarInfo("package/lib.min.mjs")
        member.size = len(code)
        files.addfile(member, io.BytesIO(code))
    place = folder / "lib" / "-" / "lib-1.2.3.tgz"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(archive.getvalue())
    digest = base64.b64encode(hashlib.sha512(archive.getvalue()).digest()).decode()
    return Library("lib", "1.2.3", f"sha512-{digest}", "package/lib.min.mjs")


def test_the_pinned_release_is_kept_and_not_fetched_again(registry: tuple[str, Path], tmp_path: Path) -> None:
    address, folder = registry
    library = published(folder)
    file = fetch(library, tmp_path / "vendor", address)
    assert file.name == "lib-1.2.3.min.mjs"
    assert file.read_bytes() == _CODE
    assert fetch(library, tmp_path / "vendor", "http://127.0.0.1:9") == file


def test_another_release_under_the_same_name_is_refused(registry: tuple[str, Path], tmp_path: Path) -> None:
    address, folder = registry
    library = published(folder)
    published(folder, b"steal();")
    with pytest.raises(FetchError, match="not the pinned release"):
        fetch(library, tmp_path / "vendor", address)
    assert not (tmp_path / "vendor").exists()


def test_offline_the_error_names_the_way_out(tmp_path: Path) -> None:
    library = Library("lib", "1.2.3", "sha512-", "package/lib.min.mjs")
    with pytest.raises(FetchError, match=r"python -m dashboard\.components\.fetch"):
        fetch(library, tmp_path / "vendor", f"http://127.0.0.1:{free_port()}")
