"""What is wrong with this machine's Python and limits. Pure functions: facts in, findings out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import msgspec

from failsafe.addresses import is_loopback, parse
from failsafe.config import ProviderConfig
from failsafe.diagnosis.finding import Finding, error, note, warning

OURS = "failsafe-llm"

_WHAT_IF_OLDER = {
    "requests": ("2.32.4", "it sends the passwords of ~/.netrc to hosts they are not for (CVE-2024-47081)"),
    "urllib3": ("2.6.3", "a small compressed answer can fill the memory (CVE-2025-66418, CVE-2025-66471)"),
}
"""From which version a library is good enough, and what is wrong with older ones."""

_EXTRAS_OF_USE = {"keyring": "keyring", "serve": "waitress"}
_GATEWAY_PORT = 8080
_SPARE_FILES = 64


class MachineFacts(msgspec.Struct, frozen=True, kw_only=True):
    """
    What this Python and this machine are like.

    Attributes:
        python: Version of Python.
        platform: The system.
        openssl: What ``ssl`` is made with, as it calls itself.
        openssl_version: Its version, (0,) where it is not OpenSSL's.
        versions: Installed versions of failsafe and of what it needs, by distribution; those missing are left out.
        owners: The distributions that have installed a package ``failsafe``.
        copies: The folders on Python's path that hold a package ``failsafe``, the one in use first.
        modules: Extras' modules, each with whether it is installed.
        open_files: How many files and sockets this process may have open; None: not known.
        netrc: Hosts of which ``.netrc`` holds a password; ``default`` is any.
        gateway_port: Whether something that is no gateway of failsafe's listens at the gateway's usual port.
    """

    python: str = ""
    platform: str = ""
    openssl: str = ""
    openssl_version: tuple[int, ...] = (0,)
    versions: Mapping[str, str] = {}
    owners: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()
    modules: Mapping[str, bool] = {}
    open_files: int | None = None
    netrc: tuple[str, ...] = ()
    gateway_port: bool = False


def judge(facts: MachineFacts, providers: tuple[ProviderConfig, ...], *, uses: frozenset[str]) -> Iterator[Finding]:
    """
    What is wrong with this machine.

    Args:
        facts: What it is like.
        providers: The providers in use.
        uses: Extras that the settings need.
    """
    yield from _packages(facts)
    yield from _libraries(facts)
    yield from _missing_extras(facts, uses)
    yield from _limits(facts, providers)
    yield from _netrc(facts, providers)
    if facts.gateway_port and not any(_is_at_gateway_port(provider) for provider in providers):
        yield note(
            "gateway-port", "environment", f"another program listens at 127.0.0.1:{_GATEWAY_PORT}",
            "failsafe serve would take that port by itself, and cannot", "$ failsafe serve --port 8081",
        )  # fmt: skip


def _is_at_gateway_port(provider: ProviderConfig) -> bool:
    address = parse("base_url", provider.base_url)
    return address.port == _GATEWAY_PORT and is_loopback(address.host)


def _packages(facts: MachineFacts) -> Iterator[Finding]:
    foreign = [name for name in facts.owners if _plain(name) != OURS]
    if foreign:
        yield error(
            "other-package", "environment", f"{' and '.join(foreign)} is installed, which brings a package of the same "
            "name: import failsafe may load either",
            f"both write into the folder failsafe/, and files of one are mixed with the other's; {OURS} is this one",
            f"$ pip uninstall {' '.join(foreign)}",
            f"$ pip install --force-reinstall --no-deps {OURS}",
        )  # fmt: skip
    if len(facts.copies) > 1:
        yield warning(
            "several-copies", "environment", f"there are {len(facts.copies)} copies of failsafe on Python's path; "
            f"{facts.copies[0]} is used",
            f"which one a program loads depends on the folder it is started in; the others: "
            f"{', '.join(facts.copies[1:])}",
            f"$ pip uninstall {OURS}", f"then install it once: $ pip install {OURS}",
        )  # fmt: skip


def _libraries(facts: MachineFacts) -> Iterator[Finding]:
    for name, (least, why) in _WHAT_IF_OLDER.items():
        found = facts.versions.get(name)
        if found is not None and version(found) < version(least):
            yield warning(
                "old-library", "environment", f"{name} {found} is installed; {least} or newer is needed", why,
                f"$ pip install --upgrade {name}",
            )  # fmt: skip
    if "LibreSSL" in facts.openssl or facts.openssl_version < (1, 1, 1):
        yield warning(
            "old-openssl", "environment", f"this Python is made with {facts.openssl}",
            "servers that speak TLS 1.3 alone, and newer certificates, are refused by it",
            "use a Python that is made with OpenSSL 3, such as python.org's",
        )  # fmt: skip
    elif (3, 0, 0) <= facts.openssl_version < (3, 0, 7):
        yield warning(
            "old-openssl", "environment", f"this Python is made with {facts.openssl}",
            "a certificate can make it crash (CVE-2022-3602, CVE-2022-3786)", "update OpenSSL to 3.0.7 or newer",
        )  # fmt: skip


def _missing_extras(facts: MachineFacts, uses: frozenset[str]) -> Iterator[Finding]:
    for extra in sorted(uses):
        module = _EXTRAS_OF_USE.get(extra, extra)
        if not facts.modules.get(module, True):
            yield error(
                "extra-missing", "environment", f"{module} is not installed, and the settings need it", "",
                f"$ pip install '{OURS}[{extra}]'",
            )  # fmt: skip


def _limits(facts: MachineFacts, providers: tuple[ProviderConfig, ...]) -> Iterator[Finding]:
    needed = _SPARE_FILES + sum(provider.pool_size for provider in providers)
    if facts.open_files is not None and facts.open_files < needed:
        yield warning(
            "open-files", "environment", f"this shell lets a program open {facts.open_files} files and sockets; "
            f"{needed} may be needed",
            f"{len(providers)} providers keep up to their pool_size of connections each; beyond the limit calls fail "
            'with "Too many open files"',
            "$ ulimit -n 4096", "or keep fewer connections: pool_size in [providers.NAME]",
        )  # fmt: skip


def _netrc(facts: MachineFacts, providers: tuple[ProviderConfig, ...]) -> Iterator[Finding]:
    hosts = {parse("base_url", provider.base_url).host for provider in providers}
    meant = sorted(hosts & set(facts.netrc)) or (["default"] if "default" in facts.netrc and hosts else [])
    if meant:
        which = "for every host (its default entry)" if meant == ["default"] else f"for {', '.join(meant)}"
        yield note(
            "netrc", "environment", f".netrc holds a password {which}",
            "failsafe does not read it; but a requests session of your own replaces the Authorization header by it, "
            "so that the provider answers 401, also for what the drop-in does not take over",
            "take the entry out of .netrc, or set session.trust_env = False",
        )  # fmt: skip


def version(text: str) -> tuple[int, ...]:
    """The numbers at the beginning of a version, to compare with; pre-releases count as the release."""
    found = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
