"""Fixtures of the diagnosis's tests: certificates, and names that lead to this machine."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import trustme

Lead = Callable[[Mapping[str, Sequence[str]]], None]


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """A certificate authority that only these tests trust."""
    return trustme.CA(organization_name="Zscaler Inc.")


@pytest.fixture(scope="session")
def ca_bundle(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The file with that authority's certificate."""
    path: Path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture
def certified() -> Callable[..., ssl.SSLContext]:
    """Makes the settings of a TLS server with a certificate of *authority* for *names*."""

    def make(authority: trustme.CA, *names: str, **details: Any) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*names, **details).configure_cert(context)
        return context

    return make


@pytest.fixture
def lead(monkeypatch: pytest.MonkeyPatch) -> Lead:
    """Lets names lead to addresses of this machine; what is not named resolves as before."""

    def arrange(names: Mapping[str, Sequence[str]]) -> None:
        resolve = socket.getaddrinfo

        def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
            if host not in names:
                return resolve(host, port, *args, **kwargs)
            return [found for address in names[host] for found in resolve(address, port, *args, **kwargs)]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    return arrange


@pytest.fixture
def silent_resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A name server that answers only when the test has ended."""
    ended = threading.Event()

    def getaddrinfo(*_: Any, **__: Any) -> Any:
        ended.wait(10)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield
    ended.set()
