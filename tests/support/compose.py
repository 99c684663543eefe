"""Reads a compose file as Docker Compose does, for tests that run its commands on this machine."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

_VARIABLE = re.compile(r"\$\{(\w+)(?:(:-|:\?)([^}]*))?\}")


def variables_of(text: str) -> set[str]:
    """The variables that the file takes from the environment."""
    return {match[1] for match in _VARIABLE.finditer(text.replace("$$", ""))}


def read(path: Path, variables: Mapping[str, str]) -> dict[str, Any]:
    """The services with their variables filled in.

    Raises:
        KeyError: a variable that must be set is not.
    """
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    return dict(_filled(document["services"], variables))


def _filled(node: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {name: _filled(inner, variables) for name, inner in node.items()}
    if isinstance(node, list):
        return [_filled(inner, variables) for inner in node]
    if not isinstance(node, str):
        return node
    return _VARIABLE.sub(lambda match: _value(match, variables), node).replace("$$", "$")


def _value(match: re.Match[str], variables: Mapping[str, str]) -> str:
    name, kind, default = match.groups()
    if value := variables.get(name, ""):
        return value
    if kind == ":?":
        raise KeyError(name)
    return str(default or "")
