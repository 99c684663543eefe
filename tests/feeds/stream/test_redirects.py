"""The key goes to the address that is set, whatever a server redirects to."""

import http
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tapewatch.feeds.plans.table import plan_for
from tapewatch.feeds.probe import probe_stream
from tests.support.scripted_stream import KEY, ScriptedStream, serving
from tests.support.streaming_client import running


@contextmanager
def redirecting(target: str) -> Iterator[str]:
    """The address of a server that redirects every handshake to `target`."""

    class Redirect(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline().strip():
                pass
            status = http.HTTPStatus.TEMPORARY_REDIRECT
            head = f"HTTP/1.1 {status.value} {status.phrase}\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n"
            self.wfile.write(head.encode())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Redirect) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"ws://127.0.0.1:{server.server_address[1]}/stocks"
        server.shutdown()


def test_a_stream_sends_no_key_to_another_server() -> None:
    with serving(ScriptedStream()) as other, redirecting(other.url) as url, running(url, ["T.*"]) as run:
        run.until(lambda: run.client.stats.failures >= 2)
        assert "does not get the key" in run.client.stats.last_cause
    assert other.opened_at, "the redirect was followed"
    assert not other.keys


def test_a_probe_sends_no_key_to_another_server() -> None:
    with serving(ScriptedStream()) as other, redirecting(other.url) as url:
        answer = probe_stream(plan_for("stocks", "advanced"), url, KEY, "AAPL")
    assert not answer.is_ok
    assert "does not get the key" in answer.detail
    assert not other.keys
