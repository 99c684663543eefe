"""Streamlit's settings, and the web server."""

import sys
from pathlib import Path
from typing import Any, Final

import uvicorn
from streamlit import config

from dashboard.app import SCRIPT, application
from tapewatch.settings import Settings
from tapewatch.web.certificates import certificate_of

#: A chart's messages to the browser, and a widget's to the server.
_LARGEST_MESSAGE: Final = 200 * 1024 * 1024
_STOP_S: Final = 3
#: How long one thread may keep the interpreter: a page that is computed would else delay each of a chart's many short steps by 5 ms.
SWITCH_S: Final = 0.0005
#: What differs from Streamlit's defaults: nothing is sent to others, no error shows code, nothing is uploaded.
_OPTIONS: Final[dict[str, Any]] = {
    "browser.gatherUsageStats": False,
    "client.showErrorDetails": "none",
    "client.toolbarMode": "minimal",
    "global.developmentMode": False,
    # A full collection after each run of a script would hold up all threads for 0.2 s.
    "runner.postScriptGC": False,
    "server.fileWatcherType": "none",
    "server.headless": True,
    "server.runOnSave": False,
    "server.maxUploadSize": 1,
    "server.enableAgentApi": False,
    "server.enableCORS": True,
    "server.enableXsrfProtection": True,
}


def serve(settings: Settings, script: Path = SCRIPT) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        CertificateError: the given certificate cannot be used.
        DatabaseError: the operational database cannot be opened.
    """
    names = (settings.dashboard_address, *settings.allowed_hosts)
    certificate = certificate_of(settings.tls, settings.tls_certificate, settings.tls_key, settings.home, names)
    app = application(settings, script)
    sys.setswitchinterval(SWITCH_S)
    options = _OPTIONS | {"server.address": settings.dashboard_address, "server.port": settings.port_dashboard}
    config.get_config_options(force_reparse=True, options_from_flags=options)
    uvicorn.run(
        app,
        host=settings.dashboard_address,
        port=settings.port_dashboard,
        ssl_certfile=str(certificate.chain) if certificate else None,
        ssl_keyfile=str(certificate.key) if certificate else None,
        ws="websockets-sansio",
        ws_max_size=_LARGEST_MESSAGE,
        log_level="warning",
        access_log=False,
        server_header=False,
        # A stream of events has no end of its own.
        timeout_graceful_shutdown=_STOP_S,
    )
