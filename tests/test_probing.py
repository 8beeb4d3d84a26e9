"""Probes: within their deadline over real sockets, judged by the fault table, telling a breaker only what they may."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trustme

from failsafe.clock import Random
from failsafe.config import ProviderConfig, RouterConfig
from failsafe.deadline import CancelToken
from failsafe.errors import BulkheadFull, ConfigError, RateLimitReached, RouterClosed
from failsafe.events import AttemptFinished, CircuitState, ProbeFinished
from failsafe.faults import Fault
from failsafe.monitoring_config import MonitorConfig, ProbeConfig
from failsafe.policy_config import BulkheadConfig, CircuitBreakerConfig, RateLimiterConfig, RetryConfig
from failsafe.router import Router
from failsafe.sim import BEHAVIOURS, HEALTHY, Behaviour, FakeProvider
from failsafe.sim import deliveries as wire
from failsafe.testing import (
    FakeClock,
    RecordedEvents,
    ScriptedProvider,
    answer,
    failing,
    refusal,
    scripted_router,
)
from failsafe.transport import resolver
from tests.transport.exchanges import full_listener
from tests.transport.raw_server import Peer, RawServer
from tests.transport.raw_server import answer as raw_answer

LIMIT = 0.3
CAP = 3 * LIMIT
ONE_STRIKE = CircuitBreakerConfig(failure_threshold=1, success_threshold=2, timeout=60.0)
NO_RETRIES = RetryConfig(max_retries=0)
MEANT = pytest.mark.usefixtures("expect_logs")
STATES = ("closed", "open", "due", "half_open", "forced_open", "disabled")


@pytest.fixture
def sim() -> Iterator[FakeProvider]:
    """A provider on loopback."""
    with FakeProvider("openai") as provider:
        yield provider


def routed(provider: FakeProvider, probe: ProbeConfig | None = None, **settings: Any) -> Router:
    """A router over *provider* alone."""
    config = ProviderConfig(
        name=provider.name, base_url=provider.base_url, api_key=provider.key, probe=probe, **settings
    )
    return Router([config])


def at(url: str, *, name: str = "own", **settings: Any) -> Router:
    """A router over a server that no catalogue knows."""
    return Router([ProviderConfig(name=name, base_url=url, api_key="sk-own-0123456789abcdef", **settings)])


def timed(probe: Callable[[], ProbeFinished]) -> ProbeFinished:
    """What *probe* finds, which has to be within its deadline."""
    began = time.monotonic()  # noqa: TID251 -- measures real sockets
    probed = probe()
    assert time.monotonic() - began <= CAP  # noqa: TID251
    return probed


def test_the_list_of_models_is_asked_for_with_the_key_and_costs_nothing(sim: FakeProvider) -> None:
    with routed(sim) as router:
        events = RecordedEvents()
        router.on_event(events, sync=True)
        probed = router.probe("openai")
    assert (probed.kind, probed.fault, probed.status, probed.blamed, probed.permit) == (
        "models", None, 200, False, False,
    )  # fmt: skip
    assert probed.latency_ms > 0
    assert [(request.method, request.path) for request in sim.requests] == [("GET", "/v1/models")]
    assert events.all == [probed]


@pytest.mark.parametrize("vendor", ["openai", "anthropic", "gemini"])
@pytest.mark.parametrize("kind", ["models", "completion", "connect"])
def test_each_dialect_can_be_probed_in_each_way(vendor: str, kind: str) -> None:
    with FakeProvider(vendor) as provider, routed(provider) as router:
        probed = router.probe(vendor, kind)
        assert (probed.kind, probed.fault) == (kind, None)
        assert provider.count() == (0 if kind == "connect" else 1)


def test_a_completion_asks_for_one_token_of_the_presets_cheapest_model(sim: FakeProvider) -> None:
    with routed(sim, ProbeConfig(kind="completion")) as router:
        probed = router.probe("openai")
    (request,) = sim.requests
    assert (probed.kind, probed.fault, probed.permit) == ("completion", None, False)
    assert request.decoded["model"] == "gpt-6-luna"
    assert request.decoded["max_completion_tokens"] == 1


def test_a_completion_is_never_retried_and_asks_nobody_else(sim: FakeProvider) -> None:
    sim.behave(BEHAVIOURS["server-error"])
    with routed(sim, ProbeConfig(kind="completion"), max_retries=3) as router:
        probed = router.probe("openai")
    assert (probed.fault, probed.status, probed.blamed) == (Fault.SERVER, 500, True)
    assert sim.count() == 1


def test_without_a_cheapest_model_the_cheapest_of_the_list_is_asked() -> None:
    prices = {"dear": {"input": 5, "output": 5}, "cheap": {"input": 1, "output": 1}}
    provider = ScriptedProvider("own", models=["unpriced", "dear", "cheap"], prices=prices)
    with scripted_router(provider) as router:
        router.probe("own", "completion")
    assert provider.requests[0].body["model"] == "cheap"


def test_a_presets_cheapest_model_that_is_not_served_here_is_not_asked() -> None:
    provider = ScriptedProvider("openai", models=["gpt-4.1"])
    with scripted_router(provider) as router:
        router.probe("openai", "completion")
    assert provider.requests[0].body["model"] == "gpt-4.1"


def test_the_configured_model_is_asked_by_the_id_that_is_sent() -> None:
    provider = ScriptedProvider("own", models={"fast": "vendor/fast-1"}, probe=ProbeConfig(model="fast"))
    with scripted_router(provider) as router:
        router.probe("own", "completion")
    assert provider.requests[0].body["model"] == "vendor/fast-1"


def test_a_completion_of_no_known_model_is_refused_in_words() -> None:
    with scripted_router(ScriptedProvider("own")) as router, pytest.raises(ConfigError, match=r"own\.probe\.model"):
        router.probe("own", "completion")


@pytest.mark.parametrize(
    ("behaviour", "fault", "status", "blamed"),
    [
        ("wrong-key", Fault.AUTH, 401, False),
        ("quota", Fault.QUOTA, 429, False),
        ("permission", Fault.PERMISSION, 403, False),
        ("unknown-path", Fault.MISCONFIGURED, 404, False),
        ("rate-limit", Fault.RATE_LIMIT, 429, False),
        ("redirect", Fault.MISCONFIGURED, 307, False),
        ("html", Fault.MALFORMED, 200, True),
        ("bad-gateway", Fault.SERVER, 502, True),
        ("server-error", Fault.SERVER, 500, True),
        ("overloaded", Fault.OVERLOADED, 503, True),
        ("error-in-200", Fault.SERVER, 200, True),
        ("empty-body", Fault.MALFORMED, 200, True),
        ("close", Fault.DISCONNECTED, None, True),
        ("reset", Fault.DISCONNECTED, None, True),
        ("truncated", Fault.TRUNCATED, 200, True),
    ],
)
def test_what_comes_back_is_judged_by_the_fault_table(
    sim: FakeProvider, behaviour: str, fault: Fault, status: int | None, blamed: bool
) -> None:
    sim.behave(BEHAVIOURS[behaviour])
    with routed(sim) as router:
        probed = router.probe("openai")
    assert (probed.kind, probed.fault, probed.status, probed.blamed) == ("models", fault, status, blamed)
    assert probed.message


@pytest.mark.parametrize("kind", ["models", "completion"])
@pytest.mark.parametrize("behaviour", ["hang", "drip-headers", "drip-body", "stall-mid-body", "never-read"])
def test_a_provider_that_hangs_takes_no_longer_than_the_deadline(sim: FakeProvider, kind: str, behaviour: str) -> None:
    sim.behave(BEHAVIOURS[behaviour])
    with routed(sim) as router:
        probed = timed(lambda: router.probe("openai", kind, LIMIT))
    assert probed.fault is Fault.TIMEOUT
    assert not probed.blamed  # it was given less than the second that any provider answers for


def test_a_provider_that_had_its_time_and_hangs_is_to_blame(sim: FakeProvider) -> None:
    sim.behave(BEHAVIOURS["hang"])
    with routed(sim, timeout=LIMIT) as router:
        assert router.probe("openai", "models", LIMIT).blamed


@pytest.mark.leaves_threads("failsafe-dns")
@pytest.mark.parametrize("kind", ["models", "completion", "connect"])
def test_a_look_up_that_hangs_takes_no_longer_than_the_deadline(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(30) and [])
    monkeypatch.setattr(resolver, "shared", resolver.Resolver())
    try:
        with at("https://slow.test/v1", models=["m"]) as router:
            probed = timed(lambda: router.probe("own", kind, LIMIT))
    finally:
        over.set()
    assert probed.fault is Fault.CONNECT_TIMEOUT
    assert "looking up the name" in probed.message


@pytest.mark.parametrize("kind", ["models", "completion", "connect"])
def test_a_connection_that_hangs_takes_no_longer_than_the_deadline(kind: str) -> None:
    with full_listener() as port, at(f"http://127.0.0.1:{port}/v1", models=["m"]) as router:
        probed = timed(lambda: router.probe("own", kind, LIMIT))
    assert probed.fault is Fault.CONNECT_TIMEOUT


@pytest.mark.parametrize("kind", ["models", "completion", "connect"])
def test_a_tls_handshake_that_hangs_takes_no_longer_than_the_deadline(kind: str) -> None:
    with RawServer(lambda peer: peer.hang()) as server:
        url = server.url.replace("http://", "https://")
        with at(url, models=["m"]) as router:
            probed = timed(lambda: router.probe("own", kind, LIMIT))
    assert probed.fault is Fault.CONNECT_TIMEOUT
    assert "TLS" in probed.message


@pytest.mark.parametrize("kind", ["models", "completion", "connect"])
def test_a_refused_connection_is_the_providers_failure(kind: str, sim: FakeProvider) -> None:
    sim.behave(Behaviour(delivery=wire.RefuseConnections()))
    with routed(sim) as router:
        probed = router.probe("openai", kind)
    assert (probed.kind, probed.fault, probed.status, probed.blamed) == (kind, Fault.NETWORK, None, True)
    assert "refused" in probed.message


def test_a_connection_alone_asks_nothing(sim: FakeProvider) -> None:
    sim.behave(BEHAVIOURS["hang"])
    with routed(sim, ProbeConfig(kind="connect")) as router:
        probed = router.probe("openai")
    assert (probed.kind, probed.fault, probed.status) == ("connect", None, None)
    assert sim.wait_for_connections(1)
    assert (sim.connections, sim.count()) == (1, 0)


def test_a_connection_includes_the_tls_handshake() -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with (
        authority.cert_pem.tempfile() as bundle,
        FakeProvider("openai", tls=context) as provider,
        routed(provider, ca_bundle=bundle) as trusting,
        routed(provider) as doubting,
    ):
        assert trusting.probe("openai", "connect").fault is None
        refused = doubting.probe("openai", "connect")
        assert provider.count() == 0
    assert (refused.fault, refused.blamed) == (Fault.NETWORK, True)
    assert "not trusted" in refused.message


def test_a_connection_goes_through_the_proxy_and_stops_there_for_plain_http() -> None:
    with RawServer(raw_answer()) as proxy, at("http://elsewhere.test/v1", proxy=proxy.url, allow_http=True) as router:
        assert router.probe("own", "connect").fault is None
        assert proxy.requests == []


def test_a_connection_opens_the_proxys_tunnel() -> None:
    def refuse(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    with RawServer(refuse) as proxy, at("https://elsewhere.test/v1", proxy=proxy.url) as router:
        probed = router.probe("own", "connect")
        assert proxy.requests[0].startswith(b"CONNECT elsewhere.test:443 ")
    assert (probed.fault, probed.message) == (
        Fault.NETWORK, "the proxy refused the way to elsewhere.test:443 with status 403",
    )  # fmt: skip


@pytest.mark.parametrize("status", [404, 405])
def test_a_server_nobody_knows_that_has_no_list_is_connected_to_from_then_on(status: int) -> None:
    provider = ScriptedProvider("own", refusal(status), answer(), refusal(status), answer())
    clock = FakeClock()
    with scripted_router(provider, clock=clock) as router:
        assert [router.probe("own").kind for _ in range(2)] == ["connect", "connect"]
        assert [request.method for request in provider.requests] == ["GET", "CONNECT", "CONNECT"]
        clock.advance(3600)
        assert router.probe("own").kind == "models"


def test_a_known_provider_without_its_list_is_misconfigured() -> None:
    provider = ScriptedProvider("openai", refusal(404))
    with scripted_router(provider) as router:
        probed = router.probe("openai")
    assert (probed.kind, probed.fault, probed.blamed) == ("models", Fault.MISCONFIGURED, False)


def test_where_there_is_no_list_a_connection_is_made() -> None:
    provider = ScriptedProvider("own", models_path="")
    with scripted_router(provider) as router:
        assert router.probe("own").kind == router.probe("own", "models").kind == "connect"


def test_the_kind_and_the_time_come_from_the_provider_then_the_router() -> None:
    first = ScriptedProvider("first", probe=ProbeConfig(kind="connect", timeout=2))
    second = ScriptedProvider("second", models=["m"])
    probe, monitor = ProbeConfig(kind="completion"), MonitorConfig(timeout=7)
    with scripted_router(first, second, probe=probe, monitor=monitor) as router:
        assert router.probe("first").kind == "connect"
        assert router.probe("second").kind == "completion"
    assert first.requests[0].limits.deadline.timeout == 2
    assert second.requests[0].limits.deadline.timeout == 7


def test_what_cannot_be_probed_is_said_in_words() -> None:
    with scripted_router(ScriptedProvider("own", probe=ProbeConfig(kind="off"))) as router:
        with pytest.raises(ConfigError, match="it is not probed; name a kind"):
            router.probe("own")
        with pytest.raises(ConfigError, match="one of models, completion, connect"):
            router.probe("own", "ping")
        with pytest.raises(ConfigError, match="one of own is needed"):
            router.probe("other")
        assert router.probe("own", "connect").fault is None


def breaker_in(state: str, clock: FakeClock, **settings: Any) -> tuple[Router, ScriptedProvider]:
    """A router whose only breaker is in *state*; ``due``: open, and its time is over."""
    provider = ScriptedProvider("own", models=["m"])
    router = scripted_router(provider, clock=clock, breaker=ONE_STRIKE, retry=NO_RETRIES, **settings)
    breaker = router.breakers.get("own")
    if state in ("open", "due", "half_open"):
        breaker.trip()
    if state in ("due", "half_open"):
        clock.advance(60)
    if state == "half_open":
        breaker.acquire().success()
    if state == "forced_open":
        breaker.force_open()
    if state == "disabled":
        breaker.disable()
    return router, provider


def script(provider: ScriptedProvider, *outcomes: Any) -> None:
    """Have *provider* do this from now on."""
    provider._outcomes.clear()
    provider._outcomes.extend(outcomes)


@MEANT
@pytest.mark.parametrize("outcome", [answer(), failing(Fault.SERVER), failing(Fault.NETWORK), refusal(429)])
@pytest.mark.parametrize("kind", ["models", "connect"])
@pytest.mark.parametrize("state", STATES)
def test_no_breaker_ever_moves_by_a_list_or_a_connection(state: str, kind: str, outcome: Any) -> None:
    router, provider = breaker_in(state, FakeClock())
    script(provider, outcome)
    with router:
        before = router.breakers.get("own").stats()
        for _ in range(5):
            assert not router.probe("own", kind).permit
        assert router.breakers.get("own").stats() == before


@MEANT
@pytest.mark.parametrize("outcome", [answer(), failing(Fault.SERVER), refusal(429)])
@pytest.mark.parametrize("state", ["closed", "open", "forced_open", "disabled"])
def test_a_breaker_that_has_no_place_for_probes_learns_nothing_of_a_completion(state: str, outcome: Any) -> None:
    router, provider = breaker_in(state, FakeClock())
    script(provider, outcome)
    with router:
        breaker = router.breakers.get("own")
        before = breaker.stats()
        assert not router.probe("own", "completion").permit
        after = breaker.stats()
    assert (after.state, after.streak, after.successes, after.failures, after.soft_failures) == (
        before.state, before.streak, before.successes, before.failures, before.soft_failures,
    )  # fmt: skip


@MEANT
def test_completions_close_a_breaker_without_a_single_call() -> None:
    router, provider = breaker_in("due", FakeClock())
    with router:
        events = RecordedEvents()
        router.on_event(events, sync=True)
        assert router.probe("own", "completion").permit
        assert router.breakers.get("own").state is CircuitState.HALF_OPEN
        assert router.probe("own", "completion").permit
        assert router.breakers.get("own").state is CircuitState.CLOSED
        assert not router.probe("own", "completion").permit
    assert events.of(AttemptFinished) == []
    assert provider.asked == 3


@MEANT
@pytest.mark.parametrize(
    ("outcome", "state", "counted"),
    [
        (failing(Fault.SERVER), CircuitState.OPEN, True),
        (refusal(429), CircuitState.OPEN, True),
        (refusal(401), CircuitState.HALF_OPEN, False),
        (failing(Fault.CANCELLED), CircuitState.HALF_OPEN, False),
        (refusal(400), CircuitState.HALF_OPEN, False),
    ],
)
def test_a_half_open_breaker_takes_a_completions_failure_as_that_of_a_call(
    outcome: Any, state: CircuitState, counted: bool
) -> None:
    router, provider = breaker_in("half_open", FakeClock())
    script(provider, outcome)
    with router:
        assert router.probe("own", "completion").permit is counted
        stats = router.breakers.get("own").stats()
    assert (stats.state, stats.probes_in_flight) == (state, 0)


@MEANT
def test_a_completion_takes_no_place_from_calls_that_try_a_half_open_breaker() -> None:
    router, _ = breaker_in("half_open", FakeClock())
    with router:
        breaker = router.breakers.get("own")
        held = [breaker.acquire() for _ in range(3)]
        assert not router.probe("own", "completion").permit
        assert breaker.stats().probes_in_flight == 3
        for permit in held:
            permit.release()


@MEANT
@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("state", ["closed", "half_open"])
def test_all_that_a_completion_holds_is_given_back_when_it_is_interrupted(
    state: str, interruption: type[BaseException]
) -> None:
    def interrupt(_: object) -> Any:
        raise interruption

    router, provider = breaker_in(state, FakeClock(), bulkhead=BulkheadConfig(max_concurrent=1))
    script(provider, interrupt)
    with router:
        with pytest.raises(interruption):
            router.probe("own", "completion")
        assert router.breakers.get("own").stats().probes_in_flight == 0
        script(provider, answer())
        assert router.probe("own", "completion").fault is None
        assert router.close(timeout=0)


def test_a_completion_counts_against_the_rate_limit_and_is_corrected_by_what_was_used() -> None:
    provider = ScriptedProvider("own", models=["gpt-4.1"])
    limits = RateLimiterConfig(requests_per_minute=2)
    with scripted_router(provider, rate_limiter=limits) as router:
        router.probe("own", "completion")
        assert router.chat("hi", model="gpt-4.1").content == "hello"
        with pytest.raises(RateLimitReached, match="'own'"):
            router.probe("own", "completion")
        assert router.probe("own", "models").fault is None
    assert provider.asked == 3


def test_a_completion_heeds_what_the_answers_said_is_left() -> None:
    spent = answer(x_ratelimit_remaining_requests="0", x_ratelimit_reset_requests="30s", x_ratelimit_limit_requests="9")
    provider = ScriptedProvider("own", spent, models=["gpt-4.1"])
    with scripted_router(provider) as router:
        router.probe("own", "completion")
        with pytest.raises(RateLimitReached):
            router.probe("own", "completion")
    assert provider.asked == 1


def test_a_completion_that_finds_every_place_taken_is_not_asked() -> None:
    held, go_on = threading.Event(), threading.Event()

    def hold(_: object) -> Any:
        held.set()
        go_on.wait(5)
        return answer()

    provider = ScriptedProvider("own", hold, models=["gpt-4.1"])
    with scripted_router(provider, bulkhead=BulkheadConfig(max_concurrent=1)) as router:
        call = threading.Thread(target=router.chat, args=("hi",), kwargs={"model": "gpt-4.1"})
        call.start()
        try:
            assert held.wait(5)
            with pytest.raises(BulkheadFull):
                router.probe("own", "completion")
        finally:
            go_on.set()
            call.join()
    assert provider.asked == 1


@MEANT
def test_a_provider_that_said_when_to_come_back_is_not_asked_for_a_completion_before() -> None:
    clock = FakeClock()
    provider = ScriptedProvider("own", refusal(429, retry_after="30"), answer(), models=["m"])
    with scripted_router(provider, clock=clock, retry=NO_RETRIES, fallback="no") as router:
        assert router.chat("hi", model="m").fallback
        with pytest.raises(RateLimitReached):
            router.probe("own", "completion")
        clock.advance(40)
        assert router.probe("own", "completion").fault is None


def test_a_rejected_key_is_reported_and_put_off_by_calls_alone() -> None:
    provider = ScriptedProvider("own", refusal(401), models=["m"])
    with scripted_router(provider) as router:
        for kind in ("models", "completion"):
            probed = router.probe("own", kind)
            assert (probed.fault, probed.blamed) == (Fault.AUTH, False)
        assert router.stats()["own"]["put_off"] == []


@MEANT
def test_a_key_that_is_put_off_is_tried_without_beginning_its_trial() -> None:
    clock = FakeClock()
    provider = ScriptedProvider("own", refusal(401), answer(), models=["m"])
    with scripted_router(provider, clock=clock, fallback="nobody") as router:
        assert router.chat("hi", model="m").fallback
        assert router.probe("own", "completion").fault is None
        assert len(router.stats()["own"]["put_off"]) == 1
        clock.advance(70)
        router.probe("own", "completion")
        assert router.chat("hi", model="m").content == "hello"


def test_the_first_key_that_is_not_put_off_is_sent() -> None:
    provider = ScriptedProvider("own", answer(), models=["m"], api_key=["key-one-000111", "key-two-000222"])
    with scripted_router(provider) as router:
        first, second = provider.config.keys
        router._endpoints[0].cooldowns.put_off(first.fingerprint, None, 60, Fault.AUTH, "no")
        router.probe("own", "models")
    assert provider.requests[0].key is second


def test_a_probe_is_no_call_in_the_figures() -> None:
    provider = ScriptedProvider("own", models=["m"])
    with scripted_router(provider) as router:
        router.probe("own", "completion")
        stats = router.stats()["own"]
    assert (stats["requests"], stats["p95_ms"], stats["in_flight"]) == (0, None, 0)


@pytest.mark.parametrize("behaviour", ["echoed-key", "wrong-key"])
@pytest.mark.parametrize("kind", ["models", "completion"])
def test_no_key_is_shown(sim: FakeProvider, kind: str, behaviour: str) -> None:
    sim.behave(BEHAVIOURS[behaviour])
    with routed(sim) as router:
        probed = router.probe("openai", kind)
    assert probed.fault is Fault.AUTH
    assert sim.key not in repr(probed)
    assert sim.key[-8:] not in repr(probed)


def test_a_probe_can_be_cancelled(sim: FakeProvider) -> None:
    sim.behave(BEHAVIOURS["hang"])
    token = CancelToken()

    def cancel() -> None:
        sim.wait_for_requests(1)
        token.cancel()

    with routed(sim) as router:
        canceller = threading.Thread(target=cancel)
        canceller.start()
        probed = router.probe("openai", timeout=30, cancel=token)
        canceller.join()
    assert (probed.fault, probed.blamed) == (Fault.CANCELLED, False)


def test_closing_a_router_ends_its_probes(sim: FakeProvider) -> None:
    sim.behave(BEHAVIOURS["hang"])
    router = routed(sim)
    found: list[ProbeFinished] = []
    probing = threading.Thread(target=lambda: found.append(router.probe("openai", timeout=30)))
    probing.start()
    assert sim.wait_for_requests(1)
    assert router.close(timeout=5)
    probing.join(5)
    assert found[0].fault is Fault.CANCELLED
    with pytest.raises(RouterClosed):
        router.probe("openai")


@MEANT
def test_a_provider_with_a_breaker_for_each_model_is_probed_through_that_of_the_model() -> None:
    clock = FakeClock()
    provider = ScriptedProvider("own", failing(Fault.SERVER), answer(), models=["m", "n"], probe=ProbeConfig(model="m"))
    settings: dict[str, Any] = {"breaker": ONE_STRIKE, "breaker_scope": "model", "retry": NO_RETRIES, "fallback": "no"}
    with scripted_router(provider, clock=clock, **settings) as router:
        router.chat("hi", model="m")
        clock.advance(60)
        assert router.probe("own", "completion").permit
        assert router.breakers.get("own:m").state is CircuitState.HALF_OPEN


def test_a_router_forgets_nothing_of_healthy_behaviour(sim: FakeProvider) -> None:
    sim.behave(HEALTHY)
    config = RouterConfig(providers=[ProviderConfig(name="openai", base_url=sim.base_url, api_key=sim.key)])
    with Router(config, random=Random(1)) as router:
        assert router.probe("openai").fault is None
        assert router.chat("hi", model="gpt-4.1-mini").provider == "openai"
