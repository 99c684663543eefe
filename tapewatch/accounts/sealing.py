"""The key of a deployment: encrypts what must be read again, and signs what a browser keeps for a while."""

import base64
import secrets
from pathlib import Path
from typing import Any, Final

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from itsdangerous import BadData, URLSafeTimedSerializer

from tapewatch.accounts.errors import AccountError
from tapewatch.store.durable import process_lock, write_whole

_KEY_BYTES: Final = 32


def key_file(home: Path) -> Path:
    """Where a deployment keeps the key."""
    return home / "dashboard" / "key"


class Seal:
    """Encryption and signatures with keys that are derived from one secret.

    Raises:
        AccountError: the secret is too short.
    """

    def __init__(self, secret: bytes) -> None:
        if len(secret) < _KEY_BYTES:
            raise AccountError(f"the dashboard's key has {len(secret)} bytes: it needs {_KEY_BYTES}")
        self._secret = secret
        self._fernet = Fernet(base64.urlsafe_b64encode(self.derived("encryption")))

    @classmethod
    def of_file(cls, path: Path) -> "Seal":
        """The key in a file, which is made where it is missing, for this user alone."""
        with process_lock(path.with_suffix(".lock")):
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch(0o600)
                write_whole(path, secrets.token_bytes(_KEY_BYTES))
                path.chmod(0o600)
        return cls(path.read_bytes())

    def derived(self, purpose: str) -> bytes:
        """A key of 32 bytes for one purpose."""
        return HKDF(SHA256(), _KEY_BYTES, salt=None, info=purpose.encode()).derive(self._secret)

    def close(self, text: str) -> str:
        """`text`, encrypted."""
        return self._fernet.encrypt(text.encode()).decode()

    def open(self, sealed: str, *, within_s: int | None = None) -> str:
        """The text that `close` encrypted. Raises an AccountError if it is another key's, was changed, or is too old."""
        try:
            return self._fernet.decrypt(sealed.encode(), ttl=within_s).decode()
        except InvalidToken as error:
            raise AccountError("this was encrypted with another key, was changed or is too old") from error

    def sign(self, value: Any, purpose: str) -> str:
        """A JSON value as signed text with its time, for one purpose."""
        return self._signer(purpose).dumps(value)

    def signed(self, text: str, purpose: str, *, within_s: int) -> Any:
        """The value that `sign` signed for the same purpose; None if it was not, or is too old."""
        try:
            return self._signer(purpose).loads(text, max_age=within_s)
        except BadData:
            return None

    def _signer(self, purpose: str) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(self.derived(f"signature {purpose}"), salt=purpose)
