"""This machine: packages of the same name, copies, versions, limits, ``.netrc``, the gateway's port."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from failsafe.config import ProviderConfig
from failsafe.diagnosis import machine, machine_look
from failsafe.diagnosis.finding import Finding, Level
from failsafe.diagnosis.machine import MachineFacts
from failsafe.sim import FakeProvider
from tests.diagnosis.looking import examined, only, settings_of
from tests.transport.raw_server import RawServer, answer

GOOD: dict[str, Any] = {
    "versions": {"requests": "2.34.2", "urllib3": "2.8.0"},
    "owners": ("failsafe-llm",),
    "copies": ("/here",),
    "openssl": "OpenSSL 3.0.19 27 Jan 2026",
    "openssl_version": (3, 0, 19),
    "open_files": 1024,
}
OPENAI = ProviderConfig(name="openai", api_key="sk-proj-0123456789ab")


def judged(*providers: ProviderConfig, uses: frozenset[str] = frozenset(), **facts: Any) -> list[Finding]:
    return list(machine.judge(MachineFacts(**{**GOOD, **facts}), providers or (OPENAI,), uses=uses))


def test_a_machine_like_this_one_is_right() -> None:
    assert judged() == []
    facts = machine_look.look({})
    assert facts.versions["requests"] == importlib.metadata.version("requests")
    assert facts.python.startswith("3.")
    assert facts.openssl_version[0] >= 3 or "LibreSSL" in facts.openssl
    assert facts.modules["click"] is True


def test_the_other_package_of_the_same_name_is_an_error_with_the_commands() -> None:
    (finding,) = judged(owners=("failsafe-llm", "pyfailsafe"))
    assert (finding.level, finding.code) == (Level.ERROR, "other-package")
    assert finding.found.startswith("pyfailsafe is installed, which brings a package of the same name")
    assert finding.do == (
        "$ pip uninstall pyfailsafe",
        "$ pip install --force-reinstall --no-deps failsafe-llm",
    )


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on Python's path for distributions of a test's own."""
    monkeypatch.syspath_prepend(str(tmp_path))
    machine_look.owners.cache_clear()
    yield tmp_path
    machine_look.owners.cache_clear()


@pytest.mark.parametrize("told_by", ["RECORD", "top_level.txt"])
def test_the_other_package_is_found_where_it_is_installed(installed: Path, told_by: str) -> None:
    folder = installed / "pyfailsafe-0.6.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: pyfailsafe\nVersion: 0.6.0\n")
    text = "failsafe/__init__.py,,\n" if told_by == "RECORD" else "failsafe\n"
    (folder / told_by).write_text(text)
    assert "pyfailsafe" in machine_look.owners()


def test_a_second_copy_is_found_and_told(installed: Path) -> None:
    other = installed / "failsafe"
    other.mkdir()
    (other / "__init__.py").touch()
    used, *rest = machine_look.copies()
    assert Path(used).joinpath("failsafe", "diagnosis").is_dir()
    assert str(installed.resolve()) in rest
    (finding,) = judged(copies=(used, *rest))
    assert (finding.level, finding.code) == (Level.WARNING, "several-copies")
    assert f"{used} is used" in finding.found
    assert str(installed.resolve()) in finding.why


def test_the_current_folder_counts_as_it_does_for_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    monkeypatch.chdir(tmp_path)
    assert len(machine_look.copies()) >= 1


@pytest.mark.parametrize(
    ("versions", "said"),
    [
        ({"requests": "2.31.0"}, "requests 2.31.0 is installed; 2.32.4 or newer is needed"),
        ({"requests": "2.32.3"}, "requests 2.32.3"),
        ({"urllib3": "1.26.18"}, "urllib3 1.26.18 is installed; 2.6.3 or newer is needed"),
        ({"requests": "2.32.4", "urllib3": "2.6.3rc1"}, None),
        ({}, None),
        ({"requests": "unknown"}, "requests unknown"),
    ],
)
def test_libraries_with_known_faults_are_told(versions: dict[str, str], said: str | None) -> None:
    found = judged(versions=versions)
    assert [each.code for each in found] == (["old-library"] if said else [])
    assert said is None or found[0].found.startswith(said)


