"""Codes of an authenticator against RFC 6238, and each of them once."""

import datetime as dt
from concurrent.futures import ThreadPoolExecutor

import pyotp
import pytest

from tapewatch.accounts import totp
from tapewatch.accounts.errors import AccountError
from tapewatch.accounts.sealing import Seal
from tapewatch.accounts.users import add_user, remove_totp
from tapewatch.market.tables.accounts import USERS
from tapewatch.store.database.database import Database

MOMENT = dt.datetime(2024, 6, 3, 14, 30, 7, tzinfo=dt.UTC)
SEAL = Seal(b"0" * 32)
#: The secret `12345678901234567890` of RFC 6238, appendix B, in base32.
RFC = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"  # pragma: allowlist secret


@pytest.mark.parametrize(
    ("at", "code"), [(59, "287082"), (1111111109, "081804"), (1234567890, "005924"), (20000000000, "353130")]
)
def test_codes_are_those_of_the_rfc_and_hold_for_a_step_on_either_side(at: int, code: str) -> None:
    step = at // 30
    for moment in (at, at - 30, at + 30):
        assert totp.step_of(RFC, code, at_s=moment) == step
    for moment in (at - 61, at + 61):
        assert totp.step_of(RFC, code, at_s=moment) is None
    assert totp.step_of(RFC, f"{code[:3]} {code[3:]}", at_s=at) == step


@pytest.mark.parametrize("code", ["", "12345", "1234567", "abcdef", "١٢٣٤٥٦", "-12345", "0x1234"])
def test_what_is_no_code_is_refused(code: str) -> None:
    assert totp.step_of(RFC, code, at_s=59) is None


@pytest.fixture
def enrolled(database: Database, monkeypatch: pytest.MonkeyPatch) -> tuple[str, list[str]]:
    """The secret and the recovery codes of an account, while time stands still."""
    monkeypatch.setattr(totp, "now", lambda: MOMENT)
    add_user(database, "ada", "user", actor="test")
    secret = totp.new_secret()
    return secret, totp.enrol(database, SEAL, "ada", secret, pyotp.TOTP(secret).at(MOMENT), actor="ada")


def test_the_secret_is_kept_encrypted(database: Database, enrolled: tuple[str, list[str]]) -> None:
    secret, codes = enrolled
    kept = database.read(USERS)["totp_secret"][0]
    assert secret not in kept
    assert SEAL.open(kept) == secret
    assert len(set(codes)) == 10
    with pytest.raises(AccountError, match="another key"):
        totp.is_code(database, Seal(b"1" * 32), "ada", "123456")


def test_a_code_is_accepted_once_even_from_many_at_the_same_time(
    database: Database, enrolled: tuple[str, list[str]]
) -> None:
    secret, _ = enrolled
    code = pyotp.TOTP(secret).at(MOMENT, counter_offset=1)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: totp.is_code(database, SEAL, "ada", code), range(8)))
    assert answers.count(True) == 1
    assert not totp.is_code(database, SEAL, "ada", code)


def test_a_code_older_than_an_accepted_one_is_refused(database: Database, enrolled: tuple[str, list[str]]) -> None:
    secret, _ = enrolled
    # The code of the enrolment counts as accepted.
    for steps in (-1, 0):
        assert not totp.is_code(database, SEAL, "ada", pyotp.TOTP(secret).at(MOMENT, counter_offset=steps))


def test_a_recovery_code_is_accepted_once_and_for_its_owner_alone(
    database: Database, enrolled: tuple[str, list[str]]
) -> None:
    _, codes = enrolled
    add_user(database, "bob", "user", actor="test")
    secret = totp.new_secret()
    totp.enrol(database, SEAL, "bob", secret, pyotp.TOTP(secret).at(MOMENT), actor="bob")
    assert not totp.is_code(database, SEAL, "bob", codes[0])
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: totp.is_code(database, SEAL, "ada", codes[0].upper()), range(8)))
    assert answers.count(True) == 1
    assert totp.recovery_codes_left(database, "ada") == 9
    remove_totp(database, "ada", actor="test")
    assert totp.recovery_codes_left(database, "ada") == 0
    assert not totp.is_code(database, SEAL, "ada", codes[1])
