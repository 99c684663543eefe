"""The settings agree with .env.example."""

import re
from pathlib import Path

import pytest

from tapewatch.settings import Settings

EXAMPLE = Path(__file__).resolve().parent.parent / ".env.example"
NAMES = {field.alias or f"TAPEWATCH_{name.upper()}" for name, field in Settings.model_fields.items()}


def names_in_example() -> list[str]:
    return re.findall(r"^([A-Z][A-Z_]*)=", EXAMPLE.read_text("utf-8"), re.MULTILINE)


def test_the_example_names_every_setting_once_and_no_other() -> None:
    assert sorted(names_in_example()) == sorted(NAMES)


def test_the_example_sets_only_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    assert Settings(_env_file=EXAMPLE) == Settings(_env_file=None)


def test_environment_names_of_the_example_set_their_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in {"POLYGON_TIER_FUTURES": "advanced", "TAPEWATCH_ALERT_EMAIL_TO": "a@b.c, d@e.f"}.items():
        monkeypatch.setenv(name, value)
    found = Settings(_env_file=EXAMPLE)
    assert found.plan("futures") == "advanced"
    assert found.alert_email_to == ("a@b.c", "d@e.f")
