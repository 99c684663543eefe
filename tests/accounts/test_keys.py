"""API keys: what is stored, what they allow, and when they end."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from tapewatch.accounts.keys import ApiKeyError, KeyRing, create_key, list_keys, revoke_key, rotate_key
from tapewatch.market.tables.live import API_KEYS, AUDIT
from tapewatch.store.database.database import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(f"sqlite:///{tmp_path / 'd.db'}") as database:
        yield database


def ring(database: Database) -> KeyRing:
    return KeyRing.of(list_keys(database))


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def test_a_key_is_found_by_its_text_and_only_its_hash_is_stored(database: Database) -> None:
    key, text = create_key(database, "desk", ["explain", "score"], actor="ada", requests_per_minute=10)
    found = ring(database).find(text, now())
    assert found == key
    assert (found.scopes, found.requests_per_minute) == (("score", "explain"), 10)
    assert found.allows("score")
    assert not found.allows("feedback")
    stored = database.read(API_KEYS).write_csv() + database.read(AUDIT).write_csv()
    assert text.rpartition(key.key_id)[2].strip("_") not in stored
    for wrong in ("", "tw_", text[:-1], text + "x", text.replace("tw_", "tx_"), f"tw_{key.key_id}_", "ö" * 50):
        assert ring(database).find(wrong, now()) is None


def test_admin_allows_everything(database: Database) -> None:
    key, _ = create_key(database, "ops", ["admin"], actor="ada")
    assert all(key.allows(scope) for scope in ("score", "explain", "feedback", "admin"))


def test_a_revoked_key_is_refused_and_stays_listed(database: Database) -> None:
    key, text = create_key(database, "desk", ["score"], actor="ada")
    assert ring(database).has_valid(now())
    revoke_key(database, key.key_id, actor="ben")
    assert ring(database).find(text, now()) is None
    assert not ring(database).has_valid(now())
    assert [each.key_id for each in list_keys(database)] == [key.key_id]
    with pytest.raises(ApiKeyError, match="no valid key"):
        revoke_key(database, key.key_id, actor="ben")
    actions = database.read(AUDIT).sort("at_time").select("action", "actor").rows()
    assert actions == [("key_create", "ada"), ("key_revoke", "ben")]


def test_a_rotated_key_works_until_the_overlap_ends(database: Database) -> None:
    old, old_text = create_key(database, "desk", ["score"], actor="ada")
    new, new_text = rotate_key(database, old.key_id, actor="ada", overlap=dt.timedelta(hours=1))
    both = ring(database)
    assert (new.name, new.scopes) == (old.name, old.scopes)
    assert both.find(old_text, now()) is not None
    assert both.find(new_text, now()) is not None
    later = now() + dt.timedelta(hours=2)
    assert both.find(old_text, later) is None
    assert both.find(new_text, later) is not None


def test_a_key_with_a_lifetime_ends_by_itself(database: Database) -> None:
    _, text = create_key(database, "desk", ["score"], actor="ada", lifetime=dt.timedelta(days=1))
    assert ring(database).find(text, now()) is not None
    assert ring(database).find(text, now() + dt.timedelta(days=1, seconds=1)) is None


@pytest.mark.parametrize(
    ("name", "scopes", "rate", "word"),
    [
        ("", ["score"], None, "name"),
        ("desk", [], None, "no scope"),
        ("desk", ["trade"], None, "trade"),
        ("desk", ["score"], 0, "1 or more"),
    ],
)
def test_what_is_no_key_is_refused_and_nothing_is_stored(
    database: Database, name: str, scopes: list[str], rate: int | None, word: str
) -> None:
    with pytest.raises(ApiKeyError, match=word):
        create_key(database, name, scopes, actor="ada", requests_per_minute=rate)
    assert database.read(API_KEYS).is_empty()
