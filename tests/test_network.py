"""Proxies and certificates of the environment: loopback directly, the vendor through the proxy, by REST and WebSocket."""

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import requests
from typer.testing import CliRunner

from orchestration.cli.app import app
from resources.reachable import expect_listener
from tapewatch.emulator.process import running_emulator
from tapewatch.emulator.tape.market_tape import SyntheticTape
from tapewatch.feeds.errors import CertificateError, UnavailableError
from tapewatch.feeds.plans.table import plan_for
from tapewatch.feeds.rest.transport import Patience, Transport
from tapewatch.feeds.source import SourceError
from tapewatch.feeds.stream.client import StreamCertificateError
from tapewatch.market.instruments import Market
from tapewatch.network import NetworkError, authorities, is_loopback, prepare_environment, proxy_of
from tests.support.emulator import serving
from tests.support.ports import free_port
from tests.support.proxy import Proxy, proxy, self_signed
from tests.support.streaming_client import running

PLAN = plan_for(Market.STOCKS, "advanced")
STATUS = "/v1/marketstatus/now"
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
#: Who retries waits for ever.
ONCE = Patience(first_wait_s=3600, longest_wait_s=3600)


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        for spelt in (name, name.lower()):
            # Set before it is removed, so that it is restored in any case.
            monkeypatch.setenv(spelt, "")
            monkeypatch.delenv(spelt)


@pytest.fixture(scope="module")
def emulator() -> Iterator[str]:
    with serving(SyntheticTape(7)) as url:
        yield url


@pytest.fixture
def proxied(emulator: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy that alone knows the host vendor.test, and is the environment's."""
    with proxy({"vendor.test": emulator.removeprefix("http://")}) as found:
        monkeypatch.setenv("HTTP_PROXY", found.url)
        monkeypatch.setenv("HTTPS_PROXY", found.url)
        yield found


def test_the_vendor_is_asked_through_the_proxy_over_rest(proxied: Proxy) -> None:
    expect_listener("http://vendor.test")
    assert b"market" in Transport("http://vendor.test", "k").get(STATUS, PLAN).body
    assert proxied.asked == [("GET", "vendor.test")]


def test_no_proxy_names_hosts_that_are_asked_directly(proxied: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "vendor.test")
    with pytest.raises(UnavailableError):
        Transport("http://vendor.test", "k", patience=Patience(attempts=1)).get(STATUS, PLAN)
    assert not proxied.asked


def test_the_vendor_streams_through_the_proxy(proxied: Proxy) -> None:
    with running("ws://vendor.test/stocks", ["T.VOO"]) as run:
        run.until(lambda: run.frames)
    assert set(proxied.asked) == {("CONNECT", "vendor.test")}


def test_loopback_is_asked_directly(proxied: Proxy, emulator: str) -> None:
    expect_listener(emulator)
    assert Transport(emulator, "k").get(STATUS, PLAN).body
    with running(emulator.replace("http", "ws") + "/stocks", ["T.VOO"]) as run:
        run.until(lambda: run.frames)
    prepare_environment()
    for library in (httpx, requests):  # the latter is MLflow's
        assert library.get(f"{emulator}/emulator/v1/info", timeout=60).json()["emulator"]
    assert not proxied.asked


@pytest.mark.slow
def test_an_emulator_starts_whatever_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    with running_emulator() as started:
        assert started.base_url


def test_a_proxy_that_cannot_be_reached_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("HTTP_PROXY", f"http://me:hunter2@127.0.0.1:{port}")  # pragma: allowlist secret
    with pytest.raises(
        UnavailableError, match=rf"the proxy of http://vendor.test .* http://127.0.0.1:{port} .*HTTP_PROXY"
    ):
        expect_listener("http://vendor.test")


def test_a_proxy_that_is_none_of_http_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    with pytest.raises(SourceError, match=r"socks5://127\.0\.0\.1:1 for vendor.test is not one of HTTP"):
        Transport("https://vendor.test", "k")
    assert proxy_of("https://127.0.0.1") is None


@pytest.mark.parametrize(
    ("host", "expected"), [("localhost", True), ("127.9.9.9", True), ("::1", True), ("a.b", False)]
)
def test_loopback_has_many_names(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_the_names_of_no_proxy_are_kept_and_loopback_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    prepare_environment()
    assert "NO_PROXY" not in os.environ
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "a.example, .b.example")
    prepare_environment()
    prepare_environment()
    assert os.environ["no_proxy"] == os.environ["NO_PROXY"] == "a.example,.b.example,localhost,127.0.0.1,::1"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return self_signed(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def secure(certificate: tuple[Path, Path]) -> Iterator[str]:
    """An emulator behind a certificate that no one trusts."""
    with serving(SyntheticTape(7), certificate=certificate) as url:
        yield url


def test_a_certificate_that_is_not_trusted_fails_at_once(secure: str) -> None:
    with pytest.raises(
        CertificateError, match=r"certificate of https://.* is not trusted \(self-signed.*SSL_CERT_FILE"
    ):
        Transport(secure, "k", patience=ONCE).get(STATUS, PLAN)
    with running(secure.replace("https", "wss") + "/stocks", ["T.VOO"]) as run:
        run.thread.join(60)
    assert isinstance(run.error, StreamCertificateError)
    assert "SSL_CERT_FILE" in str(run.error)


def test_a_backfill_with_such_a_certificate_is_refused_in_one_line(
    secure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = {"TAPEWATCH_HOME": str(tmp_path), "POLYGON_BASE_URL": secure, "POLYGON_API_KEY": "k"}
    for name, value in {**given, "POLYGON_TIER_CRYPTO": "advanced", "TAPEWATCH_FLAT_FILES": ""}.items():
        monkeypatch.setenv(name, value)
    day = "2024-03-05"
    refused = CliRunner().invoke(app, ["backfill", "-m", "crypto", "--from", day, "--to", day])
    assert refused.exit_code == 1
    assert refused.stderr.splitlines()[-1].startswith(f"Error: the certificate of {secure} is not trusted")


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_either_variable_names_the_authorities_for_all(
    secure: str, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, str(certificate[0]))
    assert Transport(secure, "k", patience=ONCE).get(STATUS, PLAN).body
    with running(secure.replace("https", "wss") + "/stocks", ["T.VOO"]) as run:
        run.until(lambda: run.frames)
    prepare_environment()
    assert os.environ["SSL_CERT_FILE"] == os.environ["REQUESTS_CA_BUNDLE"] == str(certificate[0])
    assert httpx.get(f"{secure}/emulator/v1/info").is_success


def test_a_file_of_authorities_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    with pytest.raises(NetworkError, match=r"SSL_CERT_FILE is '/nowhere/ca\.pem'"):
        authorities()
    with pytest.raises(SourceError, match="SSL_CERT_FILE"):
        Transport("https://vendor.test", "k")
