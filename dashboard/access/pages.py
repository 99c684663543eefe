"""Renders the pages of the login: Jinja templates, everything escaped."""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response

from dashboard.access.cookies import Forms

_FOLDER: Final = Path(__file__).parent / "templates"
FILES: Final = {"style.css": "text/css", "session.js": "text/javascript", "theme.js": "text/javascript"}


def _minute(moment: dt.datetime | None) -> str:
    return "never" if moment is None else f"{moment:%Y-%m-%d %H:%M} UTC"


_environment = Environment(
    loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_environment.filters["minute"] = _minute


@dataclass(frozen=True)
class Pages:
    """The pages, each with a token for its forms."""

    forms: Forms

    def show(self, request: Request, template: str, status: int = 200, **values: Any) -> Response:
        """A page from a template."""
        value, token = self.forms.token(request)
        shared = {"fault": "", "done": "", "csrf": token}
        html = _environment.get_template(f"{template}.html").render(shared | values)
        response = HTMLResponse(html, status, {"cache-control": "no-store"})
        self.forms.keep(response, request, value)
        return response


async def file(request: Request) -> Response:
    """The style sheet and the scripts."""
    name = request.url.path.rpartition("/")[2]
    return FileResponse(_FOLDER / name, media_type=FILES[name], headers={"cache-control": "public, max-age=3600"})
