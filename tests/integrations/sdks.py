"""Official SDKs over routers over fake providers on loopback sockets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import anthropic
import openai

from failsafe.integrations import anthropic as failsafe_anthropic
from failsafe.integrations import openai as failsafe_openai
from failsafe.router import Router
from failsafe.sim import FakeCloud, FakeProvider
from tests.acceptance.routers import PATIENCE, config

SDK_KEY = "sk-proj-the-sdk-believes-to-send-this-51a7"
"""The key that the SDK is given, and that nobody may ever receive."""


@dataclass(frozen=True)
class Asked:
    """Fake providers, and a router over them."""

    cloud: FakeCloud
    router: Router

    def __getitem__(self, name: str) -> FakeProvider:
        return self.cloud[name]

    def count(self) -> dict[str, int]:
        """How many requests each provider was sent."""
        return {provider.name: provider.count() for provider in self.cloud}

    def received(self) -> bytes:
        """All that any provider was sent."""
        return b"".join(provider.bytes_received for provider in self.cloud)


@contextmanager
def asked(*vendors: str, of: dict[str, dict[str, Any]] | None = None, **settings: Any) -> Iterator[Asked]:
    """A router over fake *vendors*, by default one a dialect; further arguments are its settings."""
    with FakeCloud.of(*(vendors or ("openai", "anthropic", "gemini"))) as cloud:
        router = Router(config(cloud, of=of, **settings))
        try:
            yield Asked(cloud, router)
        finally:
            router.close(timeout=PATIENCE)


@contextmanager
def openai_over(router: Router, **settings: Any) -> Iterator[openai.OpenAI]:
    """The ``openai`` SDK, answered by *router*; ``max_retries`` and the rest are the SDK's own defaults."""
    client = failsafe_openai.client(router, **_of_client(settings))
    with openai.OpenAI(api_key=SDK_KEY, http_client=client, **settings) as sdk:
        yield sdk


@contextmanager
def anthropic_over(router: Router, **settings: Any) -> Iterator[anthropic.Anthropic]:
    """The ``anthropic`` SDK, answered by *router*; as :func:`openai_over`."""
    client = failsafe_anthropic.client(router, **_of_client(settings))
    with anthropic.Anthropic(api_key=SDK_KEY, http_client=client, **settings) as sdk:
        yield sdk


def _of_client(settings: dict[str, Any]) -> dict[str, Any]:
    """Those of *settings* that are failsafe's and not the SDK's, taken out."""
    return {name: settings.pop(name) for name in ("on_interrupt", "other_requests") if name in settings}


def nothing_held(router: Router) -> bool:
    """Whether no provider has a call under way."""
    return all(stats["in_flight"] == 0 for stats in router.stats().values())


def idle(provider: FakeProvider) -> bool:
    """Whether nobody is connected to *provider*."""
    return provider.open_connections == 0
