"""`python -m tapewatch.emulator`: see `server`."""

import sys

from tapewatch.emulator.server import run

sys.exit(run())
