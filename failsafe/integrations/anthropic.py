"""
The official ``anthropic`` SDK over a router.

::

    from anthropic import Anthropic
    from failsafe.integrations import anthropic as failsafe_anthropic

    client = Anthropic(api_key="unused", http_client=failsafe_anthropic.client(router))
    client.messages.create(model="fast", max_tokens=1000, messages=[...])

See ``docs/drop-ins.md``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from failsafe.chunks import OnInterrupt
from failsafe.inbound.anthropic import AnthropicFormat
from failsafe.integrations.http_client import sdk_client
from failsafe.router import Router

if TYPE_CHECKING:
    import httpx2

__all__ = ["client"]


def client(
    router: Router, *, on_interrupt: OnInterrupt = "raise", other_requests: httpx2.BaseTransport | None = None
) -> httpx2.Client:
    """
    The ``http_client`` for an ``Anthropic`` whose messages *router* answers, whoever it asks for them. Thread-safe.

    As :func:`failsafe.integrations.openai.client`, for ``POST /v1/messages``.

    Args:
        router: Who asks the providers. It is not closed with the client.
        on_interrupt: What happens to a stream that breaks off: ``raise`` (``anthropic.APIError``) or ``continue`` (the
            next provider goes on, and the SDK does not notice).
        other_requests: Sends all other requests, with the SDK's key to the SDK's base URL: ``httpx2.HTTPTransport()``.

    Raises:
        ConfigError: The SDK is not installed, or *on_interrupt* is neither.
    """
    return sdk_client(
        router,
        AnthropicFormat(),
        sdk="anthropic",
        chat_path="/v1/messages",
        on_interrupt=on_interrupt,
        other_requests=other_requests,
    )
