"""supervisord for folders of any name: `python -m orchestration.processes.supervisord`.

It stops when its parent process ends, even by SIGKILL.
"""

import ctypes
import functools
import signal
import sys

from supervisor import options
from supervisor.supervisord import main

_PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    # Without inline comments: a folder may be named `tape #1`.
    options.UnhosedConfigParser = functools.partial(options.UnhosedConfigParser, inline_comment_prefixes=None)
    main()
