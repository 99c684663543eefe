"""What `tapewatch security check` looks at: files, passwords, ports, dependencies. Each finding names its remedy."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import psutil
from packaging.requirements import Requirement
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from orchestration.processes.services import missing_packages, services, with_source
from tapewatch.settings import Settings
from tapewatch.store.database.database import Database
from tapewatch.web.access import AccessError, expect_protected, is_loopback

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_FEW: Final = 3
_AUDIT_S: Final = 300


@dataclass(frozen=True)
class Finding:
    """What was looked at, what is the case, and what to do; `remedy` is empty where all is well.

    `is_fault` is false for what is worth knowing and may be wanted.
    """

    part: str
    what: str
    remedy: str = ""
    is_fault: bool = False


def findings(settings: Settings, *, audits: bool = False) -> list[Finding]:
    """Everything that was looked at.

    Raises:
        DatabaseError: the accounts cannot be read.
    """
    parts = {
        "files": _files(settings),
        "secrets": _secrets(settings),
        "accounts": _accounts(settings),
        "ports": _ports(settings),
        "HTTPS": _https(settings),
        "dependencies": _dependencies(audits=audits),
    }
    found = []
    for part, lines in parts.items():
        ours = [Finding(part, *line) for line in lines]
        found += ours or [Finding(part, "nothing found")]
    return found


def show(found: list[Finding], console: Console) -> None:
    """A row per finding."""
    table = Table("", "part", "finding", "remedy", title="Security", title_justify="left")
    for one in found:
        mark = "[red]✗[/]" if one.is_fault else "[yellow]![/]" if one.remedy else "[green]✓[/]"
        table.add_row(mark, one.part, escape(one.what), escape(one.remedy))
    console.print(table)


_Line = tuple[str, str, bool]


def _files(settings: Settings) -> Iterator[_Line]:
    """Files that other users of this machine can read."""
    private = [Path(".env"), settings.tls_key]
    open_ones = [path for path in private if path is not None and path.is_file() and _is_open(path)]
    open_ones += _open_in(settings.home)
    for path in open_ones[:_FEW]:
        yield f"{path} can be read by other users", f"chmod go-rwx {path}", True
    if len(open_ones) > _FEW:
        yield f"{len(open_ones) - _FEW} more files can be read by others", f"chmod -R go-rwx {settings.home}", True


def _open_in(home: Path) -> list[Path]:
    """What is open below a folder; nothing, where the folder itself is closed."""
    if not home.is_dir() or not _is_open(home):
        return []
    inner = (Path(top, name) for top, _, files in os.walk(home) for name in files)
    return [home, *(path for path in inner if not path.is_symlink() and _is_open(path))]


def _is_open(path: Path) -> bool:
    return bool(path.stat().st_mode & _OTHERS)


def _secrets(settings: Settings) -> Iterator[_Line]:
    """A token that is missing or can be guessed."""
    token = settings.token.get_secret_value() if settings.token else ""
    try:
        expect_protected(settings.host, settings.allowed_hosts, token)
    except AccessError as error:
        yield str(error), "set TAPEWATCH_TOKEN=$(openssl rand -hex 24)", True
        return
    if token and len(set(token)) < 8:
        yield "TAPEWATCH_TOKEN has few different characters", "set TAPEWATCH_TOKEN=$(openssl rand -hex 24)", True
    if not token:
        yield (
            "every user of this machine reaches Dagster, MLflow and the scoring service without a token",
            "on a machine that several people share, set TAPEWATCH_TOKEN",
            False,
        )


def _accounts(settings: Settings) -> Iterator[_Line]:
    """Passwords that were never changed, are common, or are kept as an old hash; admins without a second factor."""
    if missing := missing_packages():
        yield missing, "install the extra, or do without the dashboard", False
        return
    from tapewatch.accounts.review import weaknesses  # noqa: PLC0415 - of the extra

    with Database(settings.database) as database:
        yield from weaknesses(database)


def _ports(settings: Settings) -> Iterator[_Line]:
    """Ports of this deployment on which others than this machine can connect."""
    with_key = with_source(
        settings.model_copy(update={"flat_files": None})
    )  # so that no emulator is asked what it serves
    ours = {service.port: service.title for service in services(with_key) if service.port is not None}
    for address, port in _listening():
        if port in ours and not is_loopback(address):
            remedy = "if only a proxy on this machine uses it, set TAPEWATCH_HOST=127.0.0.1"
            yield f"{ours[port]} listens on {address}:{port}", remedy, False


def _listening() -> list[tuple[str, int]]:
    """Address and port of every TCP socket that listens on this machine."""
    try:
        found = psutil.net_connections("tcp")
    except psutil.AccessDenied:  # macOS shows them to root alone
        return []
    return [(one.laddr.ip, one.laddr.port) for one in found if one.status == psutil.CONN_LISTEN and one.laddr]


def _https(settings: Settings) -> Iterator[_Line]:
    """Passwords that could be read on the way."""
    if settings.tls == "off" and not is_loopback(settings.dashboard_address):
        yield (
            f"the dashboard speaks plain HTTP on {settings.dashboard_address}",
            "set TAPEWATCH_TLS=self-made or given",
            True,
        )
    if settings.tls == "off" and settings.allowed_hosts:
        names = ", ".join(settings.allowed_hosts)
        yield f"the dashboard itself speaks plain HTTP, as {names}", "let the proxy in front speak HTTPS", False


def _dependencies(*, audits: bool) -> Iterator[_Line]:
    """Packages that are older than this Tapewatch needs; with `audits`, those with known vulnerabilities."""
    for text in metadata.requires("tapewatch") or ():
        requirement = Requirement(text)
        try:
            installed = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            continue  # of an extra that is not installed
        if not requirement.specifier.contains(installed, prereleases=True):
            remedy = f"pip install '{requirement.name}{requirement.specifier}'"
            yield f"{requirement.name} {installed} does not meet {requirement.specifier}", remedy, True
    if audits:
        yield from _known_vulnerabilities()


def _known_vulnerabilities() -> Iterator[_Line]:
    if find_spec("pip_audit") is None:
        yield "pip-audit is not installed: nothing was audited", "pip install pip-audit", True
        return
    command = [sys.executable, "-m", "pip_audit", "--local", "--format", "json", "--progress-spinner", "off"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_AUDIT_S)  # noqa: S603
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (json.JSONDecodeError, KeyError, TypeError):
        said = (done.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        yield f"nothing was audited: {said}", "check the network and the proxy", True
        return
    for package in packages:
        for flaw in package.get("vulns") or []:
            fixed = ", ".join(flaw["fix_versions"]) or "no version yet"
            yield f"{package['name']} {package['version']}: {flaw['id']}", f"fixed in {fixed}", True
