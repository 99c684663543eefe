"""The application: the script `main.py`, the pages' routes and those of the login, behind the middleware.

`python -m dashboard` serves it. This is an entry point: it reads the settings.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Route

from dashboard import identity
from dashboard.access.account import Account
from dashboard.access.desk import Desk
from dashboard.access.directory import Directory
from dashboard.access.entrance import Entrance
from dashboard.access.gate import ACCESS, HEALTH, Gate
from dashboard.access.oidc import Provider
from dashboard.access.pages import file
from dashboard.access.people import People
from tapewatch.accounts.login import Door
from tapewatch.accounts.sealing import Seal
from tapewatch.accounts.sessions import Lifetime
from tapewatch.settings import Settings
from tapewatch.store.database.database import Database
from tapewatch.web.access import Access
from tapewatch.web.guard import Guard

_SCRIPT = Path(__file__).with_name("main.py")


def application(settings: Settings) -> st.App:
    """The dashboard of a deployment.

    Raises:
        DatabaseError: the operational database cannot be opened.
    """
    database = Database(settings.database)
    lifetime = Lifetime(timedelta(minutes=settings.session_idle_minutes), timedelta(hours=settings.session_hours))
    door = Door(database, Seal.of_file(key_file(settings)), lifetime)
    directory = Directory(database, lifetime, settings.require_totp)
    identity.establish(directory.identity)
    pages = _page_routes()
    middleware = [
        Middleware(
            Guard,
            access=Access.of(settings.host, settings.allowed_hosts, ""),
            open_paths=[HEALTH],
            forms=[ACCESS],
            asks=False,
        ),
        Middleware(Gate, directory=directory, routes=pages),
    ]

    @asynccontextmanager
    async def lifespan(_: st.App) -> AsyncIterator[dict[str, Any]]:
        yield {}
        database.close()

    return st.App(
        _SCRIPT,
        routes=[*_access_routes(settings, Desk.of(door, directory)), *pages],
        middleware=middleware,
        lifespan=lifespan,
    )


def key_file(settings: Settings) -> Path:
    """The key that encrypts second factors and signs forms."""
    return settings.home / "dashboard" / "key"


def _access_routes(settings: Settings, desk: Desk) -> list[BaseRoute]:
    provider = Provider.of(settings, desk)
    routes: list[BaseRoute] = [
        *Entrance(desk, provider.title if provider else "").routes(),
        *Account(desk).routes(),
        *People(desk).routes(),
    ]
    routes += provider.routes() if provider else []
    return [*routes, Route("/access/style.css", file), Route("/access/session.js", file)]


def _page_routes() -> list[BaseRoute]:
    """The routes of the pages."""
    if find_spec("dashboard.live") is None:
        return []
    return list(import_module("dashboard.live.routes").ROUTES)
