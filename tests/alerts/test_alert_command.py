"""Commands: real programs that hang, make noise, do not exist, or do not listen."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from failsafe.alerts import command as module
from failsafe.alerts.command import Command, clean_environment
from failsafe.alerts.formats import as_json
from failsafe.alerts.grouping import Group
from failsafe.secret import Secret
from tests.alerts.alarms import critical

GROUP = Group(at=1_800_000_000.0, alerts=(critical(),))
RENDER = partial(as_json, host="here")
LONGEST = 20.0


def program(code: str, *arguments: str, **settings: Any) -> Command:
    """A command that runs *code* in Python; ``sys.argv[1:]`` are *arguments*."""
    return Command([sys.executable, "-c", f"import os, sys, time\n{code}", *arguments], RENDER, **settings)


def has_ended(pid: int) -> bool:
    """Whether the process *pid* is gone, or a zombie of somebody else's, within a while."""
    for _ in range(int(LONGEST * 100)):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        threading.Event().wait(0.01)
    return False


def children() -> set[int]:
    """The processes that this one has started and not reaped."""
    found = Path(f"/proc/self/task/{threading.get_native_id()}/children")
    return {int(pid) for pid in found.read_text().split()}


def test_a_program_is_given_the_group_on_its_standard_input(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    command = program("open(sys.argv[1], 'wb').write(sys.stdin.buffer.read())", str(out))
    command.deliver(GROUP, "00ff")
    read = json.loads(out.read_bytes())
    assert (read["id"], read["alerts"][0]["title"]) == ("00ff", "openai: down")
    assert command.dropped == 0
    assert children() == set()


def test_no_shell_reads_the_arguments(tmp_path: Path) -> None:
    out = tmp_path / "out"
    nasty = f"; touch {tmp_path}/hacked $(touch {tmp_path}/hacked) `id` | cat"
    program("open(sys.argv[1], 'w').write(sys.argv[2])", str(out), nasty).deliver(GROUP, "n")
    assert out.read_text() == nasty
    assert not (tmp_path / "hacked").exists()


def test_a_program_that_makes_noise_is_not_listened_to(capfd: pytest.CaptureFixture[str]) -> None:
    command = program("for out in (1, 2):\n for _ in range(200):\n  os.write(out, b'noise' * 10_000)")
    command.deliver(GROUP, "n")
    assert command.dropped == 0
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("code", ["", "os.close(0)"])
def test_a_program_that_ends_without_reading_is_fine(code: str) -> None:
    large = Group(at=0.0, alerts=tuple(critical(message="m" * 1000) for _ in range(100)))
    command = program(code)
    command.deliver(large, "n")
    assert command.dropped == 0


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["/no/such/program-sk-secret"], "cannot be started (FileNotFoundError)"),
        (["/etc/passwd"], "cannot be started (PermissionError)"),
        (["nul\x00byte"], "cannot be started (ValueError)"),
        ([sys.executable, "-c", "raise SystemExit(3)"], "failed (exit status 3)"),
    ],
)
def test_what_cannot_be_run_is_dropped_and_logged_once(
    caplog: pytest.LogCaptureFixture, arguments: list[str], why: str
) -> None:
    command = Command(arguments, RENDER)
    command.deliver(GROUP, "1")
    command.deliver(GROUP, "2")
    assert command.dropped == 2
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [f"alerts were dropped, as the command {why}; that is not said again until it works"]


