"""The dashboard as a service: whether it can start, and its first account."""

import getpass
import os
from typing import Final

import httpx
from rich.console import Console

from orchestration.processes.services import ServiceError, dashboard_url, missing_packages
from tapewatch.settings import Settings
from tapewatch.store.database.database import Database
from tapewatch.web.access import is_loopback

_ANSWER_S: Final = 2.0


def expect_packages() -> None:
    """Raise a ServiceError if the dashboard and its accounts are not installed."""
    if missing := missing_packages():
        raise ServiceError(missing)


def introduce_admin(settings: Settings, console: Console) -> None:
    """Where there is no account yet, make an admin, and show the one-time password on this terminal and nowhere else."""
    from tapewatch.accounts.users import first_admin  # noqa: PLC0415 - of the extra

    with Database(settings.database) as database:
        made = first_admin(database, actor=actor())
    if made is not None:
        name, secret = made
        console.print(
            f"The dashboard has its first account: {name}, one-time password {secret}\n"
            "It is shown this once, and is to be changed at the first login.",
            style="bold",
            soft_wrap=True,
            markup=False,
            highlight=False,
        )


def describe_transport(settings: Settings, console: Console) -> None:
    """Show the fingerprint of a self-made certificate, or warn that passwords could be read on the way.

    Raises:
        CertificateError: the given certificate cannot be used.
    """
    from tapewatch.web.certificates import certificate_of  # noqa: PLC0415 - of the extra

    names = (settings.host, *settings.allowed_hosts)
    certificate = certificate_of(settings.tls, settings.tls_certificate, settings.tls_key, settings.home, names)
    if certificate is not None and settings.tls == "self-made":
        text = f"The dashboard's certificate is signed by itself: SHA-256 {certificate.fingerprint}"
        console.print(text, soft_wrap=True, markup=False, highlight=False, emoji=False)
    if settings.tls == "off" and not is_loopback(settings.host):
        console.print(
            f"Warning: TAPEWATCH_HOST is {settings.host}, and the dashboard speaks no HTTPS: set TAPEWATCH_TLS=self-made or "
            "given, or let a proxy with TLS on this machine lead to 127.0.0.1",
            style="yellow",
            soft_wrap=True,
            markup=False,
        )


def dashboard_state(settings: Settings) -> str:
    """A line about the dashboard for `tapewatch status`."""
    url = dashboard_url(settings)
    if missing_packages():
        return f"{url}: not installed"
    try:
        # A certificate that is made here is signed by nobody; the question is only whether the page answers.
        answer = httpx.get(f"{url}/_stcore/health", timeout=_ANSWER_S, trust_env=False, verify=False)  # noqa: S501
    except httpx.HTTPError:
        return f"{url}: not running; `tapewatch up` or `tapewatch dashboard` starts it"
    return f"{url}: {'running' if answer.is_success else 'does not answer as the dashboard'}"


def actor() -> str:
    """Who runs this command, for the audit trail."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"  # a container may run as a user without a name
