"""How servers are reached: this machine's directly, others through the environment's proxy; and whose certificates are trusted."""

import os
import urllib.request
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
#: Either names the file of trusted authorities; a library reads only one of them.
_AUTHORITIES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")


class NetworkError(RuntimeError):
    """A variable of the environment that concerns the network cannot be used; the message names it and the way out."""


def is_loopback(host: str) -> bool:
    """Whether a host name or IP address is this machine's loopback."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def proxy_of(url: str) -> str | None:
    """The proxy to reach `url` through, by HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY; None to reach it directly.

    Raises:
        NetworkError: it is not a proxy of HTTP.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or is_loopback(host) or urllib.request.proxy_bypass(host):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if urlsplit(proxy).scheme not in ("http", "https") or not urlsplit(proxy).hostname:
        raise NetworkError(
            f"the proxy {proxy} for {host} is not one of HTTP: set {parts.scheme.upper()}_PROXY to http://host:port, "
            f"or add {host} to NO_PROXY"
        )
    return proxy


def authorities() -> str | None:
    """The file of trusted certificate authorities that the environment names; None for the usual ones.

    Raises:
        NetworkError: there is no such file.
    """
    for variable in _AUTHORITIES:
        if file := os.environ.get(variable):
            if not Path(file).exists():
                raise NetworkError(
                    f"{variable} is {file!r}: there is no such file; name one with certificates, or unset it"
                )
            return file
    return None


def prepare_environment() -> None:
    """Set the variables by which the libraries in this process and its children do the same.

    NO_PROXY names loopback if there is a proxy, and SSL_CERT_FILE and REQUESTS_CA_BUNDLE are set both or neither.
    """
    environment = os.environ
    if urllib.request.getproxies():
        given = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
        names = dict.fromkeys([*filter(None, (name.strip() for name in given.split(","))), *_LOOPBACK_NAMES])
        environment["NO_PROXY"] = environment["no_proxy"] = "*" if "*" in names else ",".join(names)
    file = next((environment[variable] for variable in _AUTHORITIES if environment.get(variable)), None)
    if file is not None:
        for variable in _AUTHORITIES:
            environment[variable] = environment.get(variable) or file
