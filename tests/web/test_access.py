"""Sessions, and what may start."""

import pytest

from tapewatch.web import access as module
from tapewatch.web.access import SESSION_SECONDS, Access, AccessError, expect_protected

TOKEN = "correct-horse-battery-staple"  # noqa: S105  # pragma: allowlist secret


def test_a_session_ends_with_its_time_and_with_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    access = Access(token=TOKEN)
    session = access.new_session()
    assert access.is_session(session)
    assert not Access(token=f"{TOKEN}2").is_session(session)
    assert not Access().is_session(session)
    for forged in ("", ".", "9999999999.", f"9{session}", session[:-1], f"{session}é"):
        assert not access.is_session(forged)
    now = module.time.time()
    monkeypatch.setattr(module.time, "time", lambda: now + SESSION_SECONDS + 1)
    assert not access.is_session(session)


def test_the_token_is_not_shown() -> None:
    assert TOKEN not in repr(Access(token=TOKEN))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]", "127.0.0.2"])
def test_on_loopback_no_token_is_needed(host: str) -> None:
    expect_protected(host, [], "")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "tapewatch.lan"])  # noqa: S104
def test_a_wider_address_needs_a_token(host: str) -> None:
    with pytest.raises(AccessError, match=rf"TAPEWATCH_HOST is {host}.*set TAPEWATCH_TOKEN") as caught:
        expect_protected(host, [], "")
    assert "\n" not in str(caught.value)
    expect_protected(host, [], TOKEN)


def test_a_public_name_needs_a_token() -> None:
    with pytest.raises(AccessError, match=r"TAPEWATCH_ALLOWED_HOSTS is tapewatch\.example\.com"):
        expect_protected("127.0.0.1", ["tapewatch.example.com"], "")


@pytest.mark.parametrize("weak", ["short", "x" * 19, "a token with blanks in it", "é" * 30])
def test_a_token_that_can_be_guessed_or_not_be_sent_is_refused(weak: str) -> None:
    with pytest.raises(AccessError, match="TAPEWATCH_TOKEN must") as caught:
        expect_protected("127.0.0.1", [], weak)
    assert weak not in str(caught.value)
