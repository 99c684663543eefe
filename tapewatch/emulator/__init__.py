"""A server with the vendor's REST API and WebSocket streams, over a synthetic market or recorded flat files.

It imports no client of that API.
"""

DEFAULT_PORT = 8900
DEFAULT_SEED = 7
DEFAULT_SPEED = "1"
LOOPBACK = "127.0.0.1"
