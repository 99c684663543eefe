"""Starts the scoring service in place of the present process, once its surroundings are sound and a Bento is there."""

import os
import sys
import time
from pathlib import Path

from serving.store import StoredBento
from tapewatch.settings import Settings
from tapewatch.store.database.database import Database
from tapewatch.store.database.engine import DatabaseError, parse, transaction
from tapewatch.store.database.schema import is_current
from tapewatch.store.durable import WriteError, expect_room
from tapewatch.web.access import AccessError, expect_protected

_POLL_SECONDS = 2.0


def serve_command(
    bento: Path, *, host: str, port: int, certificate: Path | None = None, key: Path | None = None
) -> list[str]:
    """The command that serves a Bento from its folder, over TLS with a certificate and its key.

    BENTOML_HOME must be the store that holds its model.
    """
    address = ("--host", host, "--port", str(port))
    tls = ("--ssl-certfile", str(certificate), "--ssl-keyfile", str(key)) if certificate and key else ()
    return [sys.executable, "-m", "bentoml", "serve", str(bento), *address, *tls]


def start(settings: Settings) -> int:
    """Poll the store, then replace this process with the server; returns the exit code of one that cannot start."""
    try:
        token = settings.token.get_secret_value() if settings.token else ""
        expect_protected(settings.host, settings.allowed_hosts, token)
        expect_room(settings.home)
        _expect_database(settings.database)
    except (AccessError, DatabaseError, WriteError) as error:
        _say(f"Error: {error}")
        return 1
    unreachable = _fetch(settings)
    bento = StoredBento.latest(settings.bento_home)
    if unreachable:
        _say(f"{'Error' if bento is None else 'Warning'}: {unreachable}")
        if bento is None:
            return 1
    if bento is None:
        where = (
            f"{settings.bento_home} or at {settings.bentos_url}" if settings.bentos_url else str(settings.bento_home)
        )
        _say(f"no Bento in {where} yet: materialize serving/anomaly_bento; waiting for it")
    while bento is None:
        time.sleep(_POLL_SECONDS)
        if unreachable := _fetch(settings):
            _say(f"Warning: {unreachable}")
        bento = StoredBento.latest(settings.bento_home)
    _say(f"serving {bento.tag}: {bento.model_name} {bento.model_version}")
    # The Bento has its own copy of the code; the checkout must not come before it on the path.
    os.chdir(settings.bento_home)
    os.environ |= {"BENTOML_HOME": str(settings.bento_home.resolve()), "BENTOML_DO_NOT_TRACK": "true"}
    command = serve_command(
        bento.folder.resolve(),
        host=settings.host,
        port=settings.port_scoring,
        certificate=settings.scoring_certificate,
        key=settings.scoring_certificate_key,
    )
    os.execv(command[0], command)  # noqa: S606
    return 0


def _fetch(settings: Settings) -> str:
    """Fetch what was published elsewhere into the store; why that is impossible, empty if it is done or not wanted."""
    if settings.bentos_url:
        from serving.bucket import BentoBucket, BucketError  # noqa: PLC0415 - slow to import, and few services need it

        try:
            BentoBucket(settings.bentos_url).fetch(settings.bento_home)
        except BucketError as error:
            return str(error)
    return ""


def _expect_database(address: str) -> None:
    """Raise a DatabaseError if the database, which holds the API keys, does not answer or belongs to a newer Tapewatch.

    A SQLite file may be made later, and an older schema is upgraded by the first part that writes.
    """
    url = parse(address)
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists():
        return
    try:
        with Database(address, upgrades=False) as database, transaction(database.engine, reads_only=True) as opened:
            is_current(opened)
    except DatabaseError as error:
        reason = str(error).partition("\n")[0]
        way_out = "" if "TAPEWATCH_DATABASE_URL" in reason else ": start the server, or correct the address"
        raise DatabaseError(f"TAPEWATCH_DATABASE_URL: {reason}{way_out}") from error


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
