"""The values of a streamed answer: its pieces, and what was received of one that broke off."""

from __future__ import annotations

from typing import Literal

import msgspec

from failsafe.models import FinishReason, Seam, ToolCall, Usage

OnInterrupt = Literal["raise", "restart", "continue"]
"""What a stream does that breaks off after its first piece."""

ON_INTERRUPT: tuple[OnInterrupt, ...] = ("raise", "restart", "continue")


class ToolCallDelta(msgspec.Struct, frozen=True, kw_only=True):
    """
    A piece of one tool call.

    Attributes:
        index: Which of the answer's tool calls it belongs to, from 0.
        id: The call's id, in its first piece; else "".
        name: The tool's name, in its first piece; else "".
        arguments: What follows of the JSON text of the arguments.
    """

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """
    One piece of a streamed answer. The last one carries ``finish_reason`` and ``usage``, and no text.

    Attributes:
        provider: The configured name of the provider it came from.
        model: The model id that was asked for.
        text: What follows of the text.
        reasoning: What follows of the reasoning, where the provider shows it.
        refusal: What follows of the model's own refusal.
        tool_calls: Pieces of tool calls.
        finish_reason: Why the answer ended, in the last chunk only.
        usage: Tokens, in the last chunk only.
        event: ``delta``: a further piece. ``restarted``: drop all that came before, *provider* begins again.
            ``continued``: *provider* goes on from here with the answer that another one began.
    """

    provider: str
    model: str
    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    event: Literal["delta", "restarted", "continued"] = "delta"


class Partial(msgspec.Struct, frozen=True, kw_only=True):
    """
    What was received of an answer that broke off.

    Attributes:
        text: The text so far.
        reasoning: The reasoning so far.
        refusal: The model's own refusal so far.
        tool_calls: The tool calls begun; the arguments of the last one are probably cut.
        seams: Where one provider went on with what another had begun.
    """

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    seams: tuple[Seam, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing was received."""
        return not (self.text or self.reasoning or self.refusal or self.tool_calls)
