"""Whether a webhook's delivery is MLflow's: an HMAC over its id, its time and its body (MLflow 3, `mlflow/webhooks/delivery.py`)."""

import base64
import hashlib
import hmac
import time
from typing import Final

from starlette.datastructures import Headers

from serving.http.problems import Problem

SIGNATURE, TIMESTAMP, DELIVERY = "x-mlflow-signature", "x-mlflow-timestamp", "x-mlflow-delivery-id"
#: A delivery is refused this long after it was signed.
PATIENCE_S: Final = 300.0
_VERSION: Final = "v1"


def sign(secret: str, delivery: str, timestamp: str, body: bytes) -> str:
    """The signature of a delivery, as MLflow writes it: `v1,` and HMAC-SHA256 of `ID.TIME.BODY` in base 64."""
    digest = hmac.new(secret.encode(), f"{delivery}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"{_VERSION},{base64.b64encode(digest).decode()}"


def expect_signed(secret: str, headers: Headers, body: bytes, *, now: float | None = None) -> None:
    """Refuse a delivery that was not signed with `secret`, or too long ago.

    Raises:
        Problem: 401.
    """
    timestamp, delivery, given = (headers.get(name, "") for name in (TIMESTAMP, DELIVERY, SIGNATURE))
    expected = sign(secret, delivery, timestamp, body)
    if not hmac.compare_digest(expected.encode(), given.encode()):
        raise _refused("the signature is not that of TAPEWATCH_SCORING_WEBHOOK_SECRET")
    age = (time.time() if now is None else now) - (int(timestamp) if timestamp.isdecimal() else 0)
    if abs(age) > PATIENCE_S:
        raise _refused(f"the delivery was signed {age:.0f} s ago, by this clock")


def _refused(why: str) -> Problem:
    return Problem(401, "signature", why, way_out="run `tapewatch models webhook` again, and set both machines' clocks")
