"""Starting and stopping: nothing is left behind, whatever is in progress."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from failsafe.clock import SYSTEM_CLOCK
from failsafe.errors import ConfigError
from failsafe.sim import BEHAVIOURS, SUMMARIES, Behaviour, FakeProvider, server
from tests.sim.sim_client import ask, connected, read_answer, request_bytes


def threads_of_sim() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("failsafe-sim")]


def open_files() -> int:
    """How many files and sockets this process has open; 0 where the system does not tell."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_stop_ends_every_behaviour_in_the_middle(name: str) -> None:
    open_before = open_files()
    provider = FakeProvider("openai", behaviour=BEHAVIOURS[name]).start()
    clients = []
    for _ in range(0 if name == "refuse" else 3):
        sock = socket.create_connection(("127.0.0.1", provider.port), timeout=2)
        sock.sendall(request_bytes(provider, stream=name.startswith("stream-")))
        clients.append(sock)
    assert provider.wait_for_connections(len(clients))
    began = SYSTEM_CLOCK.monotonic()
    provider.stop()
    took = SYSTEM_CLOCK.monotonic() - began
    for sock in clients:
        sock.close()
    assert took < 1
    assert threads_of_sim() == []
    assert provider.open_connections == 0
    assert open_files() == open_before


def test_stop_wakes_a_thread_that_writes_to_a_client_which_does_not_read() -> None:
    provider = FakeProvider("openai", behaviour=BEHAVIOURS["huge-body"]).start()
    with connected(provider) as sock:
        sock.sendall(request_bytes(provider))
        sock.recv(1)
        provider.stop()
    assert threads_of_sim() == []


def test_stop_wakes_idle_connections() -> None:
    provider = FakeProvider("openai").start()
    with connected(provider) as sock:
        sock.sendall(request_bytes(provider))
        read_answer(sock)
        provider.stop()
        assert sock.recv(1) == b""


def test_stop_may_come_twice_and_from_several_threads() -> None:
    provider = FakeProvider("openai").start()
    threads = [threading.Thread(target=provider.stop) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    provider.stop()
    assert threads_of_sim() == []


def test_a_stopped_provider_refuses_and_starts_again_on_its_port() -> None:
    provider = FakeProvider("openai")
    with pytest.raises(ConfigError, match="no port yet"):
        _ = provider.base_url
    with provider:
        port = provider.port
        assert ask(provider).status_code == 200
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)
    with provider:
        assert provider.port == port
        assert ask(provider).status_code == 200


def test_starting_twice_is_refused() -> None:
    with FakeProvider("openai") as provider, pytest.raises(ConfigError, match="running already"):
        provider.start()


def test_a_taken_port_is_an_error_that_leaves_nothing_open() -> None:
    with FakeProvider("openai") as first, pytest.raises(OSError, match="in use"):
        FakeProvider("openai", port=first.port).start()


def test_behaviours_may_change_under_load() -> None:
    """The port opens and closes while clients come and go; afterwards all is well."""
    done = threading.Event()

    def client() -> None:
        while not done.is_set():
            try:
                with socket.create_connection(("127.0.0.1", provider.port), timeout=2) as sock:
                    sock.sendall(request_bytes(provider))
                    sock.recv(100)
            except OSError:
                continue

    with FakeProvider("openai") as provider:
        clients = [threading.Thread(target=client) for _ in range(4)]
        for thread in clients:
            thread.start()
        for name in ["refuse", "healthy", "reset", "refuse", "hang", "healthy"] * 5:
            provider.behave(BEHAVIOURS[name])
        provider.behave(Behaviour())
        done.set()
        for thread in clients:
            thread.join(5)
        assert ask(provider).status_code == 200


def test_the_repr_says_who_and_where_without_the_key() -> None:
    provider = FakeProvider("openai")
    assert repr(provider) == "<FakeProvider openai [openai, openai] stopped>"
    with provider:
        assert f"127.0.0.1:{provider.port}" in repr(provider)
        assert provider.key not in repr(provider)


@pytest.mark.parametrize(
    ("arguments", "vendor", "dialect"),
    [
        ({"name": "openai"}, "openai", "openai"),
        ({"name": "anthropic"}, "anthropic", "anthropic"),
        ({"name": "groq"}, "groq", "openai"),
        ({"name": "mine"}, "generic", "openai"),
        ({"name": "mine", "dialect": "gemini"}, "gemini", "gemini"),
        ({"name": "anthropic", "dialect": "openai"}, "generic", "openai"),
        ({"name": "mine", "vendor": "azure"}, "azure", "openai"),
    ],
)
def test_vendor_and_dialect_follow_from_the_name(arguments: dict[str, str], vendor: str, dialect: str) -> None:
    provider = FakeProvider(**arguments)  # type: ignore[arg-type]
    assert (provider.vendor, provider.dialect) == (vendor, dialect)


@pytest.mark.parametrize("arguments", [{"vendor": "nobody"}, {"dialect": "smtp"}, {"port": 70_000}, {"name": ""}])
def test_a_bad_argument_is_named(arguments: dict[str, object]) -> None:
    (name,) = arguments
    with pytest.raises(ConfigError, match=f"^{name} = "):
        FakeProvider(**arguments)  # type: ignore[arg-type]


def test_connections_beyond_the_limit_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_MOST_CONNECTIONS", 1)
    with FakeProvider("openai") as provider, connected(provider) as first:
        first.sendall(request_bytes(provider))
        read_answer(first)
        with connected(provider) as second:
            assert second.recv(1) == b""
        first.sendall(request_bytes(provider))
        read_answer(first)


def test_without_a_file_descriptor_left_the_client_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    accept, failures = socket.socket.accept, [OSError(24, "Too many open files")] * 2

    def scarce(self: socket.socket) -> object:
        if failures:
            raise failures.pop()
        return accept(self)

    monkeypatch.setattr(socket.socket, "accept", scarce)
    with FakeProvider("openai") as provider:
        assert ask(provider).status_code == 200
    assert not failures


def test_the_guide_lists_every_behaviour() -> None:
    guide = (Path(__file__).resolve().parents[2] / "docs" / "sim.md").read_text(encoding="utf-8")
    for name, summary in SUMMARIES.items():
        assert f"| `{name}` | {summary} |" in guide
