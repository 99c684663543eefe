"""supervisord that stops when its parent process ends, even by SIGKILL: `python -m orchestration.processes.supervisord`."""

import ctypes
import signal
import sys

from supervisor.supervisord import main

_PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    main()
