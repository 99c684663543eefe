"""Hides the passwords in addresses, for everything that is shown or logged."""

import re

#: Up to the last `@` before the path: a password may contain one, and SQLAlchemy accepts a `/` in it.
_PASSWORD = re.compile(r"(?<=://)([^:/@\s]*):(?!\d{1,5}[/?#])[^@\s]+@(?:[^/@\s]*@)*")
_PARAMETER = re.compile(
    r"(?i)([?&;][\w-]*(?:password|passwd|pwd|secret|token|signature|credential|api_?key|access_?key)[\w-]*=)[^&\s#'\"]+"
)


def masked(text: str) -> str:
    """`text` in which the passwords of addresses are `***`: behind a user's name, and in parameters such as `?password=`."""
    return _PARAMETER.sub(r"\1***", _PASSWORD.sub(r"\1:***@", text))
