"""Which proxy leads to a host, decided once and without ever showing its password."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from failsafe.addresses import is_loopback
from failsafe.errors import ConfigError


class Route(NamedTuple):
    """
    How a server is reached.

    Attributes:
        proxy: The proxy's URL, which may hold a password; None: straight.
        setting: What names the proxy: ``proxy`` of the settings, or a variable; "" without one.
        bypass: What keeps the request from the proxy that *setting* names: ``loopback``, or the variable with the
            exceptions.
    """

    proxy: str | None
    setting: str = ""
    bypass: str = ""


def choose_proxy(url: str, proxy: str | None, environ: Mapping[str, str]) -> str | None:
    """The proxy to reach *url* through, with its scheme, or None to go straight; see :func:`route`."""
    return route(url, proxy, environ).proxy


def route(url: str, proxy: str | None, environ: Mapping[str, str]) -> Route:
    """
    How *url* is reached, and what says so.

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
        return Route(_checked("proxy", proxy), "proxy")
    target = urlsplit(url)
    variable, value = _of_the_environment(target.scheme, environ)
    if not value:
        return Route(None)
    if is_loopback(target.hostname or ""):
        return Route(None, variable, "loopback")
    exceptions, hosts = _variable("no_proxy", environ)
    if _bypassed(target, hosts):
        return Route(None, variable, exceptions)
    return Route(_checked(variable, value), variable)


def _of_the_environment(scheme: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """The variable that names a proxy for *scheme*, and its value; twice "" if none does."""
    for name in (f"{scheme}_proxy", "all_proxy"):
        variable, value = _variable(name, environ)
        # A web server under CGI sets HTTP_PROXY from a header "Proxy:" (https://httpoxy.org).
        if value and not (variable == "HTTP_PROXY" and "REQUEST_METHOD" in environ):
            return variable, value
    return "", ""


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
