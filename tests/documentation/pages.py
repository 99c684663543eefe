"""The pages of the documentation, and the commands that they show."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent.parent
PAGES = (CHECKOUT / "README.md", CHECKOUT / "CONTRIBUTING.md", *sorted((CHECKOUT / "docs").rglob("*.md")))

#: In a list a block is indented.
_CONSOLE = re.compile(r"^ *```console\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_CODE_BLOCK = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")
_ENDS = {"|", "||", "&&", ";", "&"}
_REDIRECTIONS = {">", ">>", "<", ">&"}


@dataclass(frozen=True, slots=True)
class Command:
    """A command of a page: its words, without the variables before it, and what is piped or redirected."""

    page: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}: {shlex.join(self.words)}"


def name(page: Path) -> str:
    return str(page.relative_to(CHECKOUT))


def shown(page: Path) -> Iterator[Command]:
    """The commands of the page's console blocks: lines that begin with `$`, continued after a backslash."""
    for block in _CONSOLE.findall(page.read_text()):
        for line in re.findall(r"^ *\$ ((?:.*\\\n)*.*)", block, re.MULTILINE):
            yield from _commands(page, line.replace("\\\n", " "))


def mentioned(page: Path) -> Iterator[Command]:
    """The commands in the page's text and tables, such as `tapewatch models list`."""
    for span in _SPAN.findall(_CODE_BLOCK.sub("", page.read_text())):
        yield from _commands(page, span)


def _commands(page: Path, line: str) -> Iterator[Command]:
    if "<<" in line:  # a file that follows
        return
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:  # a span that is no shell line
        return
    command: list[str] = []
    for before, word in pairwise(["", *words, ";"]):
        if word in _REDIRECTIONS or before in _REDIRECTIONS:
            continue
        if word not in _ENDS:
            if command or not re.match(r"[A-Z_]+=", word):
                command.append(word)
        elif command:
            yield Command(name(page), tuple(command))
            command = []
