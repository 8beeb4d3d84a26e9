"""Puts the pieces of a streamed answer together, as far as they came."""

from __future__ import annotations

from io import StringIO

from failsafe.chunks import Chunk, Partial, ToolCallDelta
from failsafe.models import Seam, ToolCall


class _Call:
    """A tool call as far as it came."""

    __slots__ = ("arguments", "id", "name")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.arguments = StringIO()


class Collector:
    """Takes in chunks and knows what was received so far. Not thread-safe; grows with the text alone."""

    __slots__ = ("_calls", "_length", "_reasoning", "_refusal", "_seams", "_text")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget all: another provider begins again."""
        self._text = StringIO()
        self._length = 0
        self._reasoning = StringIO()
        self._refusal = StringIO()
        self._calls: dict[int, _Call] = {}
        self._seams: list[Seam] = []

    def add(self, chunk: Chunk) -> None:
        """Take in a piece."""
        if chunk.text:
            self._text.write(chunk.text)
            self._length += len(chunk.text)
        if chunk.reasoning:
            self._reasoning.write(chunk.reasoning)
        if chunk.refusal:
            self._refusal.write(chunk.refusal)
        for delta in chunk.tool_calls:
            self._add_call(delta)

    def _add_call(self, delta: ToolCallDelta) -> None:
        call = self._calls.setdefault(delta.index, _Call())
        call.id = call.id or delta.id
        call.name = call.name or delta.name
        call.arguments.write(delta.arguments)

    def add_seam(self, provider: str, model: str) -> None:
        """Note that *provider* goes on from here."""
        self._seams.append(Seam(offset=self._length, provider=provider, model=model))

    @property
    def text_length(self) -> int:
        """Characters of text so far."""
        return self._length

    @property
    def seams(self) -> tuple[Seam, ...]:
        """Where one provider went on with what another had begun."""
        return tuple(self._seams)

    @property
    def text(self) -> str:
        """The text so far."""
        return self._text.getvalue()

    @property
    def calls_tools(self) -> bool:
        """Whether a tool call has begun."""
        return bool(self._calls)

    def partial(self) -> Partial:
        """All that was received."""
        return Partial(
            text=self.text,
            reasoning=self._reasoning.getvalue(),
            refusal=self._refusal.getvalue(),
            tool_calls=tuple(
                ToolCall(id=call.id, name=call.name, arguments=call.arguments.getvalue())
                for _, call in sorted(self._calls.items())
            ),
            seams=self.seams,
        )
