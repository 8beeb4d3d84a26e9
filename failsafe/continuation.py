"""How a provider is asked to go on with an answer that another one has begun."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from failsafe.models import ChatRequest, Message

INSTRUCTION = (
    "Your last message was cut off by a technical fault. Go on with it exactly where it stops: begin with the very "
    "next character, repeat nothing of what is there already, and write no introduction and no comment on this."
)
"""What a model is told that does not go on by itself with a message of its own at the end of the conversation."""

_FREE_CHOICES = (None, "auto", "none")
_OWN_FORMATS = (
    ("output_config", "format"),
    ("generationConfig", "responseMimeType"),
    ("generationConfig", "responseSchema"),
    ("generationConfig", "responseJsonSchema"),
)
"""Where Anthropic's and Gemini's own fields ask for JSON."""


def may_continue(request: ChatRequest) -> str | None:
    """
    Why no answer to *request* can be gone on with once it has begun, in words; None: it can.

    An answer that has begun to call a tool cannot be gone on with either; the request does not tell.
    """
    form = request.parameters.get("response_format")
    if form is not None and form["type"] != "text":
        return f"response_format {form['type']} asks for one whole document, which no second model would go on with"
    own = _own_format(request.extra)
    if own is not None:
        return f"extra {own} asks for one whole document, which no second model would go on with"
    if request.parameters.get("tool_choice") not in _FREE_CHOICES:
        return "tool_choice asks for the call of a tool, which no second model would go on with"
    if request.parameters.get("logprobs"):
        return "logprobs are wanted, and those of the first part are lost"
    if request.messages[-1].get("role") == "assistant":
        return "the conversation itself ends with a message that the model is to go on with"
    return None


def _own_format(extra: Mapping[str, Any]) -> str | None:
    """The vendor's own field that asks for something else than text, if there is one."""
    for holder, field in _OWN_FORMATS:
        settings = extra.get(holder)
        if isinstance(settings, Mapping) and settings.get(field) not in (None, "text/plain"):
            return f"{holder}.{field}"
    return None


def continued(request: ChatRequest, text: str, *, prefill: bool) -> ChatRequest:
    """
    The request that has a provider go on with an answer.

    Args:
        request: The request as the caller made it; never changed.
        text: What there is of the answer. With white space alone there is nothing to go on with: it begins anew.
        prefill: Whether the model goes on with a message of its own at the end of the conversation; else it is told to.
    """
    if not text.strip():
        return request
    added: list[Message] = [{"role": "assistant", "content": text}]
    if not prefill:
        added.append({"role": "user", "content": INSTRUCTION})
    return msgspec.structs.replace(request, messages=[*request.messages, *added])


def repeated_space(space: str, text: str) -> tuple[str, str]:
    """
    Take white space off the beginning of a continuation that the answer before it ends with already.

    A message to go on with may not end in white space, so it is sent without; a model that goes on with it may
    begin with that very white space again.

    Args:
        space: White space that may still be repeated.
        text: The next piece of the continuation.

    Returns:
        The piece without it, and what may still be repeated by the piece after it: nothing once one differs.
    """
    common = 0
    while common < min(len(space), len(text)) and space[common] == text[common]:
        common += 1
    rest = space[common:] if common == len(text) else ""
    return text[common:], rest
