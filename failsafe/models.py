"""
The values of one call: what is asked, what is answered, and the receipt of the way there.

All are frozen, keyword-only and safe to share between threads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal, TypedDict

import msgspec

from failsafe.errors import AuthenticationFailed, ContentFiltered, ProviderFault, UnsupportedParameter
from failsafe.faults import REACTIONS, Fault
from failsafe.pricing import Rates, bill

Message = Mapping[str, Any]
"""One message in OpenAI's chat form: ``{"role": ..., "content": ...}``."""


class ChatParameters(TypedDict, total=False):
    """
    The optional parameters of a chat call, in OpenAI's names and meanings.

    Only what is given is sent. A target that takes one differently gets it mapped, clamped or
    dropped by a stated rule, which ``reply.adjustments`` lists.
    """

    temperature: float
    """0 to 2."""
    max_tokens: int
    """The most tokens to answer with, reasoning included; at least 1."""
    top_p: float
    """0 to 1."""
    stop: str | Sequence[str]
    """Up to four texts that end the answer."""
    seed: int
    presence_penalty: float
    """-2 to 2."""
    frequency_penalty: float
    """-2 to 2."""
    tools: Sequence[Mapping[str, Any]]
    """``[{"type": "function", "function": {"name", "description", "parameters"}}]``."""
    tool_choice: str | Mapping[str, Any]
    """``"auto"``, ``"none"``, ``"required"``, or ``{"type": "function", "function": {"name": ...}}``."""
    parallel_tool_calls: bool
    response_format: Mapping[str, Any]
    """``{"type": "text" | "json_object"}`` or ``{"type": "json_schema", "json_schema": {...}}``."""
    reasoning_effort: str
    """``none``, ``minimal``, ``low``, ``medium``, ``high``, ``xhigh`` or ``max``; models take a subset."""
    logit_bias: Mapping[str, float]
    logprobs: bool
    top_logprobs: int
    user: str
    """Your own id of the end user, for the provider's abuse detection."""
    metadata: Mapping[str, str]


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """
    One validated chat request, before any provider was chosen.

    Attributes:
        model: The model or alias asked for.
        messages: The conversation in OpenAI's chat form; never changed.
        parameters: What of :class:`ChatParameters` was given.
        extra: Fields that are passed to every target as they are.
        needs: What a target must be able to do: a subset of ``{"tools", "images", "json_schema"}``.
        stream: Whether the answer is asked for as a stream.
        extra_for: The dialect that alone is sent ``extra``, or "" for every one.
    """

    model: str
    messages: Sequence[Message]
    parameters: Mapping[str, Any] = {}
    extra: Mapping[str, Any] = {}
    needs: frozenset[str] = frozenset()
    stream: bool = False
    extra_for: str = ""


FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call of a tool that the model asks for; ``arguments`` is JSON text as the model wrote it, maybe invalid."""

    id: str
    name: str
    arguments: str


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """
    Tokens of one answer, counted alike for every provider.

    ``prompt_tokens`` includes cached ones and ``completion_tokens`` includes reasoning, as OpenAI
    counts; the other dialects are converted. Zero where the provider does not say.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    """Prompt tokens read from the provider's cache; part of ``prompt_tokens``."""
    cache_write_tokens: int = 0
    """Prompt tokens written to the provider's cache; part of ``prompt_tokens``."""
    reasoning_tokens: int = 0
    """Part of ``completion_tokens``."""
    cost_usd: Decimal | None = None
    """USD that the provider itself says it charges, where it says so."""

    @property
    def total_tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens


class Adjustment(msgspec.Struct, frozen=True, kw_only=True):
    """One thing about the request that was changed for the target, e.g. ``temperature`` ``clamped`` ``1.7 to 1.0``."""

    parameter: str
    action: Literal["dropped", "clamped", "mapped", "rewritten"]
    detail: str


