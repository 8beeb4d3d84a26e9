"""The guards of conftest.py catch what they are there to catch."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).with_name("conftest.py")

LITTERING = """
import logging, os, socket, threading
import pytest

held = []

def test_thread():
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, name="left-thread", daemon=True)
    thread.start()
    held.append((thread, stop))

@pytest.mark.leaves_threads("left-")
def test_thread_that_is_meant():
    test_thread()

def test_thread_that_ends_by_itself():
    threading.Thread(target=threading.Event().wait, args=(0.1,)).start()

def test_socket():
    held.append(socket.socket())

def test_socket_that_is_only_forgotten():
    server, client = socket.socketpair()
    client.close()
    server.close()

def test_environment():
    os.environ["LEFT_VARIABLE"] = "1"

def test_log():
    logging.getLogger("failsafe.router").warning("left %s", "record")

def test_log_that_is_meant(expect_logs):
    logging.getLogger("failsafe.router").warning("meant")
    assert expect_logs.messages == ["meant"]

def test_log_of_no_concern():
    logging.getLogger("failsafe.router").info("quiet")
    logging.getLogger("other").warning("foreign")

def test_key_of_the_machine():
    assert not [name for name in os.environ if name.endswith("_API_KEY")]

def test_network():
    with pytest.raises(OSError, match="loopback names only"):
        socket.create_connection(("example.com", 443), timeout=1)

def test_that_comes_last_and_tidies_up():
    for thread, stop in [item for item in held if isinstance(item, tuple)]:
        stop.set()
        thread.join()
    for item in held:
        if not isinstance(item, tuple):
            item.close()
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What pytest says of the littering tests, one after the other."""
    folder = tmp_path_factory.mktemp("littering")
    guards = CONFTEST.read_text(encoding="utf-8").replace("GRACE = 2.0", "GRACE = 0.4")  # litter is waited for in full
    (folder / "conftest.py").write_text(guards, encoding="utf-8")
    (folder / "test_littering.py").write_text(LITTERING, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = leaves_threads\n", encoding="utf-8")
    answer = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:randomly", "-p", "no:cacheprovider", "-rA", "--color=no"],
        check=False,
        cwd=folder,
        env={**os.environ, "STRAY_API_KEY": "k", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=50,
    )
    return answer.stdout


@pytest.mark.parametrize(
    ("test", "complaint"),
    [
        ("test_thread", "threads left running: left-thread (daemon)"),
        ("test_socket", "sockets left open: socket:["),
        ("test_environment", "environment left changed: LEFT_VARIABLE"),
        ("test_log", "unexpected log records: WARNING failsafe.router: left record"),
    ],
)
def test_what_a_test_leaves_behind_is_named(report: str, test: str, complaint: str) -> None:
    assert f"ERROR test_littering.py::{test} - Failed: {complaint}" in report


def test_what_is_meant_or_ends_by_itself_is_no_complaint(report: str) -> None:
    assert report.count("\nERROR test_littering.py::") == 4
    assert "12 passed, 4 errors" in report


def test_numbers_and_loopback_resolve_and_nothing_else() -> None:
    assert socket.getaddrinfo("localhost", 80)
    assert socket.getaddrinfo("192.0.2.1", 80)
    assert socket.getaddrinfo("::1", 80)
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("example.com", 80)
