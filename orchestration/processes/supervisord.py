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
    # Values stand as they are written, without comments and expansions: a folder may be named `tape #1, 100%`.
    options.UnhosedConfigParser = functools.partial(options.UnhosedConfigParser, inline_comment_prefixes=None)
    options.expand = lambda value, *_: value
    main()
