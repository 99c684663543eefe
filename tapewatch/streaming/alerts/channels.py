"""Channels for alerts: webhook, Slack webhook and e-mail.

Addresses and passwords are secrets: errors and log lines name the host only.
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
        self._post(self.body(notice))

    def send_summary(self, text: str) -> None:
        self._post(self.summary(text))

    def body(self, notice: Notice) -> dict[str, Any]:
        row = {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in notice.row.items()}
        event = "ended" if notice.is_closing else "opened"
        return {"event": event, "market": str(notice.market), "text": notice.headline, **row}

    def summary(self, text: str) -> dict[str, Any]:
        return {"event": "held_back", "text": text}

    def _post(self, body: dict[str, Any]) -> None:
        content = json.dumps(body, ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json"}
        try:
            response = httpx.post(self._url, content=content, headers=headers, timeout=self._timeout_s)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            is_transient = isinstance(error, httpx.TransportError)
            raise NotifyError(f"{self._host}: {type(error).__name__}", is_transient=is_transient) from None
        if not response.is_success:
            is_transient = response.status_code == _TOO_MANY or response.status_code >= _SERVER_FAULT
            raise NotifyError(f"{self._host} answered {response.status_code}", is_transient=is_transient)


class SlackWebhook(Webhook):
    """Posts an alert in Slack's format: `text`, and blocks with the same text and the figures."""

    name = "slack"

    def body(self, notice: Notice) -> dict[str, Any]:
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
        return {"text": text, "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": _escaped(text)}}]}


class Email:
    """Sends each alert as plain text.

    STARTTLS is used where the server offers it. With a password it is required, with a certificate that can be verified.
    """

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
        row = notice.row
        lines = [f"{name}: {value}" for name, value in row.items() if value is not None and name != "message"]
        subject = notice.headline.splitlines()[0][:150]
        self._send(subject, "\n".join([row["message"], "", f"market: {notice.market}", *lines]))

    def send_summary(self, text: str) -> None:
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
                    raise NotifyError(
                        f"{self._host} offers no STARTTLS, so the password was not sent", is_transient=False
                    )
                if self._user and self._password:
                    server.login(self._user, self._password)
                server.send_message(message)
        except smtplib.SMTPResponseException as error:
            is_transient = 400 <= error.smtp_code < 500
            raise NotifyError(f"{self._host} answered {error.smtp_code}", is_transient=is_transient) from None
        except ssl.SSLCertVerificationError as error:
            reason = f"cannot verify the certificate of {self._host}: {error.verify_message}; SSL_CERT_FILE names a file of more"
            raise NotifyError(f"{reason} certificates", is_transient=False) from None
        except (smtplib.SMTPServerDisconnected, OSError) as error:
            is_transient = isinstance(error, smtplib.SMTPServerDisconnected) or not isinstance(
                error, smtplib.SMTPException
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
    """The channels that are configured."""
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
