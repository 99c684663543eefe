"""The scoring service's command and address, with and without a certificate."""

from pathlib import Path

from orchestration.processes.services import scoring_service
from serving.start import serve_command
from tapewatch.settings import Settings


def test_a_certificate_makes_the_service_speak_tls(tmp_path: Path) -> None:
    plain = Settings(home=tmp_path, _env_file=None)
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    secure = plain.model_copy(update={"scoring_certificate": certificate, "scoring_certificate_key": key})
    assert scoring_service(plain).health == "http://127.0.0.1:3001/readyz"
    assert scoring_service(secure).health == "https://127.0.0.1:3001/readyz"
    assert scoring_service(secure.model_copy(update={"host": "::1"})).url == "https://[::1]:3001"
    command = serve_command(tmp_path, host="127.0.0.1", port=3001, certificate=certificate, key=key)
    assert command[-4:] == ["--ssl-certfile", str(certificate), "--ssl-keyfile", str(key)]
    assert "--ssl-certfile" not in serve_command(tmp_path, host="127.0.0.1", port=3001)
