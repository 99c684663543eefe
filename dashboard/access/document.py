"""Streamlit's page, with our scripts beside it: the theme, and the way to the login once the session has ended."""

import base64
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import streamlit

_INDEX: Final = Path(streamlit.__file__).parent / "static" / "index.html"
_FIRST: Final = '<head>\n    <script src="/access/theme.js"></script>'
_OURS: Final = '<script src="/access/session.js" defer></script>\n  </head>'
#: Streamlit's offers to programs, which are not served here.
_OFFERS: Final = re.compile(r"<link rel=\"service-desc\".*?/>|<noscript>.*?</noscript>|<!--.*?-->", re.DOTALL)
_INLINE: Final = re.compile(r"<script>(.*?)</script>", re.DOTALL)


@dataclass(frozen=True)
class Document:
    """The page, and the hashes of its inline scripts for the policy."""

    html: str
    script_hashes: tuple[str, ...]

    @classmethod
    def of_streamlit(cls) -> "Document":
        """The page of the installed Streamlit."""
        page = _OFFERS.sub("", _INDEX.read_text(encoding="utf-8"))
        page = page.replace("<title>Streamlit</title>", "<title>Tapewatch</title>").replace("</head>", _OURS, 1)
        page = page.replace("<head>", _FIRST, 1)
        page = page.replace("<body>", "<body>\n    <noscript>The dashboard needs JavaScript.</noscript>", 1)
        digests = (hashlib.sha256(script.encode()).digest() for script in _INLINE.findall(page))
        return cls(page.strip(), tuple(base64.b64encode(digest).decode() for digest in digests))
