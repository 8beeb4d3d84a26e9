"""Looks at this machine: Python, libraries, copies of failsafe, limits, ``.netrc``. Asks nobody outside of it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import netrc
import os
import platform
import ssl
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

import failsafe
from failsafe.clock import SYSTEM_CLOCK, Clock
from failsafe.deadline import CancelToken, Deadline
from failsafe.diagnosis.machine import OURS, MachineFacts, version
from failsafe.models import Failure
from failsafe.transport.base import Limits
from failsafe.transport.inspection import Inspector
from failsafe.transport.requests_transport import RequestsTransport

_WANTED = (OURS, "requests", "urllib3", "msgspec", "platformdirs", "click", "rich")
_EXTRAS = (
    "anthropic", "click", "flask", "genai_prices", "keyring", "openai", "opentelemetry", "prometheus_client",
    "pyarrow", "rich", "waitress", "PySide6",
)  # fmt: skip
_GATEWAY_PORT = 8080
_SOON = 0.5
"""Seconds that a program on this machine is given to say who it is."""


def look(
    environ: Mapping[str, str], *, connect: bool = True, cancel: CancelToken | None = None, clock: Clock = SYSTEM_CLOCK
) -> MachineFacts:
    """
    What this machine is like. Never raises.

    Args:
        environ: The variables.
        connect: Whether a program on this machine may be connected to.
        cancel: Ends what is under way.
        clock: The source of time.
    """
    return MachineFacts(
        python=platform.python_version(),
        platform=platform.platform(terse=True),
        openssl=ssl.OPENSSL_VERSION,
        openssl_version=version(ssl.OPENSSL_VERSION.partition(" ")[2]),
        versions={**dict(_versions()), OURS: failsafe.__version__},
        owners=owners(),
        copies=copies(),
        modules={name: importlib.util.find_spec(name) is not None for name in _EXTRAS},
        open_files=_open_files(),
        netrc=netrc_hosts(environ),
        gateway_port=connect and _is_taken(_GATEWAY_PORT, cancel, clock),
    )


def _versions() -> Iterator[tuple[str, str]]:
    for name in _WANTED:
        with suppress(importlib.metadata.PackageNotFoundError):
            yield name, importlib.metadata.version(name)


@cache  # the files of all distributions are read
def owners() -> tuple[str, ...]:
    """The distributions that have installed something into a package ``failsafe``."""
    found = []
    for distribution in importlib.metadata.distributions():
        files = distribution.files or ()
        named = (distribution.read_text("top_level.txt") or "").split()
        if "failsafe" in named or any(file.parts[:1] == ("failsafe",) for file in files):
            found.append(distribution.metadata["Name"] or "a distribution without a name")
    return tuple(dict.fromkeys(found))


def copies() -> tuple[str, ...]:
    """The folders on Python's path that hold a package ``failsafe``, the one in use first."""
    used = Path(failsafe.__file__ or "").resolve().parent
    found = [used]
    for entry in sys.path:
        folder = (Path(entry or ".") / "failsafe").resolve()
        if (folder / "__init__.py").is_file():
            found.append(folder)
    return tuple(dict.fromkeys(str(folder.parent) for folder in found))


def _open_files() -> int | None:
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def netrc_hosts(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The hosts of which ``.netrc`` (or the file that ``NETRC`` names) holds a password."""
    named = environ.get("NETRC")
    for path in (named,) if named else ("~/.netrc", "~/_netrc"):
        with suppress(OSError, netrc.NetrcParseError, UnicodeDecodeError, RuntimeError):
            return tuple(netrc.netrc(os.fspath(Path(path).expanduser())).hosts)
    return ()


def _is_taken(port: int, cancel: CancelToken | None, clock: Clock) -> bool:
    """Whether something listens at *port* of this machine that is no gateway of failsafe's."""
    if Inspector(_SOON, cancel=cancel, clock=clock).connect("127.0.0.1", port).problem:
        return False
    transport = RequestsTransport(f"http://127.0.0.1:{port}", pool_size=1, clock=clock, environ={})
    limits = Limits(deadline=Deadline.after(_SOON, clock), connect_timeout=_SOON, max_bytes=65_536, cancel=cancel)
    try:
        answer = transport.send("GET", "/healthz", None, None, limits)
    finally:
        transport.close()
    return isinstance(answer, Failure) or b'"providers"' not in answer.body
