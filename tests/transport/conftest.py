"""Fixtures of the transport's tests."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import trustme

from failsafe.transport.requests_transport import RequestsTransport


@pytest.fixture
def connect() -> Iterator[Callable[..., RequestsTransport]]:
    """Makes transports that see no environment, and closes them."""
    with ExitStack() as stack:

        def make(url: str, **settings: Any) -> RequestsTransport:
            transport = RequestsTransport(url, **{"environ": {}, **settings})
            stack.callback(transport.close)
            return transport

        yield make


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """A certificate authority that only these tests trust."""
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_bundle(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The file with that authority's certificate."""
    path: Path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture(scope="session")
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    """The settings of a server that is who it says."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context
