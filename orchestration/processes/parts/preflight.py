"""What must be right before a part of the deployment starts: every fault at once, each with the way out."""

import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from orchestration.errors import message_of
from orchestration.home import check_home, expect_databases
from orchestration.processes.guarding import check_access
from tapewatch.masking import masked
from tapewatch.settings import Settings
from tapewatch.store.database.database import Database, DatabaseError
from tapewatch.store.database.engine import parse
from tapewatch.store.durable import expect_room

_BUCKET_TIMEOUTS = {"connect_timeout": 5, "read_timeout": 20, "retries": {"max_attempts": 1}}


class PreflightError(RuntimeError):
    """The deployment cannot start; the message names every fault and the way out of each."""


def expect_sound(settings: Settings) -> None:
    """Check access, volume, databases, Redis and buckets. Upgrades a database's schema, and makes nothing else.

    Raises:
        PreflightError: something is wrong.
    """
    _expect(CHECKS, settings)


def expect_stores(settings: Settings) -> None:
    """Check the volume and the database: what a part needs that serves them alone, such as the dashboard.

    Raises:
        PreflightError: something is wrong.
    """
    _expect((check_volume, check_database), settings)


def expect_vendor(settings: Settings) -> None:
    """Raises a PreflightError if there is no source of the tape: a part alone starts no emulator."""
    if settings.polygon_api_key is None and settings.flat_files is None:
        raise PreflightError(
            "POLYGON_API_KEY is not set, nor is TAPEWATCH_FLAT_FILES: set the vendor's key, or use `tapewatch up`, which starts "
            "the emulator"
        )


def _expect(checks: Sequence[Callable[[Settings], object]], settings: Settings) -> None:
    faults = [fault for check in checks if (fault := _fault(check, settings))]
    if faults:
        raise PreflightError("\n".join(faults))


def _fault(check: Callable[[Settings], object], settings: Settings) -> str:
    try:
        check(settings)
    except Exception as error:
        message = message_of(error)
        if message is None:
            raise
        return masked(message)
    return ""


def check_volume(settings: Settings) -> None:
    """The volume of TAPEWATCH_HOME can be written and has room."""
    check_home(settings)
    expect_room(settings.home)


def check_platform_databases(settings: Settings) -> None:
    """The databases of Dagster and MLflow answer."""
    expect_databases(settings, mlflow=True)


def check_database(settings: Settings) -> None:
    """The operational database answers, and has this version's schema or an older one, which is upgraded."""
    try:
        url = parse(settings.database)
        if url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists():
            return  # made at the first start
        Database(settings.database).close()
    except DatabaseError as error:
        reason = str(error).partition("\n")[0]
        way_out = "" if "TAPEWATCH_DATABASE_URL" in reason else ": start the server, or correct the address"
        raise PreflightError(f"TAPEWATCH_DATABASE_URL: {reason}{way_out}") from error


def check_redis(settings: Settings) -> None:
    """Redis answers, if it is set."""
    if settings.redis_url is None:
        return
    import redis  # noqa: PLC0415 - only deployments with Redis need it

    url = settings.redis_url.get_secret_value()
    try:
        with redis.Redis.from_url(url, socket_connect_timeout=5, socket_timeout=5) as client:
            client.ping()
    except (redis.RedisError, ValueError) as error:
        raise PreflightError(
            f"Redis at {masked(url)} does not answer ({error}): start it, correct TAPEWATCH_REDIS_URL, or leave that empty"
        ) from error


def check_buckets(settings: Settings) -> None:
    """An object can be written to each address in an object store, and deleted again."""
    for variable, url in (
        ("TAPEWATCH_LAKE_URL", settings.lake_url),
        ("TAPEWATCH_ARTIFACTS_URL", settings.artifacts_url),
        ("TAPEWATCH_BENTOS_URL", settings.bentos_url),
    ):
        if url is not None:
            _check_bucket(variable, url)


def _check_bucket(variable: str, url: str) -> None:
    from upath import UPath  # noqa: PLC0415 - slow to import

    options = {"config_kwargs": _BUCKET_TIMEOUTS} if url.startswith("s3://") else {}
    try:
        probe = UPath(url, **options) / f".preflight-{uuid.uuid4().hex}"
        probe.write_bytes(b"")
        probe.unlink()
    except Exception as error:  # each store has errors of its own
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise PreflightError(
            f"{variable}: {url} cannot be written ({reason}): create the bucket, correct the address or AWS_ENDPOINT_URL, or give "
            "this deployment's credentials the right to write and delete there"
        ) from error


#: In this order their faults are shown.
CHECKS: tuple[Callable[[Settings], object], ...] = (
    check_access,
    check_volume,
    check_platform_databases,
    check_database,
    check_redis,
    check_buckets,
)
