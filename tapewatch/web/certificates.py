"""Certificates for HTTPS: a given one, or one that is made here and signed by itself."""

import datetime as dt
import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tapewatch.store.durable import process_lock, write_whole

#: Browsers accept no certificate that lasts longer.
_LASTS: Final = dt.timedelta(days=397)
_RENEWED_BEFORE: Final = dt.timedelta(days=30)
_ALWAYS: Final = ("localhost", "127.0.0.1", "::1")


class CertificateError(ValueError):
    """The certificate cannot be used; the message names the setting and the way out."""


@dataclass(frozen=True)
class Certificate:
    """PEM files of a certificate, with its chain, and of its key."""

    chain: Path
    key: Path

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, by which a person recognises it in the browser."""
        digest = x509.load_pem_x509_certificate(self.chain.read_bytes()).fingerprint(hashes.SHA256())
        return digest.hex(":").upper()


def certificate_of(
    kind: Literal["off", "self-made", "given"],
    chain: Path | None,
    key: Path | None,
    home: Path,
    names: Sequence[str],
) -> Certificate | None:
    """The certificate that the settings ask for; None without HTTPS.

    Raises:
        CertificateError: the given files cannot be used.
    """
    if kind == "off":
        return None
    if kind == "self-made":
        return self_made(home / "dashboard", names)
    if chain is None or key is None:
        raise CertificateError(
            "TAPEWATCH_TLS is given: set TAPEWATCH_TLS_CERTIFICATE and TAPEWATCH_TLS_KEY to its PEM files"
        )
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(chain, key)
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror or str(error)
        raise CertificateError(
            f"the certificate {chain} with the key {key} cannot be used ({reason}): name PEM files that belong together"
        ) from error
    return Certificate(chain, key)


def self_made(folder: Path, names: Sequence[str]) -> Certificate:
    """The certificate in a folder; it is made where there is none for these names, or it ends within a month."""
    made = Certificate(folder / "certificate.pem", folder / "certificate.key")
    wanted = tuple(
        dict.fromkeys((*_ALWAYS, *(name.strip("[]").lower() for name in names if name not in ("0.0.0.0", "::"))))  # noqa: S104
    )
    with process_lock(folder / "certificate.lock"):
        if not _is_good(made, wanted):
            _make(made, wanted)
    return made


def _is_good(made: Certificate, wanted: Sequence[str]) -> bool:
    if not made.chain.exists() or not made.key.exists():
        return False
    found = x509.load_pem_x509_certificate(made.chain.read_bytes())
    named = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    is_lasting = found.not_valid_after_utc > dt.datetime.now(dt.UTC) + _RENEWED_BEFORE
    return is_lasting and set(named) == set(map(_general_name, wanted))


def _make(made: Certificate, names: Sequence[str]) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Tapewatch dashboard")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + _LASTS)
        .add_extension(x509.SubjectAlternativeName(list(map(_general_name, names))), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    made.key.touch(0o600)
    write_whole(made.key, key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    made.key.chmod(0o600)
    write_whole(made.chain, certificate.public_bytes(pem))


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
