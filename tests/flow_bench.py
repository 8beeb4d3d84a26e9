"""One streamed answer of each dialect, as its vendor sends it, and what a flow makes of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any, NamedTuple

from urllib3 import HTTPHeaderDict

from failsafe.chunks import Chunk
from failsafe.collector import Collector
from failsafe.config import ProviderConfig
from failsafe.deadline import CancelToken, Deadline
from failsafe.faults import Fault
from failsafe.flow import Flow, Silence
from failsafe.models import Answer, Failure, Phase
from failsafe.providers import registry
from failsafe.providers.base import Target
from failsafe.reading import Answered
from failsafe.sim import anthropic, gemini, openai
from failsafe.sim.behaviour import StreamShape
from failsafe.sim.dialect import Event
from failsafe.sim.script import Script, ToolCall
from failsafe.sim.streams import encode
from failsafe.testing import FakeClock, ScriptedStream, StreamPiece, StreamScript, failing
from failsafe.transport.base import Limits

VENDORS: dict[str, ModuleType] = {"openai": openai, "anthropic": anthropic, "gemini": gemini}
KEY = "MARKED.open.sesame"
FIRST, STALL, WHOLE = 10.0, 5.0, 100.0
CUT = failing(Fault.DISCONNECTED, "the connection was cut", phase=Phase.READ, maybe_billed=True)
CALLS = (
    ToolCall(identifier="call_abcdef001", name="search", arguments={"query": "é 漢", "deep": {"a": [1, {}]}}),
    ToolCall(identifier="call_abcdef002", name="now", arguments={}),
)


def script(**said: Any) -> Script:
    """What is answered; short, and with characters of several bytes."""
    usual: dict[str, Any] = {
        "vendor": "openai",
        "identifier": "abc123",
        "model": "m-1",
        "created": 1_800_000_000,
        "text": "Hé, 漢字 \U0001f600 bye",
        "reasoning": "",
        "finish": "stop",
        "tool_calls": (),
        "prompt_tokens": 7,
        "cached_tokens": 0,
        "completion_tokens": 5,
        "reasoning_tokens": 0,
    }
    return Script(**{**usual, **said})


def events(vendor: str, what: Script | None = None, **shape: Any) -> list[Event]:
    """The events of an answer."""
    settings = {"usage": True, **shape}
    return list(VENDORS[vendor].events(what or script(vendor=vendor), StreamShape(**settings)))


def pieces(vendor: str, what: Script | None = None, *, newline: str = "\n", **shape: Any) -> list[bytes]:
    """The bytes of each event of an answer."""
    return [encode(event, newline) for event in events(vendor, what, **shape)]


def right(vendor: str, what: Script | None = None) -> Answer:
    """What the same answer says that is not streamed."""
    target = _target(vendor)
    read: Answer | Failure = registry.dialect_named(vendor).read(
        VENDORS[vendor].answer(what or script(vendor=vendor)), target
    )
    assert isinstance(read, Answer)
    return read


def said(answer: Answer) -> tuple[Any, ...]:
    """What an answer says to its reader."""
    calls = [(call.id, call.name, _meant(call.arguments)) for call in answer.tool_calls]
    return answer.content, answer.reasoning, answer.refusal, calls, answer.finish_reason


def _meant(arguments: str) -> Any:
    """The arguments of a call, however they are written; a text that is no JSON is itself."""
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


def _target(vendor: str) -> Target:
    return Target(provider="p", vendor=vendor, model="m-1")


class Counted(ScriptedStream):
    """Counts how often it is read, and how often after its end."""

    def __init__(self, plan: StreamScript, limits: Limits) -> None:
        super().__init__(plan, limits)
        self.reads = 0
        self.beyond = 0
        self.limits: list[Deadline] = []

    def read(self, limit: Deadline) -> bytes | Failure:
        """The next piece."""
        self.reads += 1
        self.limits.append(limit)
        self.beyond += self.closed
        return super().read(limit)


class Ending(NamedTuple):
    """All the chunks, and what came of the answer."""

    chunks: list[Chunk]
    outcome: Answered | Failure

    @property
    def failure(self) -> Failure:
        """The failure, which it has to be."""
        assert isinstance(self.outcome, Failure), self.outcome
        return self.outcome

    @property
    def answer(self) -> Answer:
        """The answer, which it has to be."""
        assert isinstance(self.outcome, Answered), self.outcome
        read: Answer = self.outcome.answer
        return read

    @property
    def text(self) -> str:
        """The text that was shown."""
        return "".join(chunk.text for chunk in self.chunks)


class Play:
    """A flow over *parts*, on a clock that moves only when a part takes its time."""

    def __init__(
        self,
        vendor: str,
        parts: Iterable[StreamPiece],
        *,
        clock: FakeClock | None = None,
        whole: float = WHOLE,
        first: float = FIRST,
        stall: float = STALL,
        cancel: CancelToken | None = None,
        headers: dict[str, str] | None = None,
        **settings: Any,
    ) -> None:
        self.clock = clock or FakeClock()
        self.began = self.clock.monotonic()
        deadline = Deadline.after(whole, self.clock)
        given = HTTPHeaderDict({"Content-Type": "text/event-stream"} if headers is None else headers)
        self.stream = Counted(StreamScript(tuple(parts), given), Limits(deadline=deadline, cancel=cancel))
        self.parts = len(self.stream._pieces)
        self.flow = Flow(
            self.stream,
            _target(vendor),
            None,
            config=ProviderConfig(name="p", base_url="https://p.test/v1", api_key=KEY, dialect=vendor, **settings),
            dialect=registry.dialect_named(vendor),
            first=deadline.sooner(first),
            silence=Silence(deadline, stall),
            now=0.0,
        )

    @property
    def passed(self) -> float:
        """Seconds that have passed."""
        return self.clock.monotonic() - self.began

    def end(self) -> Ending:
        """Read it to its end, which has to come by itself."""
        failure = self.flow.begin()
        return Ending([], failure) if failure is not None else self.rest()

    def rest(self) -> Ending:
        """The same, of a flow that has begun."""
        chunks: list[Chunk] = []
        while True:
            came = self.flow.next()
            if not isinstance(came, Chunk):
                assert self.flow.next() is came, "it ends once"
                assert self.stream.closed
                assert self.stream.reads <= self.parts + 3, "it is read on and on"
                return Ending(chunks, came)
            chunks.append(came)


def ended(vendor: str, *parts: StreamPiece, **settings: Any) -> Ending:
    """What comes of an answer of *parts*."""
    return Play(vendor, parts, **settings).end()


def late(clock: FakeClock, seconds: float, piece: bytes = b"") -> Callable[[Deadline], bytes | Failure]:
    """*piece* after *seconds* on *clock*, or the end of the wait; without *piece* it never comes."""

    def come(limit: Deadline) -> bytes | Failure:
        if not piece or limit.left < seconds:
            clock.advance(limit.left)
            return failing(Fault.TIMEOUT, "late", phase=Phase.READ, maybe_billed=True)
        clock.advance(seconds)
        return piece

    return come


def put_together(chunks: Iterable[Chunk]) -> tuple[Any, ...]:
    """What a reader of *chunks* knows at their end."""
    collector = Collector()
    for chunk in chunks:
        collector.add(chunk)
    partial = collector.partial()
    calls = [(call.id, call.name, _meant(call.arguments)) for call in partial.tool_calls]
    return partial.text, partial.reasoning or None, partial.refusal or None, calls
