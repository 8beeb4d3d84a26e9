"""A healthy exchange before it is put into a dialect: what was asked, and what is answered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from failsafe.sim.answers import Healthy


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """
    What a request asks for, whatever its dialect.

    Attributes:
        model: The model's id.
        prompt: The text of the last user message.
        tools: The names of the tools on offer.
        forced_tools: How many calls the request insists on (0 or 1).
        wanted_tool: The tool it insists on, or "".
        stream: Whether it wants a stream.
        usage_in_stream: Whether it wants usage in the stream.
    """

    model: str
    prompt: str
    tools: tuple[str, ...] = ()
    forced_tools: int = 0
    wanted_tool: str = ""
    stream: bool = False
    usage_in_stream: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolCall:
    """One call of a tool: its id, the tool's name, and the arguments."""

    identifier: str
    name: str
    arguments: Mapping[str, Any]

    def arguments_text(self) -> str:
        """The arguments as JSON text."""
        return json.dumps(self.arguments, ensure_ascii=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Script:
    """
    What is answered, whatever the dialect.

    Attributes:
        vendor: Whose answer it is.
        identifier: Without its prefix.
        model: The model that answers.
        created: Seconds since 1970.
        text: The answer.
        reasoning: Reasoning beside it.
        finish: ``stop``, ``length``, ``content_filter``, ``refusal``, ``tool_calls``, or ``missing``.
        tool_calls: The tools that are called instead of talking.
        prompt_tokens: All prompt tokens,
        cached_tokens: of which from the cache.
        completion_tokens: All answer tokens,
        reasoning_tokens: of which for reasoning.
    """

    vendor: str
    identifier: str
    model: str
    created: int
    text: str
    reasoning: str
    finish: str
    tool_calls: tuple[ToolCall, ...]
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int

    def pieces(self) -> list[str]:
        """The text in pieces of a word each, spaces included, as a stream brings it."""
        return _words(self.text)

    def reasoning_pieces(self) -> list[str]:
        """The reasoning in such pieces."""
        return _words(self.reasoning)


def write_script(provider: str, vendor: str, number: int, now: float, call: Call, reply: Healthy) -> Script:
    """
    The answer to *call*: the same request always gets the same text.

    Args:
        provider: The provider's name, for the text.
        vendor: Whose rules apply to ids.
        number: The number of the request, for ids.
        now: Seconds since 1970.
        call: What was asked.
        reply: What the behaviour wants said.
    """
    calls = _tool_calls(vendor, number, call, reply)
    text = "" if calls else _text(provider, call, reply)
    answer_tokens = _tokens(text) + sum(_tokens(c.arguments_text()) for c in calls)
    return Script(
        vendor=vendor,
        identifier=f"sim{number:024x}",
        model=call.model,
        created=int(now),
        text=text,
        reasoning=reply.reasoning,
        finish="tool_calls" if calls and reply.finish == "stop" else reply.finish,
        tool_calls=calls,
        prompt_tokens=_tokens(call.prompt) + 8 + reply.cached_tokens,
        cached_tokens=reply.cached_tokens,
        completion_tokens=answer_tokens + reply.reasoning_tokens,
        reasoning_tokens=reply.reasoning_tokens,
    )


def _text(provider: str, call: Call, reply: Healthy) -> str:
    if reply.text is not None:
        return reply.text
    return f"provider {provider} says: {call.prompt}"


def _tool_calls(vendor: str, number: int, call: Call, reply: Healthy) -> tuple[ToolCall, ...]:
    if not call.tools:
        return ()
    names = [call.wanted_tool] if call.wanted_tool else list(call.tools)
    wanted = max(reply.tool_calls, call.forced_tools)
    arguments = {"query": call.prompt} if reply.tool_arguments is None else reply.tool_arguments
    return tuple(
        ToolCall(
            identifier=_tool_call_id(vendor, number, index),
            name=names[index % len(names)],
            arguments=arguments,
        )
        for index in range(wanted)
    )


def _tool_call_id(vendor: str, number: int, index: int) -> str:
    if vendor == "mistral":  # takes nothing else back: nine letters or digits
        return f"{number % 10**6:06d}{index:03d}"
    prefix = "toolu_" if vendor == "anthropic" else "call_"
    return f"{prefix}sim{number:08x}{index:02x}"


def _tokens(text: str) -> int:
    """About four characters a token, as a rule of thumb for English."""
    return (len(text) + 3) // 4


def _words(text: str) -> list[str]:
    words = text.split(" ")
    return [word + " " for word in words[:-1]] + ([words[-1]] if words[-1] else [])
