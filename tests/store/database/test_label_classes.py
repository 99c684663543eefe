"""The list of classes: built-in ones first, added and retired with an audit entry."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestration.cli.app import app
from tapewatch.labels.kinds import KINDS
from tapewatch.labels.people.human import LabelError
from tapewatch.market.tables.live import AUDIT
from tapewatch.store.database.database import Database
from tapewatch.store.database.people.label_classes import classes, offered, set_class


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(f"sqlite:///{tmp_path / 'tapewatch.db'}") as opened:
        yield opened


def test_classes_are_added_retired_and_offered_again(database: Database) -> None:
    assert offered(database) == KINDS
    set_class(database, "layered_book", description="put in and taken out", actor="ada")
    set_class(database, "quote_stuffing", is_offered=False, actor="ada")
    assert set(offered(database)) == {*KINDS, "layered_book"} - {"quote_stuffing"}
    set_class(database, "layered_book", is_offered=False, actor="ada")
    assert [each.name for each in classes(database)] == [*KINDS, "layered_book"]
    assert classes(database)[-1].description == "put in and taken out"
    assert not classes(database)[-1].is_built_in
    set_class(database, "quote_stuffing", actor="ben")
    assert offered(database) == KINDS
    entries = database.read(AUDIT).select("actor", "action", "subject").rows()
    assert [entry for entry in entries if entry[2] == "quote_stuffing"] == [
        ("ada", "label class", "quote_stuffing"), ("ben", "label class", "quote_stuffing")
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["", "Spoofing", "two words", "_x", "x__y", "x" * 41, "<b>", "ä"])
def test_odd_names_are_refused(database: Database, name: str) -> None:
    with pytest.raises(LabelError, match="is no name of a class"):
        set_class(database, name, actor="ada")


def test_normal_stays_and_what_is_not_there_is_not_retired(database: Database) -> None:
    with pytest.raises(LabelError, match="normal stays"):
        set_class(database, "normal", is_offered=False, actor="ada")
    with pytest.raises(LabelError, match="there is no class 'spoofing'"):
        set_class(database, "spoofing", is_offered=False, actor="ada")
    assert database.read(AUDIT).is_empty()


def test_the_command_changes_what_may_be_labelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAPEWATCH_HOME", str(tmp_path))
    monkeypatch.delenv("TAPEWATCH_DATABASE_URL", raising=False)

    def call(*arguments: str) -> str:
        return CliRunner().invoke(app, ["labels", *arguments]).output

    at = ("--from", "2024-03-05T15:01", "--to", "2024-03-05T15:02")
    assert "'spoofing' is no kind of anomaly" in call("add", "AAPL", "spoofing", *at)
    assert "spoofing: offered" in call("classes", "add", "spoofing", "--description", "orders that are never meant")
    assert "the lake has no tape" in call("add", "AAPL", "spoofing", *at)
    assert "no longer offered" in call("classes", "retire", "spoofing")
    assert "spoofing,false,false,orders that are never meant" in call("classes", "list", "--format", "csv").lower()
