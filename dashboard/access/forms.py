"""Reads the forms of the login."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request

_LONGEST: Final = 16_384
_MOST_FIELDS: Final = 20


class FormError(ValueError):
    """The form cannot be read; the message says why."""


async def fields_of(request: Request) -> Mapping[str, str]:
    """The fields of a form, each once; NUL characters, which no database keeps, are left out.

    Raises:
        FormError: it is too long, or no form.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LONGEST:
            raise FormError("The form is too long.")
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict")
    except (ValueError, UnicodeDecodeError):
        raise FormError("The form cannot be read.") from None
    return {name: value.replace("\x00", "") for name, value in pairs}


def local(wanted: str) -> str:
    """A path of this server; anything that a browser could read as another address becomes the first page."""
    is_path = wanted.startswith("/") and not wanted.startswith(("//", "/\\", "/access/")) and wanted.isascii()
    return wanted if is_path and wanted.isprintable() and "\\" not in wanted else "/"
