"""The services of `tapewatch up`: ports, addresses and common environment."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from rich.console import Console

from orchestration.definitions import build_definitions
from orchestration.processes import services as started
from orchestration.processes.guarding import check_access
from orchestration.processes.services import (
    PLACEHOLDER_KEY,
    ServiceError,
    check_ports,
    emulator,
    emulator_to_start,
    environment,
    free_port,
    on_emulator,
    services,
    with_source,
)
from orchestration.processes.streaming import source_of, stream_services
from orchestration.processes.up import address_table
from tapewatch import __version__
from tapewatch.emulator import name_of
from tapewatch.emulator.tape.market_tape import SyntheticTape
from tapewatch.market.instruments import Market
from tapewatch.settings import Settings
from tests.support import ask
from tests.support.emulator import serving
from tests.support.ports import free_ports


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in ("POLYGON_API_KEY", "POLYGON_BASE_URL", "TAPEWATCH_FLAT_FILES", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    # The default is a port that another process of this machine may use.
    return Settings(home=tmp_path / "home", port_emulator=free_ports(1)[0])


def test_every_service_with_a_port_names_its_setting_and_address(settings: Settings) -> None:
    wanted = services(settings)
    assert [s.name for s in wanted] == [
        "emulator",
        "dagster-webserver",
        "dagster-daemon",
        "mlflow",
        "scoring",
        "dashboard",
    ]
    for service in wanted:
        if service.port is not None:
            assert service.url == f"http://127.0.0.1:{service.port}"
            assert service.health.startswith(service.url)
            assert service.setting.removeprefix("TAPEWATCH_").lower() in Settings.model_fields
        else:
            assert service.probe


def test_a_remote_mlflow_is_not_started(settings: Settings) -> None:
    elsewhere = settings.model_copy(update={"mlflow_tracking_uri": "https://mlflow.example.com"})
    assert "mlflow" not in [s.name for s in services(elsewhere)]


def test_no_password_is_on_a_command_line_or_in_what_dagster_shows(settings: Settings) -> None:
    url = "postgresql+psycopg2://me:hunter2@127.0.0.1/x"  # pragma: allowlist secret
    secrets = {"database_url": url, "mlflow_tracking_uri": url, "polygon_api_key": SecretStr("hunter2")}
    secretive = settings.model_copy(update=secrets)
    assert "hunter2" not in repr(services(secretive))
    shown = build_definitions(secretive).get_repository_def().get_top_level_resources()
    assert "database" in shown
    for resource in shown.values():
        assert "hunter2" not in str(resource.config_schema.default_value)
    variables = environment(secretive)
    for name in ("TAPEWATCH_DATABASE_URL", "MLFLOW_TRACKING_URI", "MLFLOW_BACKEND_STORE_URI"):
        assert variables[name] == url


@pytest.mark.parametrize(("host", "address"), [("192.0.2.7", "192.0.2.7"), ("::1", "[::1]")])
def test_the_emulator_binds_to_loopback_whatever_the_host_of_the_others(
    settings: Settings, host: str, address: str
) -> None:
    emulator, dagster, *_ = services(settings.model_copy(update={"host": host}))
    assert emulator.url == f"http://127.0.0.1:{settings.port_emulator}"
    assert dagster.url == f"http://{address}:{settings.port_dagster}"
    assert with_source(settings.model_copy(update={"host": host})).polygon_base_url == emulator.url


def test_the_dashboard_alone_may_be_opened_to_others(settings: Settings) -> None:
    """It has accounts, so no token is asked for; the others stay on loopback."""
    opened = settings.model_copy(update={"dashboard_host": "0.0.0.0"})  # noqa: S104 - nothing is bound to it
    check_access(opened)
    by_name = {service.name: service.url for service in started.services(opened)}
    assert by_name["dashboard"] == f"http://0.0.0.0:{settings.port_dashboard}"
    assert {url.partition("//")[2].split(":")[0] for name, url in by_name.items() if name != "dashboard" and url} == {
        "127.0.0.1"
    }


def test_a_taken_port_is_named_with_its_service_and_the_way_out(settings: Settings) -> None:
    # Outside the range that the system gives to connections: both must be free at the end.
    port, free = free_ports(2)
    with socket.create_server(("127.0.0.1", port)):
        blocked = settings.model_copy(update={"port_mlflow": port, "port_dagster": free})
        wanted = [s for s in services(blocked) if s.name in ("mlflow", "dagster-webserver")]
        with pytest.raises(ServiceError, match=rf"port {port} is taken: MLflow.*TAPEWATCH_PORT_MLFLOW"):
            check_ports(wanted, "127.0.0.1")
    check_ports(wanted, "127.0.0.1")


@pytest.mark.parametrize("host", ["999.1.1.1", "192.0.2.7", "no.such.host.invalid"])
def test_an_address_of_another_machine_is_named_as_such(settings: Settings, host: str) -> None:
    elsewhere = settings.model_copy(update={"host": host, "port_emulator": free_ports(1)[0]})
    with pytest.raises(ServiceError) as caught:
        check_ports(services(elsewhere), host)
    said = f"TAPEWATCH_HOST is {host}: not an address of this machine; set it to 127.0.0.1 or one that is"
    assert str(caught.value) == said


def test_with_a_key_no_emulator_is_started(settings: Settings) -> None:
    with_key = settings.model_copy(update={"polygon_api_key": SecretStr("k")})
    assert [s.name for s in services(with_key)] == [
        "dagster-webserver",
        "dagster-daemon",
        "mlflow",
        "scoring",
        "dashboard",
    ]


@pytest.fixture(scope="module")
def running() -> Iterator[int]:
    """The port of an emulator as `tapewatch up` starts it."""
    port = free_ports(1)[0]
    with serving(SyntheticTape(7), speed="1", source=name_of(7, None), port=port):
        yield port


def test_an_emulator_that_serves_the_same_is_used(settings: Settings, running: int) -> None:
    own = settings.model_copy(update={"port_emulator": running})
    assert emulator_to_start(own) is None
    assert emulator_to_start(own, speed="1.0") is None
    assert "emulator" not in [s.name for s in services(own)]
    info = ask.get(f"http://127.0.0.1:{running}/emulator/v1/info").json()
    assert info == {
        "emulator": True,
        "version": __version__,
        "source": "synthetic market, seed 7",
        "speed": "1",
        "replay": None,
        "markets": list(Market),
        "faults": 0,
    }


def test_an_emulator_that_serves_something_else_is_refused(settings: Settings, running: int, tmp_path: Path) -> None:
    own = settings.model_copy(update={"port_emulator": running})
    with pytest.raises(
        ServiceError, match=r"serves synthetic market, seed 7, at speed 1; .* at speed 60: .*TAPEWATCH_PORT_EMULATOR"
    ):
        emulator_to_start(own, speed="60")
    assert emulator_to_start(own, speed=None) is None
    recorded = own.model_copy(update={"flat_files": str(tmp_path)})
    for asks in (emulator_to_start, services, source_of):
        with pytest.raises(ServiceError, match=f"serves synthetic market, seed 7.*needs flat files in {tmp_path}"):
            asks(recorded)


def test_an_emulator_that_was_started_to_play_a_day_is_joined_as_it_plays(settings: Settings) -> None:
    port = free_ports(1)[0]
    own = settings.model_copy(update={"port_emulator": port})
    with serving(SyntheticTape(7), speed="120", replay="2024-06-03", source=name_of(7, None), port=port):
        assert source_of(own, speed=None).emulator is None
        assert source_of(own, speed=None).text.endswith(", which runs already, at speed 120, days 2024-06-03")
        with pytest.raises(ServiceError, match=r"at speed 120, days 2024-06-03; this needs .* at speed 1: stop it"):
            services(own)


def test_another_program_on_the_emulators_port_is_named(settings: Settings) -> None:
    port = free_ports(1)[0]
    with socket.create_server(("127.0.0.1", port)) as listener:
        listener.close()
    own = settings.model_copy(update={"port_emulator": port})
    assert emulator_to_start(own) == emulator(own)
    assert source_of(own, speed="60").emulator == emulator(own, speed="60")


def test_a_password_in_an_address_is_not_in_the_name_of_a_source(settings: Settings) -> None:
    secretive = {"flat_files": "sftp://me:hunter2@example.com/flat", "port_emulator": free_ports(1)[0]}
    assert "sftp://me:***@example.com/flat" in source_of(settings.model_copy(update=secretive)).text


def test_a_free_port_lies_outside_the_range_for_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    assert free_port("127.0.0.1") < 20_000
    taken, free = free_ports(2)
    monkeypatch.setattr(started, "_CHOSEN", range(taken, free + 1))
    with socket.create_server(("127.0.0.1", taken)):
        assert {free_port("127.0.0.1") for _ in range(20)} == {free}


def test_without_key_and_files_every_service_uses_the_emulator(settings: Settings) -> None:
    variables = environment(with_source(settings))
    assert variables["POLYGON_BASE_URL"] == f"http://127.0.0.1:{settings.port_emulator}"
    assert variables["POLYGON_API_KEY"] == PLACEHOLDER_KEY
    assert variables["POLYGON_TIER_CRYPTO"] == "advanced"
    assert variables["TAPEWATCH_HOME"] == str(settings.home)


@pytest.mark.parametrize("given", [{"polygon_api_key": SecretStr("k")}, {"flat_files": "/flat"}])
def test_a_configured_source_is_not_replaced(settings: Settings, given: dict[str, object]) -> None:
    own = settings.model_copy(update=given)
    assert with_source(own) is own


def test_an_emulator_replaces_files_and_key(settings: Settings) -> None:
    pointed = on_emulator(settings.model_copy(update={"flat_files": "/flat"}), "http://127.0.0.1:9")
    assert pointed.flat_files is None
    assert pointed.polygon_base_url == "http://127.0.0.1:9"
    assert pointed.plan("stocks") == "advanced"


def test_addresses_are_not_broken_on_a_narrow_terminal(settings: Settings) -> None:
    everything = [*services(settings), *stream_services(on_emulator(settings, "http://127.0.0.1:8900"))]
    narrow = Console(width=80)
    with narrow.capture() as captured:
        narrow.print(address_table(everything, {"scoring": "waits for the first Bento: `tapewatch run`"}))
    shown = captured.get()
    for service in everything:
        assert service.url in shown
    assert max(map(len, shown.splitlines())) <= 80
