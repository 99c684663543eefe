"""A server with the vendor's REST API over a synthetic market or recorded flat files. Imports no client of that API."""

DEFAULT_PORT = 8900
DEFAULT_SEED = 7
LOOPBACK = "127.0.0.1"
