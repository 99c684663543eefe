"""Channels against a real web server and a real mail server."""

import datetime as dt
import json
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tapewatch.market.instruments import Market
from tapewatch.streaming.alerts.board import Notice, NoticeBoard
from tapewatch.streaming.alerts.channels import Email, SlackWebhook, Webhook, channels_from
from tests.support.ports import free_port

START = dt.datetime(2024, 3, 5, 15, 10, 1, 250_000, tzinfo=dt.UTC)
PATIENCE_S = 180.0


def notice(number: int = 0, *, is_closing: bool = False, rule: str = "volume_spike") -> Notice:
    row: dict[str, Any] = {
        "alert_id": f"stocks:{rule}:AAA:{number}",
        "symbol": "AAA",
        "rule": rule,
        "severity": "warning",
        "start_time": START,
        "end_time": START + dt.timedelta(minutes=3) if is_closing else None,
        "detected_time": START,
        "value": 800.0,
        "baseline": 100.0,
        "multiple": 8.0,
        "peak": 900.0,
        "observations": 3,
        "message": "AAA: 800 traded <so far> & more, 8.0 times the usual 100",
    }
    return Notice(Market.STOCKS, row, is_closing=is_closing)


def eventually(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_true():
        assert time.monotonic() < deadline, "the condition did not hold in time"
        time.sleep(0.01)


@dataclass
class Receiver:
    """A web server that keeps the posted bodies; `answers` are the first status codes, then 200."""

    answers: list[int] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    asked: int = 0
    is_blocking: threading.Event = field(default_factory=threading.Event)
    url: str = ""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    kept = Receiver()
    kept.is_blocking.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            kept.asked += 1
            kept.is_blocking.wait(PATIENCE_S)
            status = kept.answers.pop(0) if kept.answers else 200
            if status == 200:
                kept.bodies.append(body)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    kept.url = f"http://127.0.0.1:{server.server_port}/hook/s3cret-token"
    yield kept
    kept.is_blocking.set()
    server.shutdown()
    server.server_close()


def board(*channels: Any, **options: Any) -> NoticeBoard:
    return NoticeBoard(channels, first_pause_s=0.01, **options)


def email(port: int, *recipients: str, **login: str) -> Email:
    return Email("127.0.0.1", port, "tape@here", recipients or ("a@there",), **login, timeout_s=PATIENCE_S)


def test_webhook_posts_the_row_as_json(receiver: Receiver) -> None:
    notices = board(Webhook(receiver.url, timeout_s=PATIENCE_S))
    notices.announce(notice())
    notices.announce(notice(is_closing=True))
    notices.close(PATIENCE_S)
    opened, ended = receiver.bodies
    assert (opened["event"], opened["market"], opened["rule"], opened["multiple"]) == (
        "opened",
        "stocks",
        "volume_spike",
        8.0,
    )
    assert opened["start_time"] == START.isoformat()
    assert opened["end_time"] is None
    assert ended["event"] == "ended"
    assert ended["end_time"] > opened["start_time"]


def test_slack_gets_text_and_blocks(receiver: Receiver) -> None:
    notices = board(SlackWebhook(receiver.url, timeout_s=PATIENCE_S))
    notices.announce(notice())
    notices.close(PATIENCE_S)
    (body,) = receiver.bodies
    assert "8.0 times the usual" in body["text"]
    assert "&lt;so far&gt; &amp;" in body["blocks"][0]["text"]["text"]
    assert "peak 900" in body["blocks"][1]["elements"][0]["text"]


def test_the_same_alert_is_sent_once(receiver: Receiver) -> None:
    notices = board(Webhook(receiver.url, timeout_s=PATIENCE_S))
    for _ in range(3):
        notices.announce(notice(7))
    notices.close(PATIENCE_S)
    assert len(receiver.bodies) == 1
    assert notices.tallies["webhook"].repeated == 2


def test_a_temporary_server_error_is_retried(receiver: Receiver) -> None:
    receiver.answers += [503, 429, 500]
    notices = board(Webhook(receiver.url, timeout_s=PATIENCE_S))
    notices.announce(notice())
    tally = notices.tallies["webhook"]
    eventually(lambda: tally.sent == 1)
    notices.close(PATIENCE_S)
    assert receiver.asked == 4


def test_failed_alerts_are_counted_and_logged_without_secrets(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.answers += [404]
    notices = board(Webhook(receiver.url, timeout_s=PATIENCE_S), attempts=2)
    with caplog.at_level(logging.DEBUG, logger="tapewatch"):
        notices.announce(notice(1))
        eventually(lambda: notices.tallies["webhook"].failed == 1)
        receiver.answers += [500, 500]
        notices.announce(notice(2))
        eventually(lambda: notices.tallies["webhook"].failed == 2)
    notices.close(PATIENCE_S)
    assert receiver.asked == 3
    assert "answered 404" in caplog.text
    assert "answered 500" in caplog.text
    assert "s3cret" not in caplog.text


def test_an_unreachable_server_is_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    # A port that is bound, so that no other process can use it, but does not listen.
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        notices = board(Webhook(f"http://127.0.0.1:{taken.getsockname()[1]}/s3cret"), attempts=2)
        notices.announce(notice())
        eventually(lambda: notices.tallies["webhook"].failed == 1)
        notices.close(PATIENCE_S)
    assert "ConnectError" in caplog.text
    assert "s3cret" not in caplog.text


def test_an_unexpected_error_does_not_stop_a_channel(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    channel = Webhook(receiver.url, timeout_s=PATIENCE_S)
    notices = board(channel)
    with monkeypatch.context() as broken:
        broken.setenv("SSL_CERT_FILE", "/nowhere/s3cret.pem")
        notices.announce(notice(1))
        eventually(lambda: notices.tallies["webhook"].failed == 1)
    notices.announce(notice(2))
    eventually(lambda: notices.tallies["webhook"].sent == 1)
    notices.close(PATIENCE_S)
    assert "could not send [warning] stocks volume_spike: AAA: 800 traded <so far> & more" in caplog.text
    assert "FileNotFoundError" in caplog.text
    assert "s3cret" not in caplog.text


def test_notices_above_the_rate_are_summarised(receiver: Receiver) -> None:
    notices = board(Webhook(receiver.url, timeout_s=PATIENCE_S), per_minute=3)
    for number in range(10):
        notices.announce(notice(number, rule="volume_spike" if number % 2 else "price_move"))
    notices.close(PATIENCE_S)
    *single, summary = receiver.bodies
    assert len(single) == 3
    assert "7 messages about alerts were held back: 4 volume_spike, 3 price_move" in summary["text"]
    assert notices.tallies["webhook"].held_back == 7


@pytest.mark.long
def test_a_slow_receiver_blocks_neither_the_caller_nor_others(receiver: Receiver) -> None:
    receiver.is_blocking.clear()
    slow = Webhook(receiver.url, timeout_s=PATIENCE_S)
    with mail_server() as mail:
        notices = board(slow, email(mail.port), capacity=2)
        for number in range(6):
            notices.announce(notice(number))
        tallies = notices.tallies
        eventually(lambda: tallies["email"].sent >= 1)
        assert tallies["webhook"].dropped >= 3
        receiver.is_blocking.set()
        notices.close(PATIENCE_S)
    # On a slow machine an attempt that timed out may be answered after the summary.
    assert any("held back" in body.get("text", "") for body in receiver.bodies)


@dataclass
class Mail:
    port: int
    messages: list[Any] = field(default_factory=list)
    logins: list[tuple[bytes, bytes]] = field(default_factory=list)
    refusals: int = 0


class mail_server:  # noqa: N801 - used as a context manager
    def __init__(
        self, *, needs_login: bool = False, refusals: int = 0, tls: ssl.SSLContext | None = None, accepts: bool = True
    ) -> None:
        self.mail = Mail(0, refusals=refusals)
        handler = self

        def authenticate(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
            assert isinstance(data, LoginPassword)
            handler.mail.logins.append((data.login, data.password))
            return AuthResult(success=accepts, handled=False)

        options: dict[str, Any] = {"tls_context": tls, "require_starttls": True} if tls else {}
        if needs_login:
            options |= {"authenticator": authenticate, "auth_required": True, "auth_require_tls": tls is not None}
        self._controller = Controller(self, hostname="127.0.0.1", port=free_port(), ready_timeout=PATIENCE_S, **options)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.mail.refusals:
            self.mail.refusals -= 1
            return "451 try later"
        self.mail.messages.append(message_from_bytes(envelope.original_content or b"", policy=policy.default))
        return "250 OK"

    def __enter__(self) -> Mail:
        self._controller.start()
        self.mail.port = self._controller.port
        return self.mail

    def __exit__(self, *_: object) -> None:
        self._controller.stop()


def test_mail_names_the_alert_and_its_figures() -> None:
    with mail_server(refusals=2) as mail:
        notices = board(email(mail.port, "a@there", "b@there"))
        notices.announce(notice())
        eventually(lambda: notices.tallies["email"].sent == 1)
        notices.close(PATIENCE_S)
    (message,) = mail.messages
    assert message["Subject"].startswith("Tapewatch [warning] stocks volume_spike: AAA")
    assert message["To"] == "a@there, b@there"
    text = message.get_content()
    assert "multiple: 8.0" in text
    assert "market: stocks" in text


def test_a_password_is_not_sent_without_tls(caplog: pytest.LogCaptureFixture) -> None:
    with mail_server(needs_login=True) as mail:
        notices = board(email(mail.port, user="me", password="s3cret"))  # noqa: S106
        notices.announce(notice())
        eventually(lambda: notices.tallies["email"].failed == 1)
        notices.close(PATIENCE_S)
    assert not mail.messages
    assert not mail.logins
    assert "STARTTLS" in caplog.text
    assert "s3cret" not in caplog.text


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    """A self-signed certificate for 127.0.0.1, and a server's context that uses it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "post office")])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    shown, secret = tmp_path / "certificate.pem", tmp_path / "key.pem"
    shown.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown, secret)
    return shown, context


def test_mail_is_sent_over_tls_with_a_login(
    certificate: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, context = certificate
    monkeypatch.setenv("SSL_CERT_FILE", str(shown))
    with mail_server(needs_login=True, tls=context) as mail:
        notices = board(email(mail.port, user="me", password="s3cret"))  # noqa: S106
        notices.announce(notice())
        eventually(lambda: notices.tallies["email"].sent == 1)
        notices.close(PATIENCE_S)
    assert mail.logins == [(b"me", b"s3cret")]
    assert len(mail.messages) == 1


def test_a_server_with_an_unverified_certificate_gets_no_password(
    certificate: tuple[Path, ssl.SSLContext], caplog: pytest.LogCaptureFixture
) -> None:
    with mail_server(needs_login=True, tls=certificate[1]) as mail:
        notices = board(email(mail.port, user="me", password="s3cret"))  # noqa: S106
        notices.announce(notice())
        eventually(lambda: notices.tallies["email"].failed == 1)
        notices.close(PATIENCE_S)
    assert not mail.logins
    assert not mail.messages
    assert "certificate" in caplog.text
    assert "SSL_CERT_FILE" in caplog.text
    assert "s3cret" not in caplog.text


def test_a_refused_login_is_not_retried(
    certificate: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shown, context = certificate
    monkeypatch.setenv("SSL_CERT_FILE", str(shown))
    with mail_server(needs_login=True, tls=context, accepts=False) as mail:
        notices = board(email(mail.port, user="me", password="s3cret"))  # noqa: S106
        notices.announce(notice())
        eventually(lambda: notices.tallies["email"].failed == 1)
        notices.close(PATIENCE_S)
    assert not mail.messages
    assert "answered 535" in caplog.text
    assert "s3cret" not in caplog.text


def test_settings_choose_the_channels() -> None:
    assert channels_from() == []
    names = [c.name for c in channels_from(webhook="http://a/", slack="http://b/", email_to=["x@y"], smtp_port=2525)]
    assert names == ["webhook", "slack", "email"]
