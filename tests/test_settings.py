"""The settings and `.env.example` agree."""

import datetime as dt
import re
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from tapewatch.market.instruments import Market
from tapewatch.market.tables.features import LIVE_FAMILIES
from tapewatch.market_settings import MARKET_VARIABLES
from tapewatch.settings import Settings, variable_of
from tapewatch.variables import variables_of

EXAMPLE = Path(__file__).resolve().parent.parent / ".env.example"
NAMES = {
    *(field.alias or variable_of(name) for name, field in Settings.model_fields.items() if name != "markets"),
    *(variable_of("markets", market, name) for market in Market for name in MARKET_VARIABLES),
}


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def test_the_example_names_every_setting_once_and_no_other() -> None:
    assert sorted(re.findall(r"^([A-Z][A-Z_]*)=", EXAMPLE.read_text("utf-8"), re.MULTILINE)) == sorted(NAMES)


def test_the_example_as_it_stands_changes_nothing() -> None:
    assert Settings(_env_file=EXAMPLE) == Settings(_env_file=None)


def test_a_variable_of_the_example_sets_its_field(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"POLYGON_TIER_FUTURES": "advanced", "TAPEWATCH_ALERT_EMAIL_TO": "a@b.c, d@e.f"}.items():
        monkeypatch.setenv(name, value)
    found = Settings(_env_file=EXAMPLE)
    assert found.plan("futures") == "advanced"
    assert found.alert_email_to == ("a@b.c", "d@e.f")


def test_each_setting_of_a_market_is_read_from_the_environment_then_from_the_file_then_by_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / ".env"
    file.write_text(
        "POLYGON_WS_URL_CRYPTO=ws://127.0.0.1:1/crypto\nPOLYGON_TIER_CRYPTO=starter\nTAPEWATCH_SYMBOLS_FOREX=\n"
    )
    monkeypatch.setenv("POLYGON_TIER_CRYPTO", "advanced")
    monkeypatch.setenv("TAPEWATCH_SYMBOLS_STOCKS", "VOO, ,MSFT,")
    monkeypatch.setenv("TAPEWATCH_SYMBOLS_CRYPTO", "")
    found, untouched = Settings(_env_file=file), Settings(_env_file=None, markets={})
    assert found.markets["crypto"].stream_url == "ws://127.0.0.1:1/crypto"
    assert found.plan("crypto") == "advanced"
    assert found.symbols("stocks") == ("VOO", "MSFT")
    for market in ("crypto", "forex"):
        assert found.symbols(market) == untouched.symbols(market) != ()
    assert found.with_markets(*Market, plan="basic").markets["crypto"] == found.markets["crypto"].model_copy(
        update={"plan": "basic"}
    )


def test_a_variable_that_is_empty_in_the_environment_is_not_set_whatever_the_file_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / ".env"
    file.write_text("POLYGON_WS_URL_CRYPTO=ws://vendor/crypto\nPOLYGON_WS_URL=ws://vendor\nTAPEWATCH_HOST=0.0.0.0\n")
    for variable in ("POLYGON_WS_URL_CRYPTO", "POLYGON_WS_URL"):
        monkeypatch.setenv(variable, "")
    settings = Settings(_env_file=file)
    assert settings.markets[Market.CRYPTO].stream_url is None
    assert settings.polygon_ws_url is None
    assert settings.host == "0.0.0.0"  # noqa: S104


def test_a_value_that_cannot_be_is_located_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYGON_TIER_FOREX", "gold")
    monkeypatch.setenv("TAPEWATCH_PORT_MLFLOW", "0")
    with pytest.raises(ValidationError) as caught:
        Settings(_env_file=None)
    assert {variable_of(*fault["loc"]) for fault in caught.value.errors()} == {
        "POLYGON_TIER_FOREX",
        "TAPEWATCH_PORT_MLFLOW",
    }


def test_another_process_reads_the_same_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given = Settings(
        home=tmp_path / "a home, 100%",
        flat_files="s3://flat",
        polygon_api_key=SecretStr("k,=' "),
        plans_file=Path("plans.toml"),
        alert_email_to=("a@x", "b@x"),
        partitions_start=dt.date(2024, 6, 3),
        paper_trading=True,
        scoring_sample=0.25,
        token=SecretStr("t"),
        _env_file=None,
    ).with_markets(Market.CRYPTO, plan="advanced", stream_url="ws://127.0.0.1:1", symbols=("X:A-B", "X:C-D"))
    for name, value in variables_of(given).items():
        monkeypatch.setenv(name, value)
    assert Settings(_env_file=None) == given.model_copy(update={"plans_file": Path("plans.toml").absolute()})


def test_live_features_are_the_tables_that_collectors_can_fill(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings(_env_file=None).live_features == tuple(table.name for table in LIVE_FAMILIES)
    for text, names in (("none", ()), ("regimes,indicators", ("regimes", "indicators"))):
        monkeypatch.setenv("TAPEWATCH_LIVE_FEATURES", text)
        assert Settings(_env_file=None).live_features == names
    monkeypatch.setenv("TAPEWATCH_LIVE_FEATURES", "regime")
    with pytest.raises(ValidationError, match="'regimes' or 'seasonality'"):
        Settings(_env_file=None)
