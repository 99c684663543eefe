"""Security headers: what a browser may load and show on our pages."""

from typing import Final

from starlette.datastructures import MutableHeaders

_COMMON: Final = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}
#: Pages of the login: no script but our own file, no picture but our own or one within the page.
LOGIN_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
#: A year, once a browser has come over HTTPS with a certificate that it trusts.
_HSTS: Final = "max-age=31536000"


def dashboard_policy(script_hashes: tuple[str, ...] = ()) -> str:
    """The policy of Streamlit's pages: everything from here. Its charts compile expressions, its widgets set styles."""
    hashes = "".join(f" 'sha256-{digest}'" for digest in script_hashes)
    return (
        f"default-src 'self'; script-src 'self' 'unsafe-eval' 'wasm-unsafe-eval' blob:{hashes}; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; media-src 'self' data: blob:; "
        "connect-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; frame-src 'self'; frame-ancestors 'none'; "
        "base-uri 'self'; form-action 'self'"
    )


def secure(headers: MutableHeaders, policy: str, *, is_https: bool) -> None:
    """Add what is not there yet."""
    for name, value in _COMMON.items():
        headers[name] = value
    headers.setdefault("content-security-policy", policy)
    if is_https:
        headers.setdefault("strict-transport-security", _HSTS)
