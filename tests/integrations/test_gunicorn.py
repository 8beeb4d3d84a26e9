"""The Flask extension under a real gunicorn: two worker processes of two threads each, forked before or after."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest
import requests

from failsafe.clock import SYSTEM_CLOCK
from failsafe.sim import BEHAVIOURS, Behaviour, FakeCloud, FakeProvider, Healthy, StreamShape
from tests.integrations.apps import events_in, text_of

ROOT = Path(__file__).resolve().parents[2]
HARD_CAP = 20.0
"""Seconds after which what should have happened long ago has failed."""
# So short that no call waits for a breaker to be due.
ALONE = "timeout = 5\n[breaker]\nfailure_threshold = 1\n[retry]\nmax_retries = 0\n"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="gunicorn needs fork")

Found = TypeVar("Found")


def until(look: Callable[[], Found | None], what: str) -> Found:
    """What *look* returns, as soon as that is more than nothing."""
    end = SYSTEM_CLOCK.monotonic() + HARD_CAP
    while not (found := look()):
        assert SYSTEM_CLOCK.monotonic() < end, f"{what}: not within {HARD_CAP:g} s"
        threading.Event().wait(0.01)
    return found


class Server:
    """A running gunicorn; each request has a connection of its own, so that any worker may take it."""

    def __init__(self, process: subprocess.Popen[bytes], url: str) -> None:
        self.process = process
        self.url = url

    def get(self, path: str, **options: Any) -> requests.Response:
        return requests.get(self.url + path, headers={"Connection": "close"}, timeout=HARD_CAP, **options)

    def pids(self) -> set[int]:
        """Both workers, once each has answered."""
        seen: set[int] = set()

        def look() -> set[int] | None:
            seen.add(int(self.get("/pid").text))
            return seen if len(seen) == 2 else None

        return until(look, "both workers answer")

    def workers(self) -> set[int]:
        """The processes below the one that was started."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return set(map(int, children.read_text(encoding="ascii").split()))

    def stop(self) -> None:
        """End it in order, and see that its workers have ended."""
        workers = self.workers()
        self.process.terminate()
        assert self.process.wait(HARD_CAP) == 0
        until(lambda: not any(map(is_running, workers)), "the workers end")


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def address_in(log: Path) -> str | None:
    said = re.search(r"Listening at: (\S+)", log.read_text(encoding="utf-8"))
    return said[1] if said else None


@contextmanager
def gunicorn(
    cloud: FakeCloud,
    folder: Path,
    *,
    preload: bool,
    warm: bool = False,
    settings: str = "",
    variables: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    path, log = folder / "failsafe.toml", folder / "gunicorn.log"
    path.write_text(settings + cloud.as_toml(), encoding="utf-8")
    path.chmod(0o600)
    command = [sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:0", "--workers", "2", "--threads", "2"]
    command += ["--worker-class", "gthread", "--graceful-timeout", "5", *(["--preload"] if preload else [])]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "APP_SETTINGS": str(path), "APP_WARM": "1" if warm else ""}
    environment.update(variables or {})
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [*command, "tests.integrations.gunicorn_app:create_app()"],
            cwd=folder, env=environment, stdout=output, stderr=output, start_new_session=True,
        ) as process,
    ):  # fmt: skip
        try:
            server = Server(process, until(lambda: address_in(log), "gunicorn listens"))
            yield server
            server.stop()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # what a failed test has left
    assert "Traceback" not in log.read_text(encoding="utf-8")


@pytest.fixture
def cloud() -> Iterator[FakeCloud]:
    with FakeCloud([FakeProvider("first", vendor="openai"), FakeProvider("second", vendor="openai")]) as providers:
        yield providers


