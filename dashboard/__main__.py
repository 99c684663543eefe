"""Serves the dashboard until SIGTERM: `python -m dashboard`."""

from dashboard.server import serve
from tapewatch.settings import Settings

if __name__ == "__main__":
    serve(Settings())
