"""A router over scripted providers, on a clock that stands still."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from failsafe.breaker import BreakerStats
from failsafe.clock import Random
from failsafe.config import ProviderConfig, RouterConfig
from failsafe.endpoint import Endpoint
from failsafe.errors import FailsafeError
from failsafe.events import Event
from failsafe.faults import Fault
from failsafe.models import Failure, Phase, Reply
from failsafe.router import Router
from failsafe.testing import FakeClock, Outcome, ScriptedTransport, SentRequest, hanging, refusal

BROKEN = refusal(500, "it broke")
REFUSED = Failure(fault=Fault.NETWORK, message="connection refused", phase=Phase.CONNECT)
LIMITED = refusal(429, "slow down", code="rate_limit_exceeded", retry_after="20")

Script = Outcome | Callable[[SentRequest], Outcome]


class Bench:
    """
    A router over scripted providers named a, b, c, ... on a clock that stands still.

    Keyword arguments are settings of the router, but for ``of_provider`` (of every provider), ``each``
    (of one provider, by name) and ``seed``. ``events`` lists every event from the start.
    """

    def __init__(
        self,
        *scripts: tuple[Script, ...] | Script,
        seed: int = 1,
        of_provider: Mapping[str, Any] | None = None,
        each: Mapping[str, Mapping[str, Any]] | None = None,
        **settings: Any,
    ) -> None:
        self.clock = FakeClock()
        names = "abcdefgh"[: len(scripts)]
        self.transports = {
            name: ScriptedTransport(*(script if type(script) is tuple else (script,)))
            for name, script in zip(names, scripts, strict=True)
        }
        usual = {"api_key": None, **(of_provider or {})}
        providers = [
            ProviderConfig(
                name=name,
                base_url=f"https://{name}.example/v1",
                **{**usual, "api_key": usual["api_key"] or f"key-of-{name}", **(each or {}).get(name, {})},
            )
            for name in names
        ]
        self.router = Router(
            RouterConfig(providers=providers, **settings),
            clock=self.clock,
            random=Random(seed),
            transport=lambda config: self.transports[config.name],
        )
        self.events: list[Event] = []
        self.router.on_event(self.events.append, sync=True)

    def ask(self, **arguments: Any) -> Reply:
        """One call that nothing is special about."""
        return self.router.chat("hi", **{"model": "gpt-4.1", **arguments})

    def lose(self, **arguments: Any) -> FailsafeError:
        """The error that one call ends with."""
        with pytest.raises(FailsafeError) as raised:
            self.ask(**arguments)
        return raised.value

    def asked(self) -> dict[str, int]:
        """How many requests each provider was sent."""
        return {name: len(transport.requests) for name, transport in self.transports.items()}

    def models(self, name: str) -> list[str]:
        """The model of each request that provider *name* was sent."""
        return [request.body["model"] for request in self.transports[name].requests]

    def breaker(self, name: str = "a") -> BreakerStats:
        """The figures of one provider's breaker."""
        return self.router.breakers.get(name).stats()

    def endpoint(self, name: str = "a") -> Endpoint:
        """The router's own record of one provider."""
        return next(endpoint for endpoint in self.router._endpoints if endpoint.name == name)

    def open_breaker(self, name: str = "a") -> None:
        """Open a breaker, and let its open time pass: the next call is a probe."""
        self.router.breakers.get(name).trip()
        self.clock.advance(60)

    def hang(self, request: SentRequest) -> Outcome:
        """Take all the time the attempt was given."""
        return hanging(self.clock)(request)


def takes(bench: Callable[[], Bench], seconds: float, outcome: Outcome) -> Callable[[SentRequest], Outcome]:
    """A script that lets *seconds* pass before *outcome*."""

    def play(request: SentRequest) -> Outcome:
        bench().clock.advance(seconds)
        return outcome

    return play


def failing(fault: Fault, **details: Any) -> Failure:
    """What the transport or the classification reports of *fault*."""
    return Failure(fault=fault, message=f"seen as {fault}", **details)
