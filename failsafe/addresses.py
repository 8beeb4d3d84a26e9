"""
Where requests, and above all keys, may go: checks of base URLs and hosts.

A base URL is read by one strict pattern instead of a lenient parser, so that no two libraries
can disagree about which host it names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from failsafe import checks

_LABELS = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?)*"
_URL = re.compile(
    rf"(?P<scheme>https?)://(?P<host>{_LABELS}|\[[0-9A-Fa-f:.]+\])(?::(?P<port>\d{{1,5}}))?"
    r"(?P<path>(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]*)*)",
    re.IGNORECASE,
)
_HOST_PATTERN = re.compile(rf"(?:\*\.)?{_LABELS}|\[?[0-9A-Fa-f:.]+\]?")


class Address(NamedTuple):
    """A checked base URL in its parts; ``host`` is lower case and bare of brackets, ``path`` has no trailing slash."""

    scheme: str
    host: str
    port: int | None
    path: str

    def __str__(self) -> str:
        """The URL again, in its one normal form."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"


def parse(key: str, value: object) -> Address:
    """
    Read the base URL *value* of the setting *key*.

    Raises:
        ConfigError: It is not an absolute http or https URL, or it holds user information, a
            query or a fragment. What may be a password is not repeated.
    """
    url = checks.text(key, value)
    if "@" in url.partition("://")[2].partition("/")[0] or "\\" in url:
        checks.refuse(key, checks.HIDDEN, "an address without user name, password and backslash is needed")
    if "?" in url or "#" in url:
        checks.refuse(key, checks.HIDDEN, "an address without '?' and '#' is needed; put parameters into query")
    found = _URL.fullmatch(url)
    if found is None:
        checks.refuse(key, url, "an absolute address such as https://api.example.com/v1 is needed")
    host = found["host"].strip("[]").lower()
    if host != found["host"].lower() and not _is_ipv6(host):
        checks.refuse(key, url, "an IPv6 address is needed between the brackets")
    return Address(
        found["scheme"].lower(),
        host,
        _port(key, url, found["port"]),
        _path(key, url, found["path"]),
    )


def _is_ipv6(host: str) -> bool:
    import ipaddress  # slow to import, and few hosts are addresses

    try:
        return bool(ipaddress.IPv6Address(host))
    except ValueError:
        return False


def _port(key: str, url: str, port: str | None) -> int | None:
    if port is not None and not 1 <= int(port) <= 65535:
        checks.refuse(key, url, "a port from 1 to 65535 is needed")
    return None if port is None else int(port)


def _path(key: str, url: str, path: str) -> str:
    if any(part in {".", ".."} for part in path.split("/")):
        checks.refuse(key, url, "a path without '.' and '..' is needed")
    return path.rstrip("/")


def is_loopback(host: str) -> bool:
    """Whether *host* can only be this machine: ``localhost`` or a loopback address."""
    if host == "localhost":
        return True
    import ipaddress

    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def host_matches(host: str, patterns: Iterable[str]) -> bool:
    """Whether *host* is one of *patterns*, or lies below one that begins with ``*.``."""
    return any(
        host == pattern or (pattern.startswith("*.") and host.endswith(pattern[1:]) and len(host) > len(pattern) - 1)
        for pattern in (each.strip("[]").lower() for each in patterns)
    )


def host_patterns(key: str, value: object) -> tuple[str, ...]:
    """Return *value* as a tuple of host names or ``*.suffix`` patterns, or refuse it."""
    patterns = checks.texts(key, value)
    for pattern in patterns:
        if not _HOST_PATTERN.fullmatch(pattern):
            checks.refuse(key, pattern, "a bare host name such as gateway.example.com or *.example.com is needed")
    return tuple(pattern.strip("[]").lower() for pattern in patterns)
