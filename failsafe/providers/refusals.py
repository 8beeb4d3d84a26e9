"""Which parameter an error complains about, in the names of :class:`failsafe.models.ChatParameters`."""

from __future__ import annotations

import re

from failsafe.providers.error_body import ErrorBody

_NAME = r"[A-Za-z_][\w.\[\]]*"
_IN_WORDS = (
    # Anthropic and servers on pydantic begin with the place: "top_k: Extra inputs are not permitted".
    re.compile(rf"^({_NAME}): "),
    # Gemini: Unknown name "topK" at 'generation_config'.
    re.compile(rf"unknown name \"({_NAME})\"", re.IGNORECASE),
    # OpenAI: "Unrecognized request argument supplied: foo"; xAI: "Argument not supported on this model: stop".
    re.compile(rf"\b(?:argument|parameter)s?\b[^:'\"`]{{0,60}}: ?['\"`]?({_NAME})", re.IGNORECASE),
    # xAI: "Model grok-4 does not support parameter presencePenalty".
    re.compile(rf"\bsupport (?:the )?parameter ['\"`]?({_NAME})", re.IGNORECASE),
    # OpenAI: "Unsupported value: 'temperature' does not ..."; Anthropic: "`temperature` is deprecated ...".
    re.compile(rf"['\"`]({_NAME})['\"`]"),
    re.compile(r"\b(max_tokens)\b"),
)

_OWN_NAMES = {
    "max_output_tokens": "max_tokens",
    "stop_sequences": "stop",
    "random_seed": "seed",
    "thinking_config": "reasoning_effort",
    "thinking_budget": "reasoning_effort",
    "thinking_level": "reasoning_effort",
    "budget_tokens": "reasoning_effort",
    "effort": "reasoning_effort",
    "response_logprobs": "logprobs",
    "response_schema": "response_format",
    "response_json_schema": "response_format",
    "response_mime_type": "response_format",
    "user_id": "user",
}
"""The vendors' names, in snake case, for what is called otherwise here. ``max_completion_tokens`` is none of them: a
server that refuses it may take ``max_tokens``."""

_CONTAINERS = ("generation_config.", "output_config.", "metadata.", "thinking.")
_CAMEL_HUMP = re.compile(r"(?<=[a-z0-9])([A-Z])")


def refused_parameter(said: ErrorBody) -> str | None:
    """
    Return the parameter that *said* complains about, or None when it does not tell. Never raises.

    The body's own field for it, else the first name in the message. A place inside another field
    (``messages.0.name``) is returned as it is.
    """
    named = said.parameter or _named_in(said.message)
    return _own_name(named) if named else None


def _named_in(message: str) -> str | None:
    for pattern in _IN_WORDS:
        match = pattern.search(message)
        if match:
            return match[1].rstrip(".")
    return None


def _own_name(named: str) -> str:
    snake = _CAMEL_HUMP.sub(r"_\1", named).lower()
    for container in _CONTAINERS:
        snake = snake.removeprefix(container)
    return _OWN_NAMES.get(snake, snake)