@pytest.fixture(params=[False, True], ids=["forked-first", "preloaded"])
def preload(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def test_every_worker_answers_and_streams_past_a_provider_that_fails(
    cloud: FakeCloud, tmp_path: Path, preload: bool
) -> None:
    text = "a stream of some length, so that it comes in several pieces"
    with gunicorn(cloud, tmp_path, preload=preload) as server:
        server.pids()
        assert {server.get("/ask").text for _ in range(8)} == {"provider first says: hi"}
        cloud["first"].behave(BEHAVIOURS["stream-error-first"])
        cloud["second"].behave(Behaviour(Healthy(text=text)))
        for _ in range(4):
            response = server.get("/stream")
            assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
            events = events_in(response.content)
            assert (text_of(events), events[-1][0]) == (text, "done")
        assert cloud["first"].count("/chat/completions") > 8


def test_the_pieces_of_a_stream_are_not_held_back_and_a_client_that_goes_ends_it(
    cloud: FakeCloud, tmp_path: Path, preload: bool
) -> None:
    endless = Behaviour(Healthy(text="word " * 4000), stream=StreamShape(interval=0.02))
    cloud["first"].behave(endless)
    with gunicorn(cloud, tmp_path, preload=preload) as server:
        with server.get("/stream", stream=True) as response:
            first = next(response.iter_content(None))
            assert first.startswith(b'data: {"text":')
        until(lambda: cloud["first"].open_connections == 0, "the provider's connection is closed")


def test_the_health_check_fails_once_nobody_can_answer(cloud: FakeCloud, tmp_path: Path, preload: bool) -> None:
    with gunicorn(cloud, tmp_path, preload=preload, settings=ALONE) as server:
        assert server.get("/healthz").json() == {"status": "ok", "providers": {"ready": 2, "all": 2}}
        for provider in cloud:
            provider.behave(BEHAVIOURS["server-error"])
        lost = server.get("/ask")
        assert (lost.status_code, lost.json()["error"]["type"]) == (503, "AllProvidersFailed")
        until(lambda: server.get("/ask").status_code == server.get("/healthz").status_code == 503, "healthz says so")


def test_a_worker_that_is_killed_is_replaced_and_calls_go_on(cloud: FakeCloud, tmp_path: Path, preload: bool) -> None:
    with gunicorn(cloud, tmp_path, preload=preload) as server:
        before = server.pids()
        os.kill(min(before), signal.SIGKILL)
        until(lambda: len(server.workers()) == 2 and min(before) not in server.workers(), "another worker runs")
        assert server.pids() - before
        assert {server.get("/ask").text for _ in range(8)} == {"provider first says: hi"}


def test_prometheus_is_told_what_all_workers_have_done_whichever_it_asks(
    cloud: FakeCloud, tmp_path: Path, preload: bool
) -> None:
    files = tmp_path / "metrics"
    files.mkdir()
    cloud["first"].behave(BEHAVIOURS["server-error"])
    variables = {"PROMETHEUS_MULTIPROC_DIR": str(files)}
    with gunicorn(cloud, tmp_path, preload=preload, settings="timeout = 5\n", variables=variables) as server:
        asked = 0
        answered_by: set[str] = set()
        while len(answered_by) < 2 or asked < 20:  # both workers have written what they did
            assert server.get("/ask").status_code == 200
            asked += 1
            answered_by = {path.name for path in files.glob("counter_*.db")}
            assert asked < 500
        told = [server.get("/shared-metrics").text for _ in range(6)]
    for text in told:
        assert f'failsafe_calls_total{{model="gpt-4.1",outcome="answered",router=""}} {asked}.0' in text
        counted = re.findall(r'failsafe_attempts_total{fault="none",.*provider="second",.*} (\S+)', text)
        assert counted == [f"{asked}.0"]


def test_workers_share_no_connection_that_was_open_before_the_fork(cloud: FakeCloud, tmp_path: Path) -> None:
    with gunicorn(cloud, tmp_path, preload=True, warm=True) as server:
        server.pids()
        assert {server.get("/ask").text for _ in range(20)} == {"provider first says: hi"}
        first, *others = cloud["first"].requests
        assert first.decoded["messages"][0]["content"] == "before the fork"
        assert all(request.connection != first.connection for request in others)
