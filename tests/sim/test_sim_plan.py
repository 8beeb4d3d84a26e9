"""Schedules, shares, and who is hit."""

from __future__ import annotations

import socket

import pytest

from failsafe.errors import ConfigError
from failsafe.faults import Fault
from failsafe.sim import HEALTHY, Behaviour, Error, FakeProvider, NeverRead, RefuseConnections
from failsafe.sim.plan import Plan
from failsafe.testing import FakeClock
from tests.chance import Chance
from tests.sim.sim_client import ask, connected, headers_for, session

BROKEN = Error(fault=Fault.SERVER)


def statuses(provider: FakeProvider, count: int) -> list[int]:
    return [ask(provider).status_code for _ in range(count)]


def test_a_schedule_goes_by_the_clock_it_was_given() -> None:
    clock = FakeClock()
    with FakeProvider("openai", clock=clock) as provider:
        provider.schedule([(10, Behaviour(BROKEN)), (20, HEALTHY)])
        found = []
        for _ in range(5):
            found += statuses(provider, 1)
            clock.advance(6)
    assert found == [200, 200, 500, 500, 200]


def test_a_schedule_given_before_the_start_counts_from_the_start() -> None:
    clock = FakeClock()
    provider = FakeProvider("openai", clock=clock)
    provider.schedule([(10, Behaviour(BROKEN))])
    clock.advance(100)
    with provider:
        assert statuses(provider, 1) == [200]
        clock.advance(10)
        assert statuses(provider, 1) == [500]


def test_a_schedule_closes_and_opens_the_port() -> None:
    clock = FakeClock()
    with FakeProvider("openai", clock=clock) as provider:
        provider.schedule([(5, Behaviour(delivery=RefuseConnections())), (9, HEALTHY)])
        assert statuses(provider, 1) == [200]
        clock.advance(5)
        provider.look_again()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", provider.port), timeout=1)
        clock.advance(4)
        provider.look_again()
        assert statuses(provider, 1) == [200]


def test_steps_out_of_order_are_refused() -> None:
    provider = FakeProvider("openai")
    with pytest.raises(ConfigError, match="ascending"):
        provider.schedule([(5, HEALTHY), (4, HEALTHY)])
    with pytest.raises(ConfigError, match="schedule = -1"):
        provider.schedule([(-1, HEALTHY)])


def test_flapping_takes_turns() -> None:
    clock = FakeClock()
    with FakeProvider("openai", clock=clock, behaviour=Behaviour(BROKEN, flap=3)) as provider:
        found = []
        for _ in range(6):
            found += statuses(provider, 1)
            clock.advance(1.5)
    assert found == [500, 500, 200, 200, 500, 500]


def test_only_the_first_requests_are_hit() -> None:
    with FakeProvider("openai", behaviour=Behaviour(BROKEN, first=2)) as provider:
        assert statuses(provider, 4) == [500, 500, 200, 200]
        provider.behave(Behaviour(BROKEN, first=1))
        assert statuses(provider, 2) == [500, 200], "a new behaviour counts anew"


def test_each_nth_request_is_hit() -> None:
    with FakeProvider("openai", behaviour=Behaviour(BROKEN, every=3)) as provider:
        assert statuses(provider, 6) == [200, 200, 500, 200, 200, 500]


def test_chance_decides_where_there_is_a_probability() -> None:
    chance = Chance(0.5)
    with FakeProvider("openai", random=chance, behaviour=Behaviour(BROKEN, probability=0.5)) as provider:
        assert statuses(provider, 1) == [200]
        chance.value = 0.49
        assert statuses(provider, 1) == [500]


def test_a_spared_request_still_takes_the_latency() -> None:
    spared = Behaviour(BROKEN, latency=0.5, latency_jitter=0.1, every=2).spared()
    assert spared == Behaviour(latency=0.5, latency_jitter=0.1)
    assert Behaviour(latency=2.0, spared_latency=0.1, every=2).spared() == Behaviour(latency=0.1)


def test_jitter_lengthens_the_latency_by_chance() -> None:
    chance = Chance(1.0)
    behaviour = Behaviour(latency_jitter=5.0)
    with FakeProvider("openai", random=chance, behaviour=behaviour) as provider, connected(provider) as sock:
        sock.sendall(b"GET /health HTTP/1.1\r\n\r\n")
        assert provider.wait_for_requests(1)
        sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            sock.recv(1)
    assert chance.asked == 1


def test_one_key_and_one_model_can_be_hit_alone() -> None:
    with FakeProvider("openai", key=["k-1", "k-2"]) as provider:
        provider.behave(Behaviour(BROKEN, only_key="k-2"))
        assert [ask(provider, key=key).status_code for key in ("k-1", "k-2")] == [200, 500]
        provider.behave(Behaviour(BROKEN, only_model="m-2", first=1))
        models = ["m-1", "m-2", "m-2"]
        assert [ask(provider, model=model).status_code for model in models] == [200, 500, 200]
    assert "k-2" not in repr(Behaviour(only_key="k-2"))


def test_the_list_of_models_can_stay_healthy() -> None:
    with FakeProvider("openai", behaviour=Behaviour(BROKEN, chat_only=True)) as provider, session() as client:
        listed = client.get(provider.base_url + "/models", headers=headers_for(provider), timeout=2)
        assert (listed.status_code, ask(provider).status_code) == (200, 500)


def test_a_share_of_the_connections_is_never_read() -> None:
    with FakeProvider("openai", behaviour=Behaviour(delivery=NeverRead(), first=1)) as provider:
        with connected(provider) as sock:
            sock.sendall(b"GET /health HTTP/1.1\r\n\r\n")
            sock.settimeout(0.05)
            with pytest.raises(TimeoutError):
                sock.recv(1)
        assert provider.count() == 0


def test_nothing_scheduled_is_healthy() -> None:
    plan = Plan([], 0.0, Chance(0.0))
    assert plan.decide(5.0) == HEALTHY
    assert not plan.follows_time


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("latency", -1),
        ("probability", 1.5),
        ("every", 0),
        ("first", -1),
        ("flap", 0),
        ("spared_latency", -1),
        ("latency_jitter", float("nan")),
    ],
)
def test_a_setting_out_of_range_is_named(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"^{name} = "):
        Behaviour(**{name: value})  # type: ignore[arg-type]
