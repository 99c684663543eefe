"""Who may use the web services: the names they answer to, and the token that is asked for."""

import hashlib
import hmac
import ipaddress
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Self

LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
SHORTEST_TOKEN: Final = 20
SESSION_SECONDS: Final = 7 * 24 * 3600
_MAKE_ONE: Final = "such as the output of `openssl rand -hex 24`"


class AccessError(ValueError):
    """The services would be open to others, or nobody could log in; the message names the setting and the way out."""


@dataclass(frozen=True)
class Access:
    """The rules of a deployment.

    Attributes:
        hosts: names, without a port, by which the services may be addressed.
        token: what a client must know; empty to ask for none.
    """

    hosts: frozenset[str] = LOOPBACK_NAMES
    token: str = field(default="", repr=False)

    @classmethod
    def of(cls, host: str, names: Sequence[str], token: str) -> Self:
        """For services that bind to `host` and are also addressed by `names`."""
        wanted = {name.strip().strip("[]").lower() for name in (host, *names)}
        return cls(LOOPBACK_NAMES | (wanted - {""}), token)

    def is_token(self, text: str) -> bool:
        return bool(self.token) and hmac.compare_digest(text.encode(), self.token.encode())

    def new_session(self) -> str:
        """The value of a cookie that stands for the token until SESSION_SECONDS have passed, or the token is changed."""
        expiry = str(int(time.time()) + SESSION_SECONDS)
        return f"{expiry}.{self._seal(expiry)}"

    def is_session(self, cookie: str) -> bool:
        expiry, _, seal = cookie.partition(".")
        is_ours = bool(self.token) and hmac.compare_digest(seal.encode(), self._seal(expiry).encode())
        return is_ours and int(expiry) > time.time()

    def _seal(self, text: str) -> str:
        return hmac.new(self.token.encode(), text.encode(), hashlib.sha256).hexdigest()


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address; a name other than `localhost` may be any machine's."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def expect_protected(host: str, names: Sequence[str], token: str) -> None:
    """Check that services which others can reach ask for a token.

    Raises:
        AccessError: there is no token, or one that can be guessed or not be sent.
    """
    if not token:
        open_to = f"TAPEWATCH_HOST is {host}" if not is_loopback(host) else ""
        if names and not open_to:
            open_to = f"TAPEWATCH_ALLOWED_HOSTS is {','.join(names)}"
        if open_to:
            raise AccessError(
                f"{open_to}, so others may reach the services: set TAPEWATCH_TOKEN to a secret of {SHORTEST_TOKEN} or more "
                f"characters, {_MAKE_ONE}, or keep TAPEWATCH_HOST=127.0.0.1 and TAPEWATCH_ALLOWED_HOSTS empty"
            )
        return
    if len(token) < SHORTEST_TOKEN or not all("!" <= letter <= "~" for letter in token):
        raise AccessError(
            f"TAPEWATCH_TOKEN must have {SHORTEST_TOKEN} or more ASCII characters and no blank: set another, {_MAKE_ONE}"
        )
