"""
What holds for every test: nothing it did not ask for is logged, and nothing outlives it.

Threads, sockets, environment variables and unexpected log records are compared before and after
each test. The network is loopback only: pytest-socket guards connections, and names other than
loopback's do not resolve.
"""

from __future__ import annotations

import gc
import ipaddress
import logging
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("failsafe", deadline=None)  # the machine may be busy; pytest-timeout bounds a test
settings.load_profile("failsafe")

GRACE = 2.0
"""Seconds that threads and sockets which are just ending are given."""

_OPEN_FILES = Path("/proc/self/fd")
_SETTINGS_OF_THE_MACHINE = re.compile(
    r".*_API_KEY|.*_BASE_URL|.*_API_BASE|FAILSAFE_.*|(HTTPS?|ALL|NO)_PROXY|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|SSL_CERT_.*",
    re.IGNORECASE,
)


class _Warnings(logging.Handler):
    """Keeps what is logged at WARNING and above."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


_warnings = _Warnings()


@pytest.fixture(scope="session", autouse=True)
def _watch_the_logs() -> Iterator[None]:
    loggers = [logging.getLogger("failsafe"), logging.getLogger("failsafe_gui")]
    for logger in loggers:
        logger.addHandler(_warnings)
    yield
    for logger in loggers:
        logger.removeHandler(_warnings)


@pytest.fixture(scope="session", autouse=True)
def _own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No key, proxy, certificate or configuration of the machine reaches a test."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in filter(_SETTINGS_OF_THE_MACHINE.fullmatch, list(os.environ)):
            patch.delenv(name)
        for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
            patch.setenv(name, str(home / name.lower()))
        patch.setenv("FAILSAFE_STORE", "off")  # a test that is about the store says where it is
        yield


@pytest.fixture(scope="session", autouse=True)
def _only_loopback_resolves() -> Iterator[None]:
    """Any other name is answered as a machine without a network does, at once."""
    resolve = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if not _is_local(host):
            raise socket.gaierror(socket.EAI_NONAME, "the tests resolve loopback names only")
        return resolve(host, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", getaddrinfo)
        yield


def _is_local(host: str | bytes | None) -> bool:
    name = host.decode("ascii", "replace") if isinstance(host, bytes) else host
    if not name or name == "localhost":
        return True
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True


@pytest.fixture
def expect_logs(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """``caplog``, in a test whose warnings and errors are meant; so does asking for ``caplog`` itself."""
    return caplog


@pytest.fixture(autouse=True)
def _leave_nothing_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    threads, sockets, environment = set(threading.enumerate()), _open_sockets(), _environment()
    _warnings.records.clear()
    yield
    logged = [] if "caplog" in request.fixturenames else [_describe(record) for record in _warnings.records]
    allowed = tuple(name for mark in request.node.iter_markers("leaves_threads") for name in mark.args)
    found = {
        "unexpected log records": logged,
        "threads left running": _settled(lambda: _new_threads(threads, allowed)),
        "sockets left open": _settled(lambda: sorted(_open_sockets() - sockets)),
        "environment left changed": _differences(environment, _environment()),
    }
    complaints = [f"{what}: {', '.join(names)}" for what, names in found.items() if names]
    if complaints:
        pytest.fail("; ".join(complaints), pytrace=False)


def _settled(look: Callable[[], list[str]]) -> list[str]:
    """What *look* still finds after what is just ending had the time to end."""
    found = look()
    for _ in range(40):
        if not found:
            break
        gc.collect()
        threading.Event().wait(GRACE / 40)
        found = look()
    return found


def _new_threads(before: set[threading.Thread], allowed: tuple[str, ...]) -> list[str]:
    return [
        f"{thread.name} ({'daemon' if thread.daemon else 'not daemon'})"
        for thread in threading.enumerate()
        if thread not in before and not (allowed and thread.name.startswith(allowed))
    ]


def _open_sockets() -> set[str]:
    """The sockets this process holds, as the kernel names them; empty where it does not tell (not Linux)."""
    found: set[str] = set()
    try:
        descriptors = os.listdir(_OPEN_FILES)  # noqa: PTH208 - before every test: the quick way
    except FileNotFoundError:
        return found
    for descriptor in descriptors:
        try:
            target = os.readlink(f"{_OPEN_FILES}/{descriptor}")  # noqa: PTH115
        except FileNotFoundError:  # closed meanwhile, as listdir's own is
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


def _differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def _describe(record: logging.LogRecord) -> str:
    return f"{record.levelname} {record.name}: {record.getMessage()}"
