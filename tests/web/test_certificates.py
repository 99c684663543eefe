"""Certificates that are made here, and given ones that cannot be used."""

import datetime as dt
import socket
import ssl
import threading
from pathlib import Path

import pytest

from tapewatch.web import certificates
from tapewatch.web.certificates import CertificateError, certificate_of, self_made


def test_a_self_made_certificate_serves_its_names_to_who_trusts_it(tmp_path: Path) -> None:
    made = self_made(tmp_path, ["tape.lan", "192.0.2.7", "0.0.0.0"])  # noqa: S104
    assert made.key.stat().st_mode & 0o077 == 0
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(made.chain, made.key)
    trusting = ssl.create_default_context(cafile=str(made.chain))
    for name in ("tape.lan", "192.0.2.7", "localhost", "127.0.0.1", "::1"):
        assert _greet(server, trusting, name) is None
    assert isinstance(_greet(server, trusting, "evil.lan"), ssl.SSLCertVerificationError)
    assert isinstance(_greet(server, ssl.create_default_context(), "localhost"), ssl.SSLCertVerificationError)


def test_it_is_kept_until_its_names_change_or_it_ends_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = self_made(tmp_path, ["tape.lan"]).fingerprint
    assert self_made(tmp_path, ["tape.lan"]).fingerprint == first
    second = self_made(tmp_path, ["other.lan"]).fingerprint
    assert second != first
    monkeypatch.setattr(certificates, "_RENEWED_BEFORE", dt.timedelta(days=398))
    assert self_made(tmp_path, ["other.lan"]).fingerprint != second


def test_given_files_that_do_not_work_are_named(tmp_path: Path) -> None:
    one, two = self_made(tmp_path / "one", []), self_made(tmp_path / "two", [])
    assert certificate_of("off", None, None, tmp_path, []) is None
    assert certificate_of("given", one.chain, one.key, tmp_path, []) == one
    with pytest.raises(CertificateError, match="set TAPEWATCH_TLS_CERTIFICATE and TAPEWATCH_TLS_KEY"):
        certificate_of("given", one.chain, None, tmp_path, [])
    for chain, key in ((one.chain, two.key), (tmp_path / "absent.pem", one.key), (one.key, one.key)):
        with pytest.raises(CertificateError, match="cannot be used"):
            certificate_of("given", chain, key, tmp_path, [])


def _greet(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> Exception | None:
    """A handshake over a pair of sockets; the client's error, if any."""
    ours, theirs = socket.socketpair()

    def answer() -> None:
        try:
            server.wrap_socket(theirs, server_side=True).close()
        except OSError:
            theirs.close()

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        client.wrap_socket(ours, server_hostname=name).close()
    except OSError as error:
        return error
    finally:
        ours.close()
        thread.join()
    return None
