"""A server with the vendor's REST API and WebSocket streams, over a synthetic market or recorded flat files.

It imports no client of that API.
"""

from pathlib import Path

from tapewatch.masking import masked

DEFAULT_PORT = 8900
DEFAULT_SEED = 7
DEFAULT_SPEED = "1"
LOOPBACK = "127.0.0.1"


def name_of(seed: int, flat_files: str | None) -> str:
    """What an emulator serves, in words; two that serve the same have the same name."""
    if flat_files is None:
        return f"synthetic market, seed {seed}"
    return f"flat files in {masked(flat_files) if '://' in flat_files else Path(flat_files).absolute()}"
