"""Each command that the documentation shows exists, with its options; so do make's targets, modules and settings."""

import importlib
import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import typer.main

from orchestration.cli.app import app
from tapewatch.variables import unknown_variables
from tests.documentation.pages import CHECKOUT, PAGES, Command, mentioned, name, shown
from tests.documentation.running import ELSEWHERE, ENDS, NOT_RUN, SHELL, commands, is_run_here, way_of

_TAPEWATCH: Any = typer.main.get_command(app)
_SHOWN = [command for page in PAGES for command in shown(page)]
_MENTIONED = [command for page in PAGES for command in mentioned(page)]


def of(program: str, commands: list[Command]) -> list[Command]:
    return [command for command in commands if command.words[0] == program]


def parse(command: Command) -> None:
    """Parse as the program does, without running it; raises its usage error."""
    parser, words, context = _TAPEWATCH, list(command.words[1:]), None
    if "--help" in words:
        words = words[: words.index("--help")]
        resolve(words)
        return
    while True:
        context = parser.make_context(parser.name, words, parent=context)
        if not hasattr(parser, "resolve_command"):
            return
        _, parser, words = parser.resolve_command(context, [*context._protected_args, *context.args])


def resolve(words: list[str]) -> tuple[Any, list[str]]:
    """The command that the first words name, and the words after them."""
    parser, rest = _TAPEWATCH, list(words)
    while rest and hasattr(parser, "commands"):
        parser = parser.commands[rest.pop(0)]
    return parser, rest


def test_there_are_commands() -> None:
    assert len(of("tapewatch", _SHOWN)) > 80
    assert len(of("tapewatch", _MENTIONED)) > 50


@pytest.mark.parametrize("command", of("tapewatch", _SHOWN), ids=str)
def test_a_command_that_is_shown_parses(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for word in command.words:
        if re.fullmatch(r"[\w.-]+\.(csv|toml|zip|json|parquet)", word):
            (tmp_path / word).touch()
    parse(command)


@pytest.mark.parametrize("command", of("tapewatch", _MENTIONED), ids=str)
def test_a_command_that_is_mentioned_exists(command: Command) -> None:
    words = [word for word in command.words[1:] if "…" not in word]
    parser, rest = resolve([choice.split("|")[0] for choice in words])
    options = {option for parameter in parser.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word.split("=")[0] for word in rest if word.startswith("-") and word != "-"} <= options | {"--help"}


def test_each_command_that_is_shown_is_run_or_says_why_not() -> None:
    """Those that are run here are run by tests/integration/test_platform.py."""
    ways = {**ELSEWHERE, **NOT_RUN}
    found = {command: way_of(command, ways) for command in commands() if command.words[0] not in SHELL}
    assert [str(command) for command, way in found.items() if way is None and not is_run_here(command)] == []
    assert ways.keys() == set(found.values()) - {None}, "no way is left over"
    assert [test for test in ELSEWHERE.values() if not (CHECKOUT / test).is_file()] == []
    ends = {way_of(command, ENDS) for command in commands()}
    assert ENDS.keys() <= ends


@pytest.mark.parametrize("command", of("make", _SHOWN + _MENTIONED), ids=str)
def test_a_target_exists(command: Command) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))
    assert {word for word in command.words[1:] if "=" not in word} <= targets


@pytest.mark.parametrize(
    "command", of("python", _SHOWN + _MENTIONED) + of(".venv/bin/python", _SHOWN + _MENTIONED), ids=str
)
def test_a_module_exists(command: Command) -> None:
    if "-m" in command.words:
        assert importlib.util.find_spec(command.words[command.words.index("-m") + 1]) is not None


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_settings_that_a_page_names_exist(page: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    elsewhere = (file for file in (CHECKOUT / "deployment").rglob("*") if file.is_file() and file.suffix != ".pyc")
    known_elsewhere = "\n".join(file.read_text() for file in elsewhere)
    for variable in set(re.findall(r"\b(?:TAPEWATCH|POLYGON)_[A-Z0-9_]*[A-Z0-9]\b(?![_{*<])", page.read_text())):
        if variable not in known_elsewhere:
            monkeypatch.setenv(variable, "1")
    assert unknown_variables() == {}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_what_python_examples_import_exists(page: Path) -> None:
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        for module, names in re.findall(r"^from (\S+) import ([\w, ]+)$", block, re.MULTILINE):
            found = importlib.import_module(module)
            assert not [each for each in names.split(", ") if not hasattr(found, each)], module
