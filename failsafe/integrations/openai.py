"""
The official ``openai`` SDK over a router.

::

    from openai import OpenAI
    from failsafe.integrations import openai as failsafe_openai

    client = OpenAI(api_key="unused", http_client=failsafe_openai.client(router))
    client.chat.completions.create(model="fast", messages=[...])

See ``docs/drop-ins.md``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from failsafe.chunks import OnInterrupt
from failsafe.inbound.openai import OpenAIFormat
from failsafe.integrations.http_client import sdk_client
from failsafe.router import Router

if TYPE_CHECKING:
    import httpx2

__all__ = ["client"]


def client(
    router: Router, *, on_interrupt: OnInterrupt = "raise", other_requests: httpx2.BaseTransport | None = None
) -> httpx2.Client:
    """
    The ``http_client`` for an ``OpenAI`` whose chat completions and embeddings *router* answers. Thread-safe.

    The SDK's key and base URL are never sent anywhere. The ``timeout`` of the SDK or of one request (the SDK's own
    default is 600 seconds) is the deadline of the whole call, a stream's last piece included; ``timeout=None`` leaves
    it to the router. The SDK repeats nothing, as the router has done so.

    Everything but ``POST .../chat/completions`` and ``POST .../embeddings`` (responses, files, the list of models) is
    refused with ``NotFoundError`` unless *other_requests* says otherwise: a program that was moved over must not go on
    sending its key to an address that nobody has looked at again.

    Args:
        router: Who asks the providers. It is not closed with the client.
        on_interrupt: What happens to a stream that breaks off: ``raise`` (``openai.APIError``) or ``continue`` (the
            next provider goes on, and the SDK does not notice).
        other_requests: Sends all other requests, with the SDK's key to the SDK's base URL: ``httpx2.HTTPTransport()``.

    Raises:
        ConfigError: The SDK is not installed, or *on_interrupt* is neither.
    """
    return sdk_client(
        router,
        OpenAIFormat(),
        sdk="openai",
        chat_path="/chat/completions",
        on_interrupt=on_interrupt,
        other_requests=other_requests,
    )