class Phase(StrEnum):
    """How far an attempt came."""

    DNS = "dns"
    CONNECT = "connect"
    PROXY = "proxy"
    TLS = "tls"
    SEND = "send"
    WAIT = "wait"
    """The request is written; waiting for the first byte of the answer and its headers."""
    READ = "read"
    """Reading the body."""
    DONE = "done"


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """
    One recognised failure, as transport, classification and dialects report it.

    A value, not an exception: it holds nothing foreign and no key.

    Attributes:
        fault: The row of the fault table.
        message: What happened, for a person; masked and at most some 500 characters.
        status: HTTP status, where there was an answer.
        code: The provider's own code or type.
        request_id: The provider's id of the request.
        retry_after: Seconds the provider asked for, or None.
        should_retry: The provider's ``x-should-retry``, or None.
        whole_key: The limit or quota belongs to the key, not to the model alone.
        parameter: The refused parameter, for ``UNSUPPORTED_PARAMETER``.
        diagnosis: What is wrong with the key, for ``AUTH``.
        partial: The text received before the failure, for ``CONTENT_FILTER`` and ``TRUNCATED``.
        phase: How far the attempt came.
        bytes_received: Body bytes seen.
        maybe_billed: Whether the provider may charge for the attempt.
    """

    fault: Fault
    message: str
    status: int | None = None
    code: str | None = None
    request_id: str | None = None
    retry_after: float | None = None
    should_retry: bool | None = None
    whole_key: bool = False
    parameter: str | None = None
    diagnosis: str = ""
    partial: str = ""
    phase: Phase = Phase.DONE
    bytes_received: int = 0
    maybe_billed: bool = False

    def error(self, provider: str | None, attempts: tuple[Attempt, ...] = ()) -> ProviderFault:
        """The exception that says this to a caller."""
        kind = REACTIONS[self.fault].error
        own = _OWN_DETAILS.get(kind)
        details = {own: getattr(self, own)} if own else {}
        said = f"{provider}: {self.message}" if provider else self.message
        return kind(
            f"{said}; {REACTIONS[self.fault].advice}",
            provider=provider, status=self.status, request_id=self.request_id, code=self.code,
            retry_after=self.retry_after, attempts=attempts, **details,
        )  # fmt: skip


_OWN_DETAILS: dict[type[ProviderFault], str] = {
    AuthenticationFailed: "diagnosis",
    ContentFiltered: "partial",
    UnsupportedParameter: "parameter",
}
"""What an error tells beyond the rest, under the same name as the failure does."""


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """
    One line of a receipt: one request to one provider.

    Attributes:
        provider: The provider's configured name.
        model: The model id that was sent.
        key: The key's fingerprint, or "" without a key.
        round: 1 for the first round over the providers.
        phase: How far it came.
        fault: What went wrong, or None for the answer.
        message: What went wrong, for a person.
        status: HTTP status, where there was an answer.
        request_id: The provider's id of the request.
        retry_after: Seconds the provider asked for.
        latency_ms: Milliseconds from the decision to send until the outcome.
        started_at: Seconds since 1970-01-01 UTC.
        bytes_received: Body bytes seen.
        usage: Tokens, when the attempt was answered.
        maybe_billed: Whether the provider may charge for it although it failed.
        hedge: Whether it was started while another attempt of the same call was under way.
        first_content_ms: Milliseconds until the first content of an answer that came as a stream; else None.
        blamed: Whether its failure speaks against the provider, as its breaker judges.
        rates: What its tokens cost, where it was answered and the price is known.
    """

    provider: str
    model: str
    key: str = ""
    round: int = 1
    phase: Phase = Phase.DONE
    fault: Fault | None = None
    message: str = ""
    status: int | None = None
    request_id: str | None = None
    retry_after: float | None = None
    latency_ms: float = 0.0
    started_at: float = 0.0
    bytes_received: int = 0
    usage: Usage | None = None
    maybe_billed: bool = False
    hedge: bool = False
    first_content_ms: float | None = None
    blamed: bool = False
    rates: Rates | None = None

    @property
    def cost_usd(self) -> Decimal | None:
        """
        What it cost in USD, exactly; None where that is not known, which is not nothing.

        What the provider itself says comes first; else tokens by the price in force when it began.
        """
        usage = self.usage
        if usage is None:
            return None
        if usage.cost_usd is not None or self.rates is None:
            return usage.cost_usd
        if not usage.total_tokens and (self.rates.input or self.rates.output):
            return None  # the provider did not say how many there were
        return bill(
            self.rates,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            cached_tokens=usage.cached_tokens,
            cache_write_tokens=usage.cache_write_tokens,
        )