@pytest.mark.parametrize(
    ("openssl", "numbers", "bad"),
    [
        ("OpenSSL 3.0.19 27 Jan 2026", (3, 0, 19), False),
        ("OpenSSL 3.0.5 5 Jul 2022", (3, 0, 5), True),
        ("OpenSSL 1.1.1w  11 Sep 2023", (1, 1, 1), False),
        ("OpenSSL 1.0.2u  20 Dec 2019", (1, 0, 2), True),
        ("LibreSSL 2.8.3", (2, 8, 3), True),
    ],
)
def test_an_openssl_with_known_faults_is_told(openssl: str, numbers: tuple[int, ...], bad: bool) -> None:
    found = judged(openssl=openssl, openssl_version=numbers)
    assert [each.code for each in found] == (["old-openssl"] if bad else [])
    assert machine.version(openssl.partition(" ")[2]) == numbers


def test_an_extra_that_the_settings_need_and_that_is_missing_is_told() -> None:
    missing = {"modules": {"keyring": False, "waitress": True}}
    (finding,) = judged(uses=frozenset({"keyring", "serve"}), **missing)
    assert (finding.level, finding.code) == (Level.ERROR, "extra-missing")
    assert finding.do == ("$ pip install 'failsafe-llm[keyring]'",)


def test_a_token_for_the_gateway_asks_for_the_gateways_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeProvider("openai") as provider:
        report = examined(
            tmp_path, {"openai": settings_of(provider)}, environ={"FAILSAFE_SERVE_TOKEN": "t"}, offline=True
        )
    assert report.machine.modules["waitress"] is True


@pytest.mark.parametrize(("limit", "told"), [(64, True), (127, True), (128, False), (None, False)])
def test_too_low_a_limit_on_open_files_is_told(limit: int | None, told: bool) -> None:
    found = judged(open_files=limit)
    assert [each.code for each in found] == (["open-files"] if told else [])
    assert not told or f"open {limit} files and sockets; 128 may be needed" in found[0].found


def test_the_limit_of_this_process_is_looked_up() -> None:
    limit = machine_look.look({}, connect=False).open_files
    assert limit is None or limit > 0


@pytest.mark.parametrize(
    ("text", "hosts", "said"),
    [
        ("machine api.openai.com login x password y\n", ("api.openai.com",), "for api.openai.com"),
        ("default login x password y\n", ("default",), "for every host (its default entry)"),
        ("machine git.test login x password y\n", ("git.test",), None),
        ("nonsense\n", (), None),
    ],
)
def test_a_password_in_netrc_for_a_providers_host_is_noted(
    text: str, hosts: tuple[str, ...], said: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "netrc"
    path.write_text(text)
    path.chmod(0o600)
    assert machine_look.netrc_hosts({"NETRC": str(path)}) == hosts
    found = judged(netrc=hosts)
    assert [each.code for each in found] == (["netrc"] if said else [])
    assert said is None or f".netrc holds a password {said}" in found[0].found
    assert "password y" not in repr(found)


def test_without_netrc_there_is_nothing_to_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert machine_look.netrc_hosts({}) == ()
    (tmp_path / ".netrc").write_text("machine api.openai.com login x password y\n")
    os.chmod(tmp_path / ".netrc", 0o600)  # noqa: PTH101
    assert machine_look.netrc_hosts({}) == ("api.openai.com",)


def test_a_program_at_the_gateways_port_is_noted_unless_it_is_a_gateway_or_a_provider(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def taken(server: RawServer) -> bool:
        monkeypatch.setattr(machine_look, "_GATEWAY_PORT", server.port)
        return machine_look.look({}).gateway_port

    gateway = b'HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"status":"ok","providers":{"ready":1,"all":1}}   '
    with RawServer(answer()) as other:
        assert taken(other)
        assert not machine_look.look({}, connect=False).gateway_port
    with RawServer(answer(gateway)) as ours:
        assert not taken(ours)
    with RawServer(lambda peer: peer.hang()) as silent:
        monkeypatch.setattr(machine_look, "_SOON", 0.1)
        assert taken(silent)
    monkeypatch.setattr(machine_look, "_GATEWAY_PORT", 1)
    assert not machine_look.look({}).gateway_port
    (finding,) = judged(gateway_port=True)
    assert (finding.level, finding.do) == (Level.NOTE, ("$ failsafe serve --port 8081",))
    assert judged(ProviderConfig(name="llamacpp", models=["m"]), gateway_port=True) == []


def test_what_is_found_of_the_machine_is_part_of_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "netrc"
    path.write_text("default login x password y\n")
    with FakeProvider("openai") as provider:
        report = examined(tmp_path, {"openai": settings_of(provider)}, environ={"NETRC": str(path)})
    assert only(report).code == "netrc"
    assert report.exit_code == 0
