"""A request to stop, from threads and signal handlers, to any number of waiting threads."""

import subprocess
import sys
import threading
import time

import pytest

from tapewatch.streaming.stop import Stop

#: Repeats a wait with the signal at its first instruction, its second, and so on, until the wait ends before the signal.
_STRIKE_EVERYWHERE = """
import signal, sys
from tapewatch.streaming.stop import Stop

def strike_at(step):
    stop, passed = Stop(), 0
    signal.signal(signal.SIGTERM, lambda *_: stop.set())

    def trace(frame, event, _):
        nonlocal passed
        if frame.f_code is trace.__code__:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            if passed == step:
                signal.raise_signal(signal.SIGTERM)
            passed += 1
        return trace

    sys.settrace(trace)
    stop.wait(0.2)
    sys.settrace(None)
    assert stop.wait(0) == stop.is_set() == (passed > step), step
    return passed > step

step = 0
while strike_at(step):
    step += 1
print(step)
"""


@pytest.mark.slow
def test_a_signal_handler_may_set_it_at_any_instruction() -> None:
    command = [sys.executable, "-c", _STRIKE_EVERYWHERE]
    struck = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert struck.returncode == 0, struck.stderr
    assert int(struck.stdout) > 10


def test_every_waiting_thread_is_woken() -> None:
    stop, woken = Stop(), []
    waiting = [threading.Thread(target=lambda: woken.append(stop.wait(120))) for _ in range(5)]
    for thread in waiting:
        thread.start()
    stop.set()
    stop.set()
    for thread in waiting:
        thread.join(120)
    assert woken == [True] * 5
    assert stop.is_set()
    assert stop.wait()


def test_a_wait_without_a_request_ends_in_time() -> None:
    stop = Stop()
    began = time.monotonic()
    assert not stop.wait(0.05)
    assert time.monotonic() - began >= 0.05
    assert not stop.is_set()
