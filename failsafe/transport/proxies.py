"""Which proxy leads to a host, decided once and without ever showing its password."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

from failsafe.addresses import is_loopback
from failsafe.errors import ConfigError


def choose_proxy(url: str, proxy: str | None, environ: Mapping[str, str]) -> str | None:
    """
    The proxy to reach *url* through, with its scheme, or None to go straight.

    Args:
        url: The server's base URL.
        proxy: What the configuration names; it wins over the environment, ``NO_PROXY`` included.
        environ: Asked for ``https_proxy`` (or ``http_proxy``), ``all_proxy`` and ``no_proxy``, lower case
            before upper case, as curl and requests do. What is on this machine is reached straight: a
            proxy elsewhere would read a key and a prompt that were never to leave it.

    Raises:
        ConfigError: It is not an ``http`` or ``https`` proxy. The message names the setting, never its
            value: that may hold a password.
    """
    if proxy is not None:
        return _checked("proxy", proxy)
    target = urlsplit(url)
    if is_loopback(target.hostname or "") or _bypassed(target, _variable("no_proxy", environ)[1]):
        return None
    for name in (f"{target.scheme}_proxy", "all_proxy"):
        variable, value = _variable(name, environ)
        # A web server under CGI sets HTTP_PROXY from a header "Proxy:" (https://httpoxy.org).
        if value and not (variable == "HTTP_PROXY" and "REQUEST_METHOD" in environ):
            return _checked(variable, value)
    return None


def _variable(name: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """The variable of that name that is set, and its value."""
    for variable in (name, name.upper()):
        if environ.get(variable):
            return variable, environ[variable]
    return name, ""


def _checked(setting: str, proxy: str) -> str:
    full = proxy if "://" in proxy else f"http://{proxy}"
    scheme = full.partition("://")[0].lower()
    if scheme not in ("http", "https"):
        raise ConfigError(
            f"{setting} names a {scheme} proxy, which cannot be held to a deadline; "
            "an http:// or https:// proxy is needed, or no_proxy for this host"
        )
    if not _has_address(full):
        raise ConfigError(f"{setting} is not the URL of a proxy; http://HOST:PORT is needed")
    return full


def _has_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _bypassed(target: SplitResult, no_proxy: str) -> bool:
    host = target.hostname or ""
    return any(_matches(host, target.port, entry) for entry in no_proxy.replace(" ", "").split(",") if entry)


def _matches(host: str, port: int | None, entry: str) -> bool:
    """Whether one entry of ``no_proxy`` covers a host: ``*``, a network, an address, a domain, ``host:port``."""
    if entry == "*":
        return True
    domain = entry.lstrip(".").lower()
    names = (host, f"{host}:{port}")
    if domain in names:
        return True
    network, address = _network(entry), _network(host)
    if address is not None:  # the end of an address is no domain
        return network is not None and network.version == address.version and address[0] in network
    return any(name.endswith(f".{domain}") for name in names)


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """A network or a single address, or None for a name."""
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
