"""`tapewatch keys`: the key goes to standard output once, and nowhere else."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestration.cli.app import app
from tapewatch.accounts.keys import KeyRing, list_keys
from tapewatch.store.database.database import Database


def test_a_key_is_made_listed_rotated_and_revoked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAPEWATCH_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, code: int = 0) -> tuple[str, str]:
        done = CliRunner().invoke(app, ["keys", *arguments])
        assert done.exit_code == code, done.output
        return done.stdout, done.stderr

    text, note = run("create", "desk", "--scopes", "score, explain", "--days", "90", "--rate", "7")
    key = text.strip()
    assert key not in note
    key_id = key.split("_")[1]
    (listed,) = json.loads(run("list", "--format", "json")[0])
    assert (listed["key_id"], listed["scopes"], listed["requests_per_minute"]) == (key_id, "score,explain", 7)
    assert key not in json.dumps(listed)
    assert "desk" in run("list")[0]
    new = run("rotate", key_id, "--overlap-hours", "0")[0].strip()
    with Database(f"sqlite:///{tmp_path / 'tapewatch.db'}") as database:
        ring, now = KeyRing.of(list_keys(database)), max(each.created_time for each in list_keys(database))
        assert ring.find(new, now) is not None
    run("revoke", new.split("_")[1])
    with Database(f"sqlite:///{tmp_path / 'tapewatch.db'}") as database:
        assert all(each.expires_time is not None for each in list_keys(database))
    assert "no valid key" in run("revoke", "nobody", code=1)[1]
    assert "trade" in run("create", "desk", "--scopes", "trade", code=1)[1]
