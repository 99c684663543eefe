"""The guard of the deployment's web services."""

from orchestration.processes.services import ServiceError
from tapewatch.settings import Settings
from tapewatch.web.access import Access, AccessError, expect_protected


def access_of(settings: Settings) -> Access:
    """The names and the token of a deployment."""
    return Access.of(settings.host, settings.allowed_hosts, _token(settings))


def check_access(settings: Settings) -> str:
    """Say who may use the services. Raises a ServiceError if others could reach them without a token."""
    try:
        expect_protected(settings.host, settings.allowed_hosts, _token(settings))
    except AccessError as error:
        raise ServiceError(str(error)) from error
    names = ", ".join((settings.host, *settings.allowed_hosts))
    return f"{names}; {'with TAPEWATCH_TOKEN' if settings.token else 'from this machine, without a token'}"


def _token(settings: Settings) -> str:
    return settings.token.get_secret_value() if settings.token else ""
