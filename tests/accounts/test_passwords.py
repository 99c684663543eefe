"""Passwords: which hashes are read and written, and which passwords are refused."""

import base64

import pytest
from argon2 import extract_parameters
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from hypothesis import given
from hypothesis import strategies as st

from tapewatch.accounts import passwords
from tapewatch.accounts.errors import AccountError
from tapewatch.accounts.passwords import expect_hash, expect_strong, is_outdated, is_password, one_time_password

GOOD = "correct horse battery"


def pbkdf2(password: str, salt: str, iterations: int, *, in_hex: bool = False) -> str:
    """A hash of the older kind, from another library than ours."""
    digest = PBKDF2HMAC(SHA256(), 32, salt.encode(), iterations).derive(password.encode())
    return f"pbkdf2_sha256${iterations}${salt}${digest.hex() if in_hex else base64.b64encode(digest).decode()}"


@pytest.mark.long
def test_a_hash_is_argon2id_with_the_costs_that_rfc_9106_recommends_for_servers() -> None:
    stored = passwords.hashed(GOOD)
    assert stored.startswith("$argon2id$")
    costs = extract_parameters(stored)
    assert costs.memory_cost >= 64 * 1024
    assert costs.time_cost >= 3
    assert costs.salt_len >= 16
    assert is_password(GOOD, stored)
    assert not is_password(f"{GOOD} ", stored)
    assert not is_outdated(stored)
    assert passwords.hashed(GOOD) != stored


@pytest.mark.parametrize("in_hex", [False, True])
def test_a_hash_of_the_older_kind_is_read_and_counts_as_outdated(in_hex: bool) -> None:
    stored = pbkdf2("naïve ☃", "s4lt", 1000, in_hex=in_hex)
    assert expect_hash(stored) == stored
    assert is_outdated(stored)
    assert is_password("naïve ☃", stored)
    assert not is_password("naive", stored)


@given(
    st.text(max_size=80), st.sampled_from(["", "pbkdf2_sha256$", "pbkdf2_sha256$1$a$", "$argon2id$v=19$m=8,t=1,p=1$"])
)
def test_no_text_in_place_of_a_hash_opens_the_door_or_raises(text: str, start: str) -> None:
    assert not is_password("anything", start + text)


def test_a_row_cannot_keep_the_server_busy() -> None:
    assert not is_password("x", f"pbkdf2_sha256$99999999999$a${base64.b64encode(bytes(32)).decode()}")
    assert not is_password("x" * 300, passwords._nobodys())
    assert not is_password("x", None)


@pytest.mark.parametrize("text", ["", "plain", "md5$1$a$b", "pbkdf2_sha256$1$a$b", "$argon2id$x"])
def test_what_is_no_hash_is_refused(text: str) -> None:
    with pytest.raises(AccountError, match="no password hash"):
        expect_hash(text)


@pytest.mark.parametrize(
    ("weak", "why"),
    [
        ("short", "12 or more"),
        ("x" * 300, "longer than"),
        ("Password1234", "common"),
        ("ababababababab", "common"),
        ("annabellasmith", "the name"),
    ],
)
def test_a_weak_password_is_refused_with_the_reason(weak: str, why: str) -> None:
    with pytest.raises(AccountError, match=why):
        expect_strong(weak, "annabellasmith")
    expect_strong(GOOD, "annabellasmith")


def test_one_time_passwords_are_strong_and_differ() -> None:
    made = {one_time_password() for _ in range(200)}
    assert len(made) == 200
    for one in made:
        expect_strong(one, "ada")
