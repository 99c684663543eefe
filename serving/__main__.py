"""The scoring service as a process: `python -m serving` waits for the first Bento, then serves it.

`python -m serving --check` exits with 0 if the service of this machine is ready.
"""

import sys
import urllib.request

from tapewatch.settings import Settings

_ANSWER_SECONDS = 5.0


def is_ready(settings: Settings) -> bool:
    """Whether the service of this machine answers and has loaded its model."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"http://{host}:{settings.port_scoring}/readyz"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(address, timeout=_ANSWER_SECONDS) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def main() -> int:
    """Check or start the service; returns the exit code."""
    settings = Settings()
    if sys.argv[1:] == ["--check"]:
        return 0 if is_ready(settings) else 1
    from serving.start import start  # noqa: PLC0415 - takes a second, and a check comes every few seconds

    return start(settings)


if __name__ == "__main__":
    sys.exit(main())