def test_a_program_that_hangs_is_ended(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    mark = tmp_path / "ended"
    script = "trap 'touch \"$0\"; exit' TERM; sleep 60 & wait"
    command = Command(["sh", "-c", script, str(mark)], RENDER, timeout=1.0, grace=LONGEST)
    command.deliver(GROUP, "n")
    assert mark.exists()  # it was asked to, and did
    assert (command.dropped, children()) == (1, set())
    assert "took longer than 1 s and was ended" in caplog.text


def test_a_program_that_heeds_nothing_is_killed_with_all_it_has_started(tmp_path: Path, expect_logs: Any) -> None:
    pids = tmp_path / "pids"
    script = 'trap "" TERM; sleep 60 & echo $$ $! > "$0"; sleep 60'
    command = Command(["sh", "-c", script, str(pids)], RENDER, timeout=1.0, grace=0.1)
    command.deliver(GROUP, "n")
    assert children() == set()
    started = [int(pid) for pid in pids.read_text().split()]
    assert len(started) == 2
    assert all(has_ended(pid) for pid in started)
    assert command.dropped == 1


def test_stopping_ends_the_program_at_once(tmp_path: Path, expect_logs: Any) -> None:
    fifo = tmp_path / "started"
    os.mkfifo(fifo)
    code = (
        "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nopen(sys.argv[1], 'w').close()\ntime.sleep(60)"
    )
    command = program(code, str(fifo), timeout=60.0)
    thread = threading.Thread(target=command.deliver, args=(GROUP, "n"))
    thread.start()
    fifo.open().close()  # waits until it runs
    command.stop()
    thread.join(LONGEST)
    assert not thread.is_alive()
    assert command.dropped == 1
    command.deliver(GROUP, "n")
    assert command.dropped == 2
    assert command._running is None


def test_there_is_never_more_than_one(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(module, "_signal", lambda process, sign: sent.append(sign))  # one that cannot be killed
    command = program("time.sleep(60)", timeout=0.1, grace=0.1)
    command.deliver(GROUP, "1")
    assert sent == [signal.SIGTERM, signal.SIGKILL]
    process = command._running
    assert process is not None
    command.deliver(GROUP, "2")
    assert command._running is process
    assert command.dropped == 2
    process.kill()
    process.wait(LONGEST)
    caplog.clear()
    command.deliver(GROUP, "3")
    assert command._running is not process
    monkeypatch.undo()
    command.stop()


def test_the_environment_holds_no_key(tmp_path: Path) -> None:
    out = tmp_path / "environment"
    environ = {
        **os.environ,
        "OPENAI_API_KEY": "sk-1",
        "MY_OWN_API_KEY": "sk-2",
        "my_api_keys": "sk-3",
        "SOME_APIKEY": "sk-4",
        "OPENAI_ADMIN_KEY": "sk-5",
        "ANTHROPIC_AUTH_TOKEN": "sk-6",
        "AZURE_OPENAI_AD_TOKEN": "sk-7",
        "HIDDEN": "prefix-of-a-configured-key-suffix",
        "PAGER_TOKEN": "which the command needs",
        "SHORT": "none",
    }
    code = "open(sys.argv[1], 'w').write('\\n'.join(os.environ))"
    secrets = [Secret("a-configured-key"), Secret("none")]
    program(code, str(out), environ=environ, secrets=secrets).deliver(GROUP, "n")
    names = set(out.read_text().splitlines())
    assert names >= {"PATH", "PAGER_TOKEN", "SHORT"}
    assert not names & {
        "OPENAI_API_KEY", "MY_OWN_API_KEY", "my_api_keys", "SOME_APIKEY", "OPENAI_ADMIN_KEY", "ANTHROPIC_AUTH_TOKEN",
        "AZURE_OPENAI_AD_TOKEN", "HIDDEN",
    }  # fmt: skip


def test_its_environment_is_this_process_s_own_as_it_is_then(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    out = tmp_path / "value"
    command = program("open(sys.argv[1], 'w').write(os.environ['LATE'])", str(out))
    monkeypatch.setenv("LATE", "set")
    command.deliver(GROUP, "n")
    assert out.read_text() == "set"


@pytest.mark.parametrize("environ", [{}, {"A": "b"}])
def test_what_holds_no_secret_stays(environ: Mapping[str, str]) -> None:
    assert clean_environment(environ) == environ


def test_a_forked_child_leaves_its_parent_s_program_alone() -> None:
    command = program("")
    process: Callable[..., Any] = subprocess.Popen
    with process([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as running:
        command._running = running
        command._lock.acquire()
        command._after_fork()
        assert command._running is None
        command.stop()
        assert running.poll() is None
        running.communicate(b"\n", timeout=LONGEST)


def test_the_arguments_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    program("raise SystemExit(1)", "--token=very-secret").deliver(GROUP, "n")
    assert "very-secret" not in caplog.text
