"""`tapewatch labels push` and `pull` over a plain folder: conflicts are listed with the way to settle them."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestration.cli.app import app
from tapewatch.settings import Settings
from tests.orchestration.runs.test_sharing import add, change, label


def call(home: Path, patch: pytest.MonkeyPatch, *arguments: str, status: int = 0) -> str:
    patch.setenv("TAPEWATCH_HOME", str(home))
    patch.setenv("COLUMNS", "200")
    done = CliRunner().invoke(app, ["labels", *arguments])
    assert done.exit_code == status, done.output
    return done.output


@pytest.mark.long
def test_a_conflict_is_listed_and_settled_by_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TAPEWATCH_DATABASE_URL", raising=False)
    place, ann, ben = str(tmp_path / "team"), tmp_path / "ann", tmp_path / "ben"
    both, first = [Settings(home=home, _env_file=None) for home in (ann, ben)], label("ann", 0)
    add(both[0], first)
    assert "1 new, 0 changed, 0 removed" in call(ann, monkeypatch, "push", place)
    ben.mkdir()
    assert "1 new" in call(ben, monkeypatch, "pull", place)
    for settings, kind in zip(both, ("normal", "price_jump"), strict=True):
        change(settings, first, kind)
    assert "1 changed or removed here, not pushed: add --upsert" in call(ann, monkeypatch, "push", place)
    call(ann, monkeypatch, "push", place, "--upsert")
    said = call(ben, monkeypatch, "push", place, "--upsert", status=1)
    for part in (first.label_id, "AAPL 2024-03-05 17:00:00 to 17:05:00", "price jump, 0.50", "normal, 0.50", "--take"):
        assert part in said
    assert "is no choice" in call(ben, monkeypatch, "pull", place, "--take", "x", status=1)
    call(ben, monkeypatch, "pull", place, "--ours", "--theirs", status=2)
    assert "1 changed" in call(ben, monkeypatch, "pull", place, "--take", f"{first.label_id}=theirs")
    assert "0 new, 0 changed, 0 removed" in call(ben, monkeypatch, "push", place, "--upsert")
