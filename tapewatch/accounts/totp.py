"""The second factor: codes of an authenticator (RFC 6238), and recovery codes."""

import secrets
from typing import Final

import pyotp
import sqlalchemy as sa

from tapewatch.accounts.errors import AccountError
from tapewatch.accounts.records import delete, digest, find, insert, now, update
from tapewatch.accounts.sealing import Seal
from tapewatch.market.tables.accounts import RECOVERY_CODES, USERS
from tapewatch.store.database.database import Database
from tapewatch.store.database.engine import transaction
from tapewatch.store.database.people.audit import record
from tapewatch.store.database.tables import twin

ISSUER: Final = "Tapewatch"
_STEP_S: Final = 30
#: Clocks may differ by one step.
_STEPS_AROUND: Final = 1
_RECOVERY_CODES: Final = 10
_ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz23456789"  # pragma: allowlist secret


def new_secret() -> str:
    """A random secret of 160 bits in base32."""
    return pyotp.random_base32()


def address_of(secret: str, name: str) -> str:
    """The `otpauth://` address that an authenticator reads from the QR code."""
    return pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name=ISSUER)


def step_of(secret: str, code: str, *, at_s: float | None = None) -> int | None:
    """The time step whose code this is, of the steps around the present; None if it is none of theirs."""
    digits = code.replace(" ", "")
    if len(digits) != 6 or not digits.isascii() or not digits.isdigit():
        return None
    moment = now().timestamp() if at_s is None else at_s
    generator, present = pyotp.TOTP(secret), int(moment // _STEP_S)
    steps = range(max(0, present - _STEPS_AROUND), present + _STEPS_AROUND + 1)
    return next((step for step in steps if secrets.compare_digest(generator.generate_otp(step), digits)), None)


def enrol(database: Database, seal: Seal, name: str, secret: str, code: str, *, actor: str) -> list[str]:
    """Give an account a second factor, once a code proves that the authenticator has it; its new recovery codes.

    Raises:
        AccountError: the code is not the secret's; nothing was changed.
    """
    step = step_of(secret, code)
    if step is None:
        raise AccountError("This is not the code that the authenticator shows now. Are the clocks right?")
    codes = ["-".join(_letters() for _ in range(3)) for _ in range(_RECOVERY_CODES)]
    with transaction(database.engine) as connection:
        update(connection, USERS, name, totp_secret=seal.close(secret), totp_step=step)
        delete(connection, RECOVERY_CODES, twin(RECOVERY_CODES).c.user_name == name)
        for made in codes:
            row = {"code_id": _code_id(name, made), "user_name": name, "created_time": now()}
            insert(connection, RECOVERY_CODES, row)
        record(connection, actor, "enrol totp", name, {"recovery_codes": len(codes)})
    return codes


def is_code(database: Database, seal: Seal, name: str, given: str) -> bool:
    """Whether this is the account's code, or one of its recovery codes. Either is accepted once.

    Raises:
        AccountError: the account's secret was encrypted with another key.
    """
    text = given.strip().lower()
    with transaction(database.engine) as connection:
        row = find(connection, USERS, name)
        if row is None or row["totp_secret"] is None:
            return False
        step = step_of(_opened(seal, row["totp_secret"], name), text)
        if step is not None:
            return _is_first_use(connection, name, step)
        used = delete(connection, RECOVERY_CODES, twin(RECOVERY_CODES).c.code_id == _code_id(name, text))
        if used:
            record(connection, name, "use recovery code", name, {})
        return bool(used)


def recovery_codes_left(database: Database, name: str) -> int:
    """How many recovery codes an account has not used."""
    kept = twin(RECOVERY_CODES)
    with transaction(database.engine, reads_only=True) as connection:
        count = sa.select(sa.func.count()).select_from(kept).where(kept.c.user_name == name)
        return connection.scalar(count) or 0


def _is_first_use(connection: sa.Connection, name: str, step: int) -> bool:
    """Note the step of an accepted code; false if it, or a later one, was accepted before."""
    kept = twin(USERS)
    is_newer = sa.or_(kept.c.totp_step.is_(None), kept.c.totp_step < step)
    return bool(
        connection.execute(sa.update(kept).where(kept.c.name == name, is_newer).values(totp_step=step)).rowcount
    )


def _opened(seal: Seal, sealed: str, name: str) -> str:
    try:
        return seal.open(sealed)
    except AccountError as error:
        raise AccountError(
            f"the second factor of {name} was encrypted with another key: restore the key file of the dashboard, or "
            f"`tapewatch users totp {name} --off`"
        ) from error


def _letters() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(5))


def _code_id(name: str, code: str) -> str:
    return digest(f"{name}:{code}")
