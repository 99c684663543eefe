"""The dashboard as a service: whether it can start, and its first account."""

import getpass
import os
import signal
import subprocess
from collections.abc import Sequence
from typing import Final

import httpx
from rich.console import Console

from orchestration.processes.parts.preflight import expect_stores
from orchestration.processes.services import (
    ServiceError,
    check_ports,
    dashboard_service,
    dashboard_url,
    environment,
    missing_packages,
)
from tapewatch.settings import Settings
from tapewatch.store.database.database import Database
from tapewatch.web.access import is_loopback

_ANSWER_S: Final = 2.0


def expect_packages() -> None:
    """Raise a ServiceError if the dashboard and its accounts are not installed."""
    if missing := missing_packages():
        raise ServiceError(missing)


def ready_to_serve(settings: Settings, console: Console) -> Sequence[str]:
    """The command line that serves the dashboard, once it can start and has an account.

    Raises:
        ServiceError: a package is missing, or the port is taken.
        PreflightError: the volume or the database cannot be used.
        CertificateError: as `describe_transport`.
    """
    expect_packages()
    expect_stores(settings)
    service = dashboard_service(settings)
    check_ports([service], settings.dashboard_address)
    introduce_admin(settings, console)
    describe_transport(settings, console)
    console.print(f"Dashboard: {service.url}. Press Ctrl-C to stop it.", soft_wrap=True, markup=False)
    return service.command


def serve_until_stopped(settings: Settings, console: Console) -> None:
    """Serve the dashboard as a child process until Ctrl-C or SIGTERM ends it.

    Raises:
        ServiceError: as `ready_to_serve`, or the dashboard ended by itself.
    """
    process: subprocess.Popen[bytes] | None = None
    is_stopped = False

    def stop(*_: object) -> None:
        nonlocal is_stopped
        is_stopped = True
        if process is not None:
            process.terminate()

    command = ready_to_serve(settings, console)
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        process = subprocess.Popen(command, env=environment(settings))  # noqa: S603 - our own
        if is_stopped:
            process.terminate()
        process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if not is_stopped:
        raise ServiceError(f"the dashboard ended by itself with exit code {process.returncode}: see its output above")


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

    names = (settings.dashboard_address, *settings.allowed_hosts)
    certificate = certificate_of(settings.tls, settings.tls_certificate, settings.tls_key, settings.home, names)
    if certificate is not None and settings.tls == "self-made":
        text = f"The dashboard's certificate is signed by itself: SHA-256 {certificate.fingerprint}"
        console.print(text, soft_wrap=True, markup=False, highlight=False, emoji=False)
    if settings.tls == "off" and not is_loopback(settings.dashboard_address):
        console.print(
            f"Warning: the dashboard is at {settings.dashboard_address}, and speaks no HTTPS: set TAPEWATCH_TLS=self-made or "
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
