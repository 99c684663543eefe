"""The scoring service as a process: waits for the first Bento, then serves it."""

import os
import sys
import time
from pathlib import Path

from serving.store import StoredBento
from tapewatch.settings import Settings

_POLL_SECONDS = 2.0


def serve_command(
    bento: Path, *, host: str, port: int, certificate: Path | None = None, key: Path | None = None
) -> list[str]:
    """The command that serves a Bento from its folder, over TLS with a certificate and its key.

    BENTOML_HOME must be the store that holds its model.
    """
    address = ("--host", host, "--port", str(port))
    tls = ("--ssl-certfile", str(certificate), "--ssl-keyfile", str(key)) if certificate and key else ()
    return [sys.executable, "-m", "bentoml", "serve", str(bento), *address, *tls]


def main() -> None:
    """Poll the store, then replace this process with the server."""
    settings = Settings()
    bento = StoredBento.latest(settings.bento_home)
    if bento is None:
        _say(f"no Bento in {settings.bento_home} yet: materialize serving/anomaly_bento; waiting for it")
    while bento is None:
        time.sleep(_POLL_SECONDS)
        bento = StoredBento.latest(settings.bento_home)
    _say(f"serving {bento.tag}: {bento.model_name} {bento.model_version}")
    # The Bento has its own copy of the code; the checkout must not come before it on the path.
    os.chdir(settings.bento_home)
    os.environ |= {"BENTOML_HOME": str(settings.bento_home.resolve()), "BENTOML_DO_NOT_TRACK": "true"}
    command = serve_command(
        bento.folder.resolve(),
        host=settings.host,
        port=settings.port_scoring,
        certificate=settings.scoring_certificate,
        key=settings.scoring_certificate_key,
    )
    os.execv(command[0], command)  # noqa: S606


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
