"""The page that asks for the token, and the cookie that remembers it."""

import html
from typing import Final
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import Receive, Scope

from tapewatch.web.access import SESSION_SECONDS, Access

LOGIN: Final = "/tapewatch/login"
COOKIE: Final = "tapewatch_session"
_LONGEST_FORM: Final = 8192
_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Tapewatch: log in</title>
<style>body{{font:16px sans-serif;max-width:24em;margin:15vh auto}}input{{width:100%;padding:.5em;margin:.5em 0}}</style></head>
<body><h1>Tapewatch</h1><form method="post" action="{action}">
<label>Token (TAPEWATCH_TOKEN)<input type="password" name="token" autofocus autocomplete="current-password"></label>
<input type="hidden" name="next" value="{next}"><button>Log in</button></form><p>{fault}</p></body></html>
"""


async def answer_login(scope: Scope, receive: Receive, access: Access) -> Response:
    """The form, or after the right token a redirect to the page that was wanted, with the cookie."""
    request = Request(scope, receive)
    if request.method != "POST":
        return _page(request.query_params.get("next", "/"))
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LONGEST_FORM:
            return _page("/", "This is too long for a token.", 413)
    fields = {name: values[-1] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}
    wanted = _local(fields.get("next", "/"))
    if not access.is_token(fields.get("token", "").strip()):
        return _page(wanted, "This is not the token.", 401)
    response = RedirectResponse(wanted, 303)
    is_secure = scope["scheme"] == "https"
    response.set_cookie(
        COOKIE, access.new_session(), max_age=SESSION_SECONDS, httponly=True, samesite="lax", secure=is_secure
    )
    return response


def _page(wanted: str, fault: str = "", status: int = 200) -> Response:
    page = _PAGE.format(action=LOGIN, next=html.escape(_local(wanted), quote=True), fault=html.escape(fault))
    return HTMLResponse(page, status, {"Cache-Control": "no-store"})


def _local(wanted: str) -> str:
    """A path of this service; anything that a browser could read as another address becomes the first page."""
    is_path = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and wanted.isprintable()
    return wanted if is_path else "/"
