"""Passwords: Argon2id hashes, the older PBKDF2 ones, and what is accepted as a password."""

import base64
import binascii
import functools
import hashlib
import hmac
import secrets
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

from tapewatch.accounts.errors import AccountError

SHORTEST: Final = 12
#: A hash reads the whole password, so a longer one would be a way to keep the server busy.
LONGEST: Final = 256
_PBKDF2: Final = "pbkdf2_sha256"
#: No deployment uses more; a row with more would keep the server busy.
_MOST_ITERATIONS: Final = 10_000_000
_SHA256_BYTES: Final = hashlib.sha256().digest_size
_ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz23456789"  # pragma: allowlist secret
#: Passwords that lists of leaked ones begin with, and words that everyone here would try.
COMMON: Final = frozenset(
    {
        *("123456789012", "1234567890123", "111111111111", "000000000000", "qwertyuiop12", "qwertyuiopas"),
        *("password1234", "passwordpassword", "password12345", "administrator", "changemechangeme", "letmeinletmein"),
        *("iloveyou1234", "welcome12345", "tapewatchtapewatch", "tapewatch123", "tapewatch1234", "adminadminadmin"),
        *("qwerty123456", "abc123abc123", "1q2w3e4r5t6y", "q1w2e3r4t5y6", "password", "admin", "tapewatch", "changeme"),
        *(
            "123456",
            "12345678",
            "123456789",
            "1234567890",
            "qwerty",
            "letmein",
            "welcome",
            "secret",
            "test",
            "admin123",
        ),
    }
)

_hasher = PasswordHasher()


def hashed(password: str) -> str:
    """The Argon2id hash in its usual text form, with a salt of its own; takes about a tenth of a second and 64 MiB."""
    return _hasher.hash(password)


def is_password(password: str, stored: str | None) -> bool:
    """Whether a password belongs to a hash: Argon2id, or `pbkdf2_sha256$iterations$salt$hash` (hash in base64 or hex).

    Without a hash, or with one that cannot be read, the answer is false after as much work as with one.
    """
    if len(password) > LONGEST:
        return False
    if stored is not None and stored.startswith(f"{_PBKDF2}$"):
        return _is_pbkdf2(password, stored)
    try:
        return _hasher.verify(stored or _nobodys(), password) and stored is not None
    except (VerificationError, ValueError):
        return False


def is_outdated(stored: str) -> bool:
    """Whether a hash is of an older kind or cost, and is to be replaced once the password is at hand."""
    return stored.startswith(f"{_PBKDF2}$") or _hasher.check_needs_rehash(stored)


def expect_hash(text: str) -> str:
    """A hash that `is_password` can read. Raises an AccountError for anything else."""
    kind = text.split("$")
    if text.startswith("$argon2id$"):
        with_parameters = len(kind) == 6
        if with_parameters:
            return text
    elif _pbkdf2_parts(text) is not None:
        return text
    raise AccountError("this is no password hash: $argon2id$… and pbkdf2_sha256$iterations$salt$hash are known")


def expect_strong(password: str, name: str) -> None:
    """Check a new password. Raises an AccountError that says what is wrong with it."""
    if len(password) < SHORTEST:
        raise AccountError(f"The password has {len(password)} characters: use {SHORTEST} or more.")
    if len(password) > LONGEST:
        raise AccountError(f"The password is longer than {LONGEST} characters.")
    plain = password.casefold()
    if plain in COMMON or len(set(plain)) < 5:
        raise AccountError("The password is on every list of common ones: choose another.")
    if name and (plain == name or (len(name) >= 4 and plain.replace(name, "") == "")):
        raise AccountError("The password is the name: choose another.")


def one_time_password() -> str:
    """A random password of 95 bits, to be changed at the first login; without characters that look alike."""
    letters = "".join(secrets.choice(_ALPHABET) for _ in range(20))
    return "-".join(letters[start : start + 5] for start in range(0, 20, 5))


@functools.cache
def _nobodys() -> str:
    """The hash that a password is held against where there is no account, so that both take as long."""
    return _hasher.hash(secrets.token_hex())


def _is_pbkdf2(password: str, stored: str) -> bool:
    parts = _pbkdf2_parts(stored)
    if parts is None:
        return False
    iterations, salt, digest = parts
    return hmac.compare_digest(hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), iterations), digest)


def _pbkdf2_parts(stored: str) -> tuple[int, str, bytes] | None:
    kind, _, rest = stored.partition("$")
    parts = rest.split("$")
    if kind != _PBKDF2 or len(parts) != 3 or not parts[0].isdecimal() or not 0 < int(parts[0]) <= _MOST_ITERATIONS:
        return None
    digest = _decoded(parts[2])
    return None if len(digest) != _SHA256_BYTES else (int(parts[0]), parts[1], digest)


def _decoded(text: str) -> bytes:
    try:
        return bytes.fromhex(text) if len(text) == 2 * _SHA256_BYTES else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return b""
