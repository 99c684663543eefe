"""A database of accounts, and cheap hashes: what they cost is tested once."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from tapewatch.accounts import passwords
from tapewatch.accounts.login import Door
from tapewatch.accounts.sealing import Seal
from tapewatch.store.database.database import Database


@pytest.fixture
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    passwords._nobodys.cache_clear()


@pytest.fixture
def database(tmp_path: Path, _cheap: None) -> Iterator[Database]:
    with Database(f"sqlite:///{tmp_path / 'accounts.db'}") as opened:
        yield opened


@pytest.fixture
def door(database: Database) -> Door:
    return Door(database, Seal(b"0" * 32))