class SkipReason(StrEnum):
    """Why a provider was not asked."""

    BREAKER_OPEN = "breaker_open"
    COOLING = "cooling"
    KEY_OFF = "key_off"
    MODEL_OFF = "model_off"
    PROVIDER_OFF = "provider_off"
    CANNOT_EXPRESS = "cannot_express"
    """The request needs what this target cannot do (tools, images, a JSON schema, a larger context)."""
    TRIES_USED_UP = "tries_used_up"
    RETRY_BUDGET = "retry_budget"
    BULKHEAD = "bulkhead"
    """As many calls as it may have are under way."""
    RATE_LIMIT = "rate_limit"
    """It would refuse: its own limit, or one of yours, is used up for now."""
    DRAINING = "draining"
    SPEND_LIMIT = "spend_limit"
    """It is estimated to cost more than a cap of yours leaves."""
    CONSTRAINT = "constraint"
    """The call itself rules it out: ``only``, ``exclude``, ``max_cost_usd``."""


class Skip(msgspec.Struct, frozen=True, kw_only=True):
    """
    One line of a receipt: a provider that was left alone, and why.

    ``retry_after`` is in seconds, where known; ``fault`` is the earlier one that it is left alone for, if that is why.
    """

    provider: str
    model: str
    reason: SkipReason
    detail: str
    retry_after: float | None = None
    fault: Fault | None = None


class Seam(msgspec.Struct, frozen=True, kw_only=True):
    """Where another provider went on with a streamed answer: after so many characters of its text, and who."""

    offset: int
    provider: str
    model: str


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a dialect reads out of one complete answer.

    Attributes:
        content: The text; "" when there is none.
        finish_reason: Normalised; the provider's own word is in ``raw``.
        tool_calls: Calls the model asks for.
        usage: Tokens, normalised.
        model: The model that says it answered, or "" when the provider does not tell.
        id: The provider's id of the answer.
        refusal: The model's own refusal, where the dialect has a field for it.
        reasoning: The reasoning text, where the provider shows it.
        provider_data: What the same provider and model want back with the history (thinking
            blocks, signatures), or None.
        raw: The decoded body.
    """

    content: str
    finish_reason: FinishReason
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage = Usage()
    model: str = ""
    id: str = ""
    refusal: str | None = None
    reasoning: str | None = None
    provider_data: Mapping[str, Any] | None = None
    raw: Any = None


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """
    A complete answer, and the receipt of how it came about.

    Attributes:
        content: The text; "" when the model only calls tools or refuses.
        provider: The configured name of the provider that answered.
        model: The model that says it answered.
        asked_model: The model id that was sent; differs from ``model`` when the provider
            answered with another one.
        finish_reason: ``stop``, ``length``, ``tool_calls`` or ``content_filter``.
        tool_calls: Calls the model asks for.
        usage: Tokens, normalised.
        id: The provider's id of the answer.
        request_id: The provider's id of the request.
        refusal: The model's own refusal, if any.
        reasoning: The reasoning text, where the provider shows it.
        latency_ms: Milliseconds of the whole call, failed attempts and waits included.
        attempts: Every request that was sent, in order; the last one is the answer.
        skipped: Providers that were left alone, and why.
        adjustments: What was changed about the request for this target.
        provider_data: What the same provider and model want back with the history.
        raw: The provider's decoded body.
        fallback: Whether nobody answered, and this is the router's own last answer.
        seams: Where one provider went on with a streamed answer that another had begun.
    """

    content: str
    provider: str
    model: str
    asked_model: str
    finish_reason: FinishReason
    tool_calls: tuple[ToolCall, ...]
    usage: Usage
    id: str
    request_id: str | None
    refusal: str | None
    reasoning: str | None
    latency_ms: float
    attempts: tuple[Attempt, ...]
    skipped: tuple[Skip, ...]
    adjustments: tuple[Adjustment, ...]
    provider_data: Mapping[str, Any] | None
    raw: Any
    fallback: bool = False
    seams: tuple[Seam, ...] = ()

    @property
    def cost_usd(self) -> Decimal | None:
        """What the answer cost in USD, exactly; None where that is not known. See :attr:`Attempt.cost_usd`."""
        return next((each.cost_usd for each in reversed(self.attempts) if each.usage is not None), None)

    @property
    def message(self) -> dict[str, Any]:
        """
        This answer as an assistant message to append to the history.

        ``provider_data`` travels with it and is sent back only to the provider and model it came
        from; for any other target it is left out.
        """
        message: dict[str, Any] = {"role": "assistant", "content": self.content or None}
        if self.refusal:
            message["refusal"] = self.refusal
        if self.tool_calls:
            message["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in self.tool_calls
            ]
        if self.provider_data:
            message["provider_data"] = {
                "provider": self.provider, "model": self.asked_model, "data": self.provider_data,
            }  # fmt: skip
        return message
