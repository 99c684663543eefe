"""`tapewatch users`, `tapewatch security check`, and the first start of the dashboard."""

import json
import re
import socket
from io import StringIO
from pathlib import Path

import pyotp
import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from orchestration import errors
from orchestration.cli import security
from orchestration.cli.app import app
from orchestration.cli.security import Finding, findings
from orchestration.processes import dashboard, services
from orchestration.processes.dashboard import dashboard_state, describe_transport, introduce_admin
from orchestration.processes.services import ServiceError, missing_packages
from tapewatch.accounts.login import Client, Door
from tapewatch.accounts.sealing import Seal, key_file
from tapewatch.accounts.users import add_user, change_password
from tapewatch.market.tables.live import AUDIT
from tapewatch.settings import Settings
from tapewatch.store.database.database import Database
from tapewatch.web.certificates import CertificateError
from tests.accounts.test_passwords import GOOD, pbkdf2
from tests.support.ports import free_port


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAPEWATCH_HOME", str(tmp_path / "home"))
    return Settings(home=tmp_path / "home", port_dashboard=free_port(), _env_file=None)


def run(*arguments: str, said: str = "") -> Result:
    return CliRunner().invoke(app, arguments, input=said or None)


@pytest.mark.long
def test_accounts_from_the_command_line(settings: Settings, tmp_path: Path) -> None:
    added = run("users", "add", "Ada", "--role", "user")
    assert added.exit_code == 0, added.output
    once = added.stdout.strip()
    door = Door(Database(settings.database), Seal.of_file(key_file(settings.home)))
    assert door.log_in("ada", once, Client("192.0.2.1"))[1]
    old = tmp_path / "hash.txt"
    old.write_text(pbkdf2(GOOD, "salt", 1000) + "\n")
    assert run("users", "add", "old", "--hash-file", str(old)).exit_code == 0
    assert door.log_in("old", GOOD, Client("192.0.2.1"))[1]
    assert run("users", "add", "grace@example.org", "--oidc", "--role", "admin").stdout == ""
    assert run("users", "role", "ada", "manager").exit_code == 0
    assert run("users", "lock", "old").exit_code == 0
    listed = {row["name"]: row for row in json.loads(run("users", "list", "--format", "json").stdout)}
    assert [(name, row["role"], row["login"]) for name, row in sorted(listed.items())] == [
        ("ada", "manager", "one-time password"),
        ("grace@example.org", "admin", "provider"),
        ("old", "viewer", "locked"),
    ]
    again = run("users", "password", "ada").stdout.strip()
    assert again != once
    assert set(door.database.read(AUDIT)["action"]) >= {"add user", "set role", "lock user", "reset password", "login"}
    assert once not in str(door.database.read(AUDIT).rows())


