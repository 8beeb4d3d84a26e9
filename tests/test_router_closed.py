"""What is under way when a router is closed goes on, fails over like any other call, and leaves no connection open."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from failsafe.deadline import Deadline
from failsafe.router import Router
from failsafe.sim import Behaviour, FakeCloud, StreamShape
from failsafe.transport.adapter import DeadlineAdapter
from failsafe.transport.base import Limits, RawAnswer
from failsafe.transport.requests_transport import RequestsTransport
from tests.acceptance.routers import PATIENCE, config, said_by, settles
from tests.stream_bench import events, shown

pytestmark = pytest.mark.usefixtures("expect_logs")


@pytest.fixture
def cloud() -> Iterator[FakeCloud]:
    """Two healthy providers."""
    with FakeCloud.of("openai", "anthropic") as providers:
        yield providers


@pytest.mark.parametrize("asked_before", [True, False])
def test_a_stream_that_outlives_its_router_is_taken_over_by_the_next_provider(
    cloud: FakeCloud, asked_before: bool
) -> None:
    cloud["openai"].behave(Behaviour(stream=StreamShape(cut_after=3, cut="close")))
    router = Router(config(cloud))
    if asked_before:
        router.chat("hi", model="fast", only="anthropic")
    stream = router.stream("hi", model="fast", on_interrupt="restart", timeout=10)
    assert router.close()
    chunks = list(stream)
    assert events(chunks) == ["restarted"]
    assert shown(chunks) == said_by("anthropic", "hi")
    assert settles(lambda: not any(provider.open_connections for provider in cloud))
    assert router.breakers.get("anthropic").stats().failures == 0


def test_a_closed_transport_keeps_no_connection_for_later(cloud: FakeCloud) -> None:
    transport = RequestsTransport(cloud["openai"].base_url)
    transport.close()
    for _ in range(2):
        limits = Limits(deadline=Deadline.after(PATIENCE))
        assert isinstance(transport.send("GET", "/models", None, None, limits), RawAnswer)
    assert cloud["openai"].connections == 2
    assert settles(lambda: cloud["openai"].open_connections == 0)
    transport.close()


def test_a_signal_handler_that_closes_while_the_first_connection_is_prepared_does_not_block(
    cloud: FakeCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = RequestsTransport(cloud["openai"].base_url)
    make = DeadlineAdapter._make_pool

    def make_amid_a_signal(adapter: DeadlineAdapter) -> object:
        pool = make(adapter)
        transport.close()
        return pool

    monkeypatch.setattr(DeadlineAdapter, "_make_pool", make_amid_a_signal)
    answers: list[object] = []

    def send() -> None:
        answers.append(transport.send("GET", "/models", None, None, Limits(deadline=Deadline.after(PATIENCE))))

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert isinstance(answers[0], RawAnswer)
    assert settles(lambda: cloud["openai"].open_connections == 0)
