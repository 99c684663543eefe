"""A small HTTP proxy on loopback, and a certificate that no one trusts."""

import datetime as dt
import ipaddress
import select
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass
class Proxy:
    """Its address, and the method and host of each request so far."""

    url: str
    asked: list[tuple[str, str]] = field(default_factory=list)


@contextmanager
def proxy(hosts: Mapping[str, str]) -> Iterator[Proxy]:
    """A proxy that forwards plain requests and tunnels; `hosts` names the real address, `host:port`, of each host."""

    class Handler(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            host = self.path.rpartition(":")[0]
            found.asked.append(("CONNECT", host))
            name, _, port = hosts[host].rpartition(":")
            with socket.create_connection((name, int(port))) as server:
                self.send_response(200)
                self.end_headers()
                _tunnel(self.connection, server)
            self.close_connection = True

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            found.asked.append(("GET", parts.hostname or ""))
            connection = HTTPConnection(hosts[parts.hostname or ""])
            target = parts.path + (f"?{parts.query}" if parts.query else "")
            connection.request("GET", target, headers=dict(self.headers.items()))
            answer = connection.getresponse()
            body = answer.read()
            self.send_response(answer.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Proxy(f"http://127.0.0.1:{server.server_address[1]}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()


def _tunnel(client: socket.socket, server: socket.socket) -> None:
    with suppress(OSError):
        while True:
            for readable in select.select([client, server], [], [])[0]:
                data = readable.recv(65_536)
                if not data:
                    return
                (server if readable is client else client).sendall(data)


def self_signed(folder: Path) -> tuple[Path, Path]:
    """The files of a new certificate for 127.0.0.1 and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    addresses = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(addresses, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files
