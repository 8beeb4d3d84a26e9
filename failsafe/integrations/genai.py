"""
A call, its attempts and its answer in the words of OpenTelemetry's semantic conventions for generative AI.

Names and values follow version 1.37 to 1.41 of the conventions (``gen_ai.provider.name``, not the older
``gen_ai.system``); what they have no word for is named ``failsafe.*``. Nothing here is a text of a prompt, an answer
or a provider's message, which may repeat either. ``docs/opentelemetry.md`` lists them.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

from failsafe.config import ProviderConfig, RouterConfig
from failsafe.events import CLOSED, CallFinished, CallStarted, PutOff, StateChanged
from failsafe.faults import Fault
from failsafe.masking import mask
from failsafe.models import Attempt, Usage

Attributes = dict[str, str | bool | int | float]

DURATION = "gen_ai.client.operation.duration"
TOKEN_USAGE = "gen_ai.client.token.usage"  # noqa: S105 -- a metric
TIME_TO_FIRST_CHUNK = "gen_ai.client.operation.time_to_first_chunk"

DURATION_BUCKETS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""Seconds, as the conventions recommend."""
TOKEN_BUCKETS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
"""Tokens, as the conventions recommend."""

PROVIDER_NAME = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
RESPONSE_MODEL = "gen_ai.response.model"
OPERATION_NAME = "gen_ai.operation.name"
ERROR_TYPE = "error.type"
TOKEN_TYPE = "gen_ai.token.type"  # noqa: S105 -- an attribute

_OF_VENDORS = {"azure": "azure.ai.openai", "gemini": "gcp.gemini", "mistral": "mistral_ai", "xai": "x_ai"}
"""The conventions' names of vendors that we call otherwise."""
_LONGEST_WORD = 200
_PORTS = {"https": 443, "http": 80}


class Peer(NamedTuple):
    """
    A provider as the other end of a request.

    Attributes:
        name: As configured.
        system: As the conventions call it; the vendor whose dialect it speaks where the settings name none.
        address: The host of its base URL.
        port: The port.
        attributes: All but its name, as attributes.
    """

    name: str
    system: str
    address: str
    port: int
    attributes: Attributes


def peers(config: RouterConfig) -> dict[str, Peer]:
    """The providers of *config* by name."""
    return {provider.name: _peer(provider) for provider in config.providers}


def _peer(provider: ProviderConfig) -> Peer:
    vendor = provider.preset or provider.dialect
    url = urlsplit(provider.base_url)
    port = url.port or _PORTS.get(url.scheme, 443)
    system, address = _OF_VENDORS.get(vendor, vendor), url.hostname or ""
    attributes: Attributes = {PROVIDER_NAME: system, "server.address": address, "server.port": port}
    return Peer(provider.name, system, address, port, attributes)


@lru_cache(maxsize=1024)
def word(name: str) -> str:
    """A name that callers choose, where a key may have slipped in: masked, in one line, and not too long."""
    return mask(name[: 10 * _LONGEST_WORD])[:_LONGEST_WORD]


def of_start(started: CallStarted) -> Attributes:
    """What is known of a call when it begins, for samplers to decide by."""
    attributes: Attributes = {
        OPERATION_NAME: started.operation,
        REQUEST_MODEL: word(started.asked_model),
        "failsafe.call_id": started.call_id,
    }
    if started.stream:
        attributes["gen_ai.request.stream"] = True
    if started.tag:
        attributes["failsafe.tag"] = word(started.tag)
    return attributes


def of_end(finished: CallFinished, answer: Attempt | None, cost: Decimal | None) -> Attributes:
    """What is known of a call when it has ended; *answer* is the attempt that brought the answer, at this *cost*."""
    attributes: Attributes = {"failsafe.attempts": finished.attempts}
    if finished.model:
        attributes[RESPONSE_MODEL] = finished.model
    if finished.maybe_billed:
        attributes["failsafe.maybe_billed"] = finished.maybe_billed
    if finished.error == CLOSED:
        attributes["failsafe.closed"] = True
    elif finished.error is not None and finished.provider is not None:
        attributes["failsafe.fallback"] = True
    if answer is not None and answer.usage is not None:
        attributes |= of_usage(answer.usage)
        if cost is not None:
            attributes["failsafe.cost_usd"] = float(cost)
    return attributes


def error_of(finished: CallFinished) -> str | None:
    """
    The class name of the error that the caller got, or None.

    A reader who closes a stream has seen no error, nor has a caller who was given the router's own last answer.
    """
    return None if finished.error == CLOSED or finished.provider is not None else finished.error


def of_usage(usage: Usage) -> Attributes:
    """The tokens of an answer; parts of the two sums only where there are any."""
    attributes: Attributes = {
        "gen_ai.usage.input_tokens": usage.prompt_tokens,
        "gen_ai.usage.output_tokens": usage.completion_tokens,
    }
    parts = {
        "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_write_tokens,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens,
    }
    return attributes | {name: count for name, count in parts.items() if count}


def of_attempt(attempt: Attempt, peer: Peer | None) -> Attributes:
    """What is known of one request, without its tokens: those are the call's, and must not be added up twice."""
    attributes: Attributes = {
        **(peer.attributes if peer is not None else {}),
        REQUEST_MODEL: word(attempt.model),
        "failsafe.provider": attempt.provider,
        "failsafe.round": attempt.round,
        "failsafe.hedge": attempt.hedge,
        "failsafe.phase": attempt.phase.value,
        "failsafe.bytes_received": attempt.bytes_received,
    }
    known: Mapping[str, str | float | None] = {
        "http.response.status_code": attempt.status,
        "failsafe.request_id": attempt.request_id,
        "failsafe.retry_after": attempt.retry_after,
    }
    attributes |= {name: value for name, value in known.items() if value is not None}
    if attempt.first_content_ms is not None:
        attributes["failsafe.time_to_first_content"] = attempt.first_content_ms / 1000
    if attempt.fault is not None:
        attributes |= {
            "failsafe.fault": attempt.fault.value,
            "failsafe.blamed": attempt.blamed,
            "failsafe.maybe_billed": attempt.maybe_billed,
        }
        if is_error(attempt):
            attributes[ERROR_TYPE] = attempt.fault.value
    return attributes


def is_error(attempt: Attempt) -> bool:
    """Whether it failed, rather than was called off: a hedge that has lost is no error."""
    return attempt.fault is not None and attempt.fault is not Fault.CANCELLED


def of_news(event: StateChanged | PutOff) -> tuple[str, Attributes]:
    """The name and the attributes of what happened to a provider amid a call; never why, in a provider's words."""
    if isinstance(event, StateChanged):
        return "failsafe.breaker.state_changed", {
            "failsafe.breaker": event.name,
            "failsafe.breaker.old_state": event.old.value,
            "failsafe.breaker.state": event.new.value,
        }
    attributes: Attributes = {
        "failsafe.provider": event.provider,
        "failsafe.fault": event.fault.value,
        "failsafe.retry_after": event.seconds,
    }
    return "failsafe.put_off", attributes


def first_chunk(started: CallStarted, answer: Attempt | None) -> float | None:
    """Seconds from the beginning of a call to the first content of its stream; None: it was none, or had none."""
    if not started.stream or answer is None or answer.first_content_ms is None:
        return None
    return max(0.0, answer.started_at - started.at) + answer.first_content_ms / 1000
