"""The application: the script `main.py`, the pages' routes and those of the login, behind the middleware.

`python -m dashboard` serves it. This is an entry point: it reads the settings.
"""

import gc
import pkgutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Route

from dashboard import identity, places, views
from dashboard.access.account import Account
from dashboard.access.desk import Desk
from dashboard.access.directory import Directory
from dashboard.access.entrance import Entrance
from dashboard.access.gate import ACCESS, Gate
from dashboard.access.pages import FILES, file
from dashboard.access.people import People
from dashboard.departures import Departures
from dashboard.live.routes import ROUTES
from dashboard.metrics import Counting, Figures
from tapewatch.accounts.login import Door
from tapewatch.accounts.sealing import Seal, key_file
from tapewatch.accounts.sessions import Lifetime
from tapewatch.settings import Settings
from tapewatch.store.database.database import Database
from tapewatch.web.access import Access
from tapewatch.web.guard import Guard

SCRIPT = Path(__file__).with_name("main.py")


def application(settings: Settings, script: Path = SCRIPT) -> st.App:
    """The dashboard of a deployment, which runs `script` for people who are logged in.

    Raises:
        DatabaseError: the operational database cannot be opened.
        ProviderError: the settings of the provider of identities cannot be used.
    """
    database = Database(settings.database)
    figures = Figures()
    routes, middleware = entrance(settings, database, [*ROUTES, figures.route()])

    @asynccontextmanager
    async def lifespan(_: st.App) -> AsyncIterator[dict[str, Any]]:
        settle()
        yield {}
        places.close()
        database.close()

    counting = Middleware(Counting, figures=figures)
    return st.App(script, routes=routes, middleware=[counting, *middleware, Middleware(Departures)], lifespan=lifespan)


def settle() -> None:
    """Import the pages, and search what is there so far for garbage no more: a search would hold up all answers for 0.2 s."""
    for page in pkgutil.iter_modules(views.__path__, f"{views.__name__}."):
        import_module(page.name)
    gc.collect()
    gc.freeze()


def entrance(
    settings: Settings, database: Database, pages: Sequence[BaseRoute]
) -> tuple[list[BaseRoute], list[Middleware]]:
    """The routes of the login and of `pages`, and the middleware in front of them and of the script."""
    lifetime = Lifetime(timedelta(minutes=settings.session_idle_minutes), timedelta(hours=settings.session_hours))
    door = Door(database, Seal.of_file(key_file(settings.home)), lifetime)
    directory = Directory(database, lifetime, settings.require_totp)
    identity.establish(directory.identity)
    access = Access.of(settings.dashboard_address, settings.allowed_hosts, "")
    middleware = [
        Middleware(Guard, access=access, forms=[ACCESS], asks=False),
        Middleware(Gate, directory=directory, routes=pages),
    ]
    return [*_access_routes(settings, Desk.of(door, directory)), *pages], middleware


def _access_routes(settings: Settings, desk: Desk) -> list[BaseRoute]:
    routes: list[BaseRoute] = [*Account(desk).routes(), *People(desk).routes()]
    title = ""
    if settings.oidc_issuer is not None:
        from dashboard.access.oidc import Provider  # noqa: PLC0415 - slow to import, and few deployments use it

        provider = Provider.of(settings, desk)
        title = provider.title
        routes += provider.routes()
    return [*Entrance(desk, title).routes(), *routes, *(Route(f"{ACCESS}{name}", file) for name in FILES)]
