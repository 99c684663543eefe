"""Webhook, Slack-shaped webhook and e-mail: how each is told of an alert.

Addresses and passwords are secrets: messages and log name the host alone.
"""

import json
import smtplib
import ssl
from collections.abc import Sequence
from email.message import EmailMessage
from typing import Any
from urllib.parse import urlsplit

import httpx

from tapewatch.streaming.alerts.board import Notice, NotifyError

_TIMEOUT_S = 10.0
_TOO_MANY = 429
_SERVER_FAULT = 500


class Webhook:
    """Posts each alert as JSON: the row of `ALERTS` with ISO times, and `market`, `event` (`opened` or `ended`), `text`."""

    name = "webhook"

    def __init__(self, url: str, *, timeout_s: float = _TIMEOUT_S) -> None:
        self._url, self._timeout_s = url, timeout_s
        self._host = urlsplit(url).hostname or "?"

    def send(self, notice: Notice) -> None:
        """Post one alert."""
        self._post(self.body(notice))

    def send_summary(self, text: str) -> None:
        """Post a summary."""
        self._post(self.summary(text))

    def body(self, notice: Notice) -> dict[str, Any]:
        """What is posted for an alert."""
        row = {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in notice.row.items()}
        event = "ended" if notice.is_closing else "opened"
        return {"event": event, "market": str(notice.market), "text": notice.headline, **row}

    def summary(self, text: str) -> dict[str, Any]:
        """What is posted as a summary."""
        return {"event": "held_back", "text": text}

    def _post(self, body: dict[str, Any]) -> None:
        content = json.dumps(body, ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json"}
        try:
            answer = httpx.post(self._url, content=content, headers=headers, timeout=self._timeout_s)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            is_transient = isinstance(error, httpx.TransportError)
            raise NotifyError(f"{self._host}: {type(error).__name__}", is_transient=is_transient) from None
        if not answer.is_success:
            is_transient = answer.status_code == _TOO_MANY or answer.status_code >= _SERVER_FAULT
            raise NotifyError(f"{self._host} answers {answer.status_code}", is_transient=is_transient)


class SlackWebhook(Webhook):
    """Posts what Slack and those who speak like it read: `text`, and the same as blocks with the figures below."""

    name = "slack"

    def body(self, notice: Notice) -> dict[str, Any]:
        """What is posted for an alert."""
        row = notice.row
        ended = f" · ended {row['end_time']:%H:%M:%S}" if row["end_time"] else ""
        multiple = f" · {row['multiple']:.1f}×" if row["multiple"] is not None else ""
        figures = f"value {row['value']:.6g} · usual {row['baseline']:.6g}{multiple} · peak {row['peak']:.6g}"
        when = f"{row['start_time']:%Y-%m-%d %H:%M:%S} UTC{ended}"
        return {
            "text": notice.headline,
            "blocks": [
                {"type": "section", "text": {"type": "mrkdwn", "text": _escaped(notice.headline)}},
                {"type": "context", "elements": [{"type": "mrkdwn", "text": _escaped(f"{when} · {figures}")}]},
            ],
        }

    def summary(self, text: str) -> dict[str, Any]:
        """What is posted as a summary."""
        return {"text": text, "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": _escaped(text)}}]}


class Email:
    """Sends each alert as plain text. STARTTLS is used where the server offers it, and is needed, with a
    certificate that can be trusted, where there is a password."""

    name = "email"

    def __init__(
        self,
        host: str,
        port: int,
        sender: str,
        recipients: Sequence[str],
        *,
        user: str | None = None,
        password: str | None = None,
        timeout_s: float = _TIMEOUT_S,
    ) -> None:
        self._host, self._port, self._sender, self._recipients = host, port, sender, tuple(recipients)
        self._user, self._password, self._timeout_s = user, password, timeout_s

    def send(self, notice: Notice) -> None:
        """Send one alert."""
        row = notice.row
        lines = [f"{name}: {value}" for name, value in row.items() if value is not None and name != "message"]
        subject = notice.headline.splitlines()[0][:150]
        self._send(subject, "\n".join([row["message"], "", f"market: {notice.market}", *lines]))

    def send_summary(self, text: str) -> None:
        """Send a summary."""
        self._send("alerts held back", text)

    def _send(self, subject: str, text: str) -> None:
        message = EmailMessage()
        message["Subject"] = f"Tapewatch {subject}"
        message["From"], message["To"] = self._sender, ", ".join(self._recipients)
        message.set_content(text + "\n")
        try:
            with smtplib.SMTP(self._host, self._port, timeout=self._timeout_s) as server:
                server.ehlo()
                if server.has_extn("starttls"):
                    server.starttls(context=ssl.create_default_context() if self._password else None)
                    server.ehlo()
                elif self._password:
                    raise NotifyError(f"{self._host} offers no STARTTLS: the password is not sent", is_transient=False)
                if self._user and self._password:
                    server.login(self._user, self._password)
                server.send_message(message)
        except smtplib.SMTPResponseException as error:
            is_transient = 400 <= error.smtp_code < 500
            raise NotifyError(f"{self._host} answers {error.smtp_code}", is_transient=is_transient) from None
        except ssl.SSLCertVerificationError as error:
            told = f"{self._host} shows a certificate that cannot be trusted: {error.verify_message}; SSL_CERT_FILE names others"
            raise NotifyError(told, is_transient=False) from None
        except (smtplib.SMTPServerDisconnected, OSError) as error:
            is_transient = not isinstance(error, smtplib.SMTPException) or isinstance(
                error, smtplib.SMTPServerDisconnected
            )
            raise NotifyError(f"{self._host}: {type(error).__name__}", is_transient=is_transient) from None


def channels_from(
    *,
    webhook: str | None = None,
    slack: str | None = None,
    email_to: Sequence[str] = (),
    email_from: str = "tapewatch@localhost",
    smtp_host: str = "127.0.0.1",
    smtp_port: int = 25,
    smtp_user: str | None = None,
    smtp_password: str | None = None,
) -> list[Webhook | SlackWebhook | Email]:
    """The channels that settings ask for; none where they ask for none."""
    channels: list[Webhook | SlackWebhook | Email] = []
    if webhook:
        channels.append(Webhook(webhook))
    if slack:
        channels.append(SlackWebhook(slack))
    if email_to:
        channels.append(Email(smtp_host, smtp_port, email_from, email_to, user=smtp_user, password=smtp_password))
    return channels


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
