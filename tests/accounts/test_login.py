"""Logging in, as people and as those who guess; the ends of sessions; accounts that change meanwhile."""

import datetime as dt
import json
from concurrent.futures import ThreadPoolExecutor

import pyotp
import pytest
import sqlalchemy as sa

from tapewatch.accounts import records, sessions, throttle, totp
from tapewatch.accounts.errors import AccountError, RefusedError, WaitError
from tapewatch.accounts.login import Client, Door
from tapewatch.accounts.records import digest
from tapewatch.accounts.sealing import Seal
from tapewatch.accounts.sessions import Lifetime, Session, end_session, find_session
from tapewatch.accounts.tokens import make_token, owner_of, revoke_token, tokens_of
from tapewatch.accounts.users import (
    add_user,
    change_password,
    expect_user,
    first_admin,
    list_users,
    reset_password,
    set_locked,
    set_role,
)
from tapewatch.market.tables.accounts import ACCOUNTS, USERS
from tapewatch.market.tables.live import AUDIT
from tapewatch.store.database.database import Database
from tapewatch.store.database.engine import transaction
from tests.accounts.test_passwords import GOOD, pbkdf2
from tests.support.postgres import postgres

HERE = Client("192.0.2.1", "a browser")
LIFETIME = Lifetime()


class Clock:
    """The time of the accounts, which a test moves on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.moment = dt.datetime.now(dt.UTC)
        for module in (records, sessions, throttle):
            monkeypatch.setattr(module, "now", lambda: self.moment)

    def pass_by(self, **time: float) -> None:
        self.moment += dt.timedelta(**time)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def ada(database: Database) -> str:
    """An account whose owner has chosen a password."""
    add_user(database, "ada", "user", actor="test")
    change_password(database, "ada", GOOD, actor="ada")
    return "ada"


def session_of(door: Door, secret: str) -> Session | None:
    return find_session(door.database, digest(secret), LIFETIME)


def enter(door: Door) -> Session:
    found = session_of(door, door.log_in("ada", GOOD, HERE)[0])
    assert found is not None
    return found


def actions(database: Database) -> list[str]:
    return database.read(AUDIT)["action"].to_list()


def test_a_login_gives_a_session_that_the_database_alone_does_not_open(door: Door, ada: str) -> None:
    secret, is_complete = door.log_in(" ADA ", GOOD, HERE)
    found = session_of(door, secret)
    assert is_complete
    assert found is not None
    assert (found.user.name, found.address, found.agent) == (ada, "192.0.2.1", "a browser")
    with transaction(door.database.engine) as connection:
        kept = [str(row) for table in ACCOUNTS for row in records.select(connection, table)]
    assert not [row for row in kept if secret in row or GOOD in row]
    # Whoever reads the database has the hash, which is no secret of a session.
    assert session_of(door, found.session_id) is None
    assert secret != door.log_in("ada", GOOD, HERE)[0]
    assert actions(door.database)[-1] == "login"


def test_the_refusal_is_the_same_for_a_wrong_name_a_wrong_password_and_a_locked_account(door: Door, ada: str) -> None:
    add_user(door.database, "bob", "user", actor="test")
    set_locked(door.database, "bob", locked=True, actor="test")
    said = set()
    for name, password in (
        (ada, "wrong"),
        ("nobody", GOOD),
        ("bob", GOOD),
        ("no name!", GOOD),
        ("", ""),
        ("a" * 500, ""),
    ):
        with pytest.raises(RefusedError) as caught:
            door.log_in(name, password, HERE)
        said.add(str(caught.value))
    assert len(said) == 1
    assert "login refused" in actions(door.database)


def test_guessing_gets_slower_and_is_locked_out_whether_or_not_there_is_such_an_account(
    door: Door, ada: str, clock: Clock
) -> None:
    waits = {}
    for name in ("nobody", ada):
        waits[name] = []
        for number in range(12):
            with pytest.raises(RefusedError) as caught:
                door.log_in(name, "wrong", Client(f"192.0.2.{number}"))
            while isinstance(caught.value, WaitError):
                waits[name].append(caught.value.seconds)
                clock.pass_by(seconds=caught.value.seconds)
                with pytest.raises(RefusedError) as caught:
                    door.log_in(name, "wrong", Client(f"192.0.2.{number}"))
    assert waits[ada] == waits["nobody"]
    assert waits[ada][:4] == sorted(waits[ada][:4])
    assert max(waits[ada]) >= 15 * 60
    # The right password does not help before the time has passed, and helps then.
    with pytest.raises(WaitError):
        door.log_in(ada, GOOD, HERE)
    clock.pass_by(minutes=16)
    assert door.log_in(ada, GOOD, HERE)[1]
    with pytest.raises(RefusedError) as caught:
        door.log_in(ada, "wrong", HERE)
    assert not isinstance(caught.value, WaitError), "counting starts anew after a success"


def test_many_guesses_at_once_do_not_pass_together(door: Door, ada: str, clock: Clock) -> None:
    def guess(number: int) -> str:
        try:
            door.log_in(ada, f"guess {number}", Client(f"198.51.100.{number}"))
        except WaitError:
            return "delayed"
        except RefusedError:
            return "tried"
        return "in"

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(guess, range(24)))
    assert outcomes.count("tried") <= throttle.FREE_FAILURES
    assert "in" not in outcomes


def test_an_address_that_tries_many_accounts_is_refused(door: Door) -> None:
    for number in range(30):
        with pytest.raises(RefusedError, match="wrong"):
            door.log_in(f"name{number}", "x", Client("2001:db8::1"))
    with pytest.raises(WaitError):
        door.log_in("other", "x", Client("2001:db8::ffff"))
    with pytest.raises(RefusedError) as caught:
        door.log_in("other", "x", Client("2001:db8:1::1"))
    assert not isinstance(caught.value, WaitError)


def test_an_admin_opens_an_account_that_guessing_has_locked_out(door: Door, ada: str, clock: Clock) -> None:
    for _ in range(throttle.FREE_FAILURES):
        with pytest.raises(RefusedError):
            door.log_in(ada, "wrong", HERE)
    with pytest.raises(WaitError):
        door.log_in(ada, GOOD, HERE)
    set_locked(door.database, ada, locked=False, actor="test")
    assert door.log_in(ada, GOOD, HERE)[1]


@pytest.mark.usefixtures("clock")
def test_the_second_factor_is_needed_and_guessing_it_is_slowed_down_too(door: Door, ada: str) -> None:
    secret = totp.new_secret()
    codes = totp.enrol(door.database, door.seal, ada, secret, pyotp.TOTP(secret).now(), actor=ada)
    first, is_complete = door.log_in(ada, GOOD, HERE)
    waiting = session_of(door, first)
    assert not is_complete
    assert waiting is not None
    assert not waiting.is_complete
    for _ in range(throttle.FREE_FAILURES):
        with pytest.raises(RefusedError, match="code is wrong"):
            door.confirm(waiting, "000000", HERE)
    # A new login does not start counting anew.
    again = session_of(door, door.log_in(ada, GOOD, HERE)[0])
    assert again is not None
    with pytest.raises(WaitError):
        door.confirm(again, codes[0], HERE)
    set_locked(door.database, ada, locked=False, actor="test")
    second = door.confirm(again, codes[0], HERE)
    found = session_of(door, second)
    assert found is not None
    assert found.is_complete
    assert found.session_id != again.session_id
    assert find_session(door.database, again.session_id, LIFETIME) is None


def test_a_session_that_awaits_a_code_ends_within_minutes(door: Door, ada: str, clock: Clock) -> None:
    secret = totp.new_secret()
    totp.enrol(door.database, door.seal, ada, secret, pyotp.TOTP(secret).now(), actor=ada)
    waiting, _ = door.log_in(ada, GOOD, HERE)
    clock.pass_by(minutes=4)
    assert session_of(door, waiting) is not None
    clock.pass_by(minutes=2)
    assert session_of(door, waiting) is None


def test_a_session_ends_without_activity_and_in_any_case(door: Door, ada: str, clock: Clock) -> None:
    secret, _ = door.log_in(ada, GOOD, HERE)
    for _ in range(6):
        clock.pass_by(minutes=110)
        assert session_of(door, secret) is not None
        sessions.touch(door.database, digest(secret))
    clock.pass_by(minutes=70)
    assert session_of(door, secret) is None, "after twelve hours"
    secret, _ = door.log_in(ada, GOOD, HERE)
    clock.pass_by(minutes=119)
    assert session_of(door, secret) is not None
    clock.pass_by(minutes=2)
    assert session_of(door, secret) is None, "after two hours without activity"
    short = Lifetime(dt.timedelta(minutes=1), dt.timedelta(minutes=1))
    secret, _ = door.log_in(ada, GOOD, HERE)
    clock.pass_by(minutes=2)
    assert find_session(door.database, digest(secret), short) is None, "a shorter setting counts for open sessions"


def test_a_new_password_a_lock_and_a_logout_end_sessions_and_tokens(door: Door, ada: str) -> None:
    for end in (
        lambda: reset_password(door.database, ada, actor="test"),
        lambda: set_locked(door.database, ada, locked=True, actor="test"),
        lambda: change_password(door.database, ada, "another good phrase", actor="ada"),
    ):
        set_locked(door.database, ada, locked=False, actor="test")
        change_password(door.database, ada, GOOD, actor="ada")
        found, token = enter(door), make_token(door.database, expect_user(door.database, ada), "nightly", 30)
        assert owner_of(door.database, token) is not None
        end()
        assert find_session(door.database, found.session_id, LIFETIME) is None
        assert owner_of(door.database, token) is None
    change_password(door.database, ada, GOOD, actor="ada")
    set_locked(door.database, ada, locked=False, actor="test")
    first, second = enter(door), enter(door)
    door.leave(first, HERE)
    assert find_session(door.database, first.session_id, LIFETIME) is None
    assert find_session(door.database, second.session_id, LIFETIME) is not None
    assert not end_session(door.database, second.session_id, owner="bob"), "another's session is not ended"


def test_a_changed_password_needs_the_current_one_and_gives_a_new_session(door: Door, ada: str) -> None:
    found = enter(door)
    with pytest.raises(RefusedError):
        door.renew_password(found, "wrong", "another good phrase", HERE)
    with pytest.raises(AccountError, match="is the current one"):
        door.renew_password(found, GOOD, GOOD, HERE)
    with pytest.raises(AccountError, match="12 or more"):
        door.renew_password(found, GOOD, "short", HERE)
    assert find_session(door.database, found.session_id, LIFETIME) is not None
    fresh = door.renew_password(found, GOOD, "another good phrase", HERE)
    assert find_session(door.database, found.session_id, LIFETIME) is None
    assert session_of(door, fresh) is not None


def test_an_older_hash_is_taken_over_and_replaced_at_the_login(door: Door) -> None:
    database = door.database
    assert add_user(database, "old", "viewer", actor="test", password_hash=pbkdf2(GOOD, "salt", 1000)) is None
    with pytest.raises(RefusedError):
        door.log_in("old", "wrong", HERE)
    assert database.read(USERS)["password_hash"][0].startswith("pbkdf2_sha256$")
    door.log_in("old", GOOD, HERE)
    assert database.read(USERS)["password_hash"][0].startswith("$argon2id$")
    assert door.log_in("old", GOOD, HERE)[1]
    assert actions(database).count("upgrade hash") == 1


def test_the_first_start_makes_one_admin_and_the_next_none(database: Database, door: Door) -> None:
    made = first_admin(database, actor="test")
    assert made is not None
    name, secret = made
    assert first_admin(database, actor="test") is None
    user = expect_user(database, name)
    assert (user.role, user.is_temporary) == ("admin", True)
    assert door.log_in(name, secret, HERE)[1]


def test_somebody_can_always_manage_accounts(database: Database) -> None:
    first_admin(database, actor="test")
    for change in (
        lambda: set_role(database, "admin", "user", actor="test"),
        lambda: set_locked(database, "admin", locked=True, actor="test"),
    ):
        with pytest.raises(AccountError, match="last admin"):
            change()
    add_user(database, "second", "admin", actor="test")
    set_locked(database, "second", locked=True, actor="test")
    with pytest.raises(AccountError, match="last admin"):
        set_role(database, "admin", "user", actor="test")
    set_locked(database, "second", locked=False, actor="test")
    set_role(database, "admin", "user", actor="test")
    assert {user.name: user.role for user in list_users(database)} == {"admin": "user", "second": "admin"}


@pytest.mark.parametrize(
    "name", ["", " ", "Robert'); DROP TABLE users;--", "<script>", "a b", "é", "-x", "../x", "a" * 101]
)
def test_what_is_no_name_is_refused_and_nothing_is_made(database: Database, name: str) -> None:
    with pytest.raises(AccountError, match="no login name"):
        add_user(database, name, "user", actor="test")
    with pytest.raises(AccountError, match="no role"):
        add_user(database, "fine", "root", actor="test")
    assert not list_users(database)


def test_tokens_end_with_their_time_and_by_their_owner(door: Door, ada: str, monkeypatch: pytest.MonkeyPatch) -> None:
    database, user = door.database, expect_user(door.database, ada)
    token = make_token(database, user, "nightly", 1)
    owner = owner_of(database, token)
    assert owner is not None
    assert owner.name == ada
    assert owner_of(database, digest(token)) is None
    assert tokens_of(database, user)[0].used_time is not None
    add_user(database, "bob", "user", actor="test")
    assert not revoke_token(database, expect_user(database, "bob"), digest(token)), "another's token is not revoked"
    assert revoke_token(database, user, digest(token))
    assert owner_of(database, token) is None
    short = make_token(database, user, "short", 1)
    late = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
    monkeypatch.setattr("tapewatch.accounts.tokens.now", lambda: late)
    assert owner_of(database, short) is None
    for title, days in (("", 30), ("x", 0), ("x", 367)):
        with pytest.raises(AccountError):
            make_token(database, user, title, days)


def test_the_audit_trail_says_who_did_what_from_where_and_holds_no_secret(door: Door, ada: str) -> None:
    with pytest.raises(RefusedError):
        door.log_in(ada, "a wrong password", HERE)
    token = make_token(door.database, expect_user(door.database, ada), "nightly", 30)
    enter(door)
    trail = door.database.read(AUDIT)
    assert trail["action"].to_list() == ["add user", "change password", "login refused", "make token", "login"]
    assert json.loads(trail["detail"][2]) == {"why": "password", "address": "192.0.2.1"}
    for secret in (GOOD, "a wrong password", token):
        assert secret not in str(trail.rows())


@pytest.mark.slow
@pytest.mark.usefixtures("_cheap")
def test_accounts_work_on_postgresql_too(clock: Clock) -> None:
    with postgres() as url, Database(url) as database:
        door = Door(database, Seal(b"0" * 32))
        made = first_admin(database, actor="test")
        assert made is not None
        secret, is_complete = door.log_in(*made, HERE)
        assert is_complete
        found = session_of(door, secret)
        assert found is not None
        fresh = session_of(door, door.renew_password(found, made[1], GOOD, HERE))
        assert fresh is not None
        key = totp.new_secret()
        codes = totp.enrol(database, door.seal, "admin", key, pyotp.TOTP(key).now(), actor="admin")
        assert totp.is_code(database, door.seal, "admin", codes[0])
        assert not totp.is_code(database, door.seal, "admin", codes[0])
        test_many_guesses_at_once_do_not_pass_together(door, "nobody", clock)
        with transaction(database.engine) as connection:
            assert connection.scalar(sa.text("SELECT count(*) FROM user_sessions")) == 1