def test_a_second_factor_from_the_command_line(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = pyotp.random_base32()
    monkeypatch.setattr("tapewatch.accounts.totp.new_secret", lambda: secret)
    assert run("users", "add", "ada").exit_code == 0
    refused = run("users", "totp", "ada", said="000000\n")
    assert refused.exit_code == 1
    made = run("users", "totp", "ada", said=f"{pyotp.TOTP(secret).now()}\n")
    assert made.exit_code == 0, made.output
    assert "Recovery codes" in made.stdout
    assert "second factor" in run("users", "list").stdout
    assert run("users", "totp", "ada", "--off").exit_code == 0
    assert "second factor" not in run("users", "list").stdout


@pytest.mark.long
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("add", "a b"), "no login name"),
        (("add", "x", "--role", "root"), "no role"),
        (("role", "nobody", "user"), "no account 'nobody'"),
        (("password", "nobody"), "no account 'nobody'"),
        (("totp", "nobody"), "no account 'nobody'"),
        (("add", "x", "--hash-file", "absent.txt"), "absent.txt"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(settings: Settings, arguments: tuple[str, ...], said: str) -> None:
    done = run("users", *arguments)
    assert done.exit_code == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert json.loads(run("users", "list", "--format", "json").stdout) == []


def test_the_first_start_shows_one_password_once(settings: Settings) -> None:
    said = Console(file=StringIO(), width=200)
    introduce_admin(settings, said)
    introduce_admin(settings, said)
    assert said.file.getvalue().count("one-time password") == 1
    assert json.loads(run("users", "list", "--format", "json").stdout)[0]["name"] == "admin"


def test_codes_of_emoji_stay_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    errors.console.print("71:CD:AC crypto:X:BTC-USD")
    assert capsys.readouterr().err == "71:CD:AC crypto:X:BTC-USD\n"


def test_what_speaks_for_the_way_to_the_dashboard_is_said(settings: Settings) -> None:
    said = Console(file=StringIO(), width=300)
    describe_transport(settings, said)
    assert said.file.getvalue() == ""
    describe_transport(settings.model_copy(update={"tls": "self-made"}), said)
    assert re.search(r"SHA-256 ([0-9A-F]{2}:){31}[0-9A-F]{2}\n", said.file.getvalue())
    describe_transport(settings.model_copy(update={"host": "192.0.2.7"}), said)
    assert "Warning: the dashboard is at 192.0.2.7, and speaks no HTTPS" in said.file.getvalue()
    with pytest.raises(CertificateError):
        describe_transport(settings.model_copy(update={"tls": "given"}), said)


def test_without_its_extra_the_dashboard_is_named_and_the_rest_works(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "_OF_DASHBOARD", ("streamlit", "absent_package"))
    assert "pip install 'tapewatch[dashboard]'" in missing_packages()
    assert "dashboard" not in [service.name for service in services.services(settings)]
    assert "not installed" in dashboard_state(settings)
    with pytest.raises(ServiceError, match="absent_package"):
        dashboard.expect_packages()
    for command in (["users", "list"], ["dashboard"]):
        assert "tapewatch[dashboard]" in run(*command).stderr
    assert run("security", "check").exit_code == 0


def _of(part: str, found: list[Finding]) -> str:
    return "\n".join(f"{one.what}: {one.remedy}: {one.is_fault}" for one in found if one.part == part)


@pytest.mark.long
def test_what_is_weak_is_found_with_its_remedy(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clean = findings(settings)
    assert not [one for one in clean if one.is_fault]
    assert _of("accounts", clean).startswith("nothing found")
    with Database(settings.database) as database:
        add_user(database, "boss", "admin", actor="test")
        add_user(database, "lazy", "user", actor="test", password_hash=pbkdf2("password", "salt", 1000))
        change_password(database, "boss", GOOD, actor="boss")
    env = tmp_path / ".env"
    env.touch()
    env.chmod(0o644)
    settings.home.chmod(0o755)
    wide = settings.model_copy(update={"host": "0.0.0.0"})  # noqa: S104
    monkeypatch.setattr(security.metadata, "requires", lambda _: ["numpy>=999", "no-such-package>=1; extra == 'x'"])
    with socket.create_server(("", settings.port_dashboard)):
        found = findings(wide)
    accounts = _of("accounts", found)
    assert "lazy has a password that everyone tries first: tapewatch users password lazy: True" in accounts
    assert "boss is admin without a second factor" in accounts
    assert "kept as an older hash" in accounts
    assert "chmod go-rwx .env: True" in _of("files", found)
    assert str(settings.home) in _of("files", found)
    assert "TAPEWATCH_TOKEN" in _of("secrets", found)
    assert f"Dashboard listens on 0.0.0.0:{settings.port_dashboard}" in _of("ports", found)
    assert "TAPEWATCH_TLS" in _of("HTTPS", found)
    assert "numpy" in _of("dependencies", found)
    assert "no-such-package" not in _of("dependencies", found)
    assert all(one.remedy for one in found if one.is_fault)
