"""What the dialects that are not OpenAI's share: taking parameters one by one, and reading the history."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from failsafe.faults import Fault
from failsafe.masking import mask, shorten
from failsafe.models import ChatRequest, Failure, Message
from failsafe.providers.base import CannotExpress, Target
from failsafe.providers.common import Changes, nearest_word, text_of

_MEANINGFUL = frozenset({"tools", "tool_choice", "response_format"})
_OWN_REASONING = (
    "reasoning", "reasoning_content", "reasoning_details", "thinking_blocks", "extra_content",
    "signature", "thought_signature",
)  # fmt: skip
_READ_KEYS = frozenset({
    "role", "content", "tool_calls", "tool_call_id", "refusal", "provider_data", *_OWN_REASONING,
})  # fmt: skip
_LONGEST_MESSAGE = 500

_CAMEL_HUMP = re.compile(r"(?<=[a-z0-9])([A-Z])")

REASONING_PARTS = frozenset({"thinking", "redacted_thinking", "reasoning"})
"""Content parts that hold a model's reasoning; only the model itself may be sent them back."""


class Asked:
    """
    The parameters of one request as one target may be sent them.

    Every parameter is taken at most once; :meth:`drop_rest` lists those nobody took. Lives for one
    ``build``; not thread-safe.

    Args:
        request: The request; never changed.
        target: Whom it goes to.
        changes: Where dropped parameters are noted.
        names: The dialect's own names of parameters, each with the name in OpenAI's form, as
            refusals are learned in the dialect's words.
    """

    def __init__(self, request: ChatRequest, target: Target, changes: Changes, names: Mapping[str, str]) -> None:
        self._left = {name: value for name, value in request.parameters.items() if value is not None}
        self._target = target
        self._changes = changes
        self._refused = {*target.info.refuses, *target.refused, *target.quirks.drops}
        self._refused |= {names[name] for name in self._refused & names.keys()}

    def refuses(self, name: str) -> bool:
        """Whether the target refuses *name*: a parameter, ``"prefill"``, ``"temperature+top_p"`` and the like."""
        return name in self._refused

    def needed(self, name: str) -> Any:
        """The value of *name*, or None when not given; even when the target was seen to refuse it."""
        return self._left.pop(name, None)

    def take(self, name: str) -> Any:
        """
        The value of *name*, or None when it is not given or left out because the target refuses it.

        Raises:
            CannotExpress: The target refuses it, and without it the request has another meaning.
        """
        value = self._left.pop(name, None)
        if value is None or name not in self._refused:
            return value
        if name in _MEANINGFUL and not _means_nothing(value):
            raise CannotExpress(f"{self._target.model} does not take {name}")
        self._changes.dropped(name, f"{self._target.model} refuses it")
        return None

    def number(self, name: str, most: float) -> float | None:
        """The number *name*, cut to *most* (which is noted), or None as for :meth:`take`."""
        value: float | None = self.take(name)
        if value is None or value <= most:
            return value
        self._changes.clamped(name, f"{value:g} to {most:g}")
        return most

    def nearest(self, name: str, word: str, ladder: Sequence[str]) -> str:
        """
        *word*, or the one next to it on the *ladder* that the target is not known to refuse for the parameter *name*.

        See :func:`failsafe.providers.common.nearest_word`.
        """
        return nearest_word(name, word, ladder, self._refused)

    def drop_rest(self, why: str) -> None:
        """Note every parameter that was not taken as dropped."""
        for name in self._left:
            self._changes.dropped(name, why)


def _means_nothing(value: Any) -> bool:
    """Whether *value* of ``tool_choice`` or ``response_format`` is what a model does anyway."""
    return value == "auto" or (isinstance(value, Mapping) and value.get("type") == "text")


class Turns:
    """
    A conversation in which two roles take turns, as the native dialects want it. Lives for one ``build``.

    Args:
        vendor: Whose conversation it is, for the reasons of a refusal.
        inside: The field of a turn that holds its pieces (``"content"``, ``"parts"``).
        changes: Where changes are noted.

    Attributes:
        all: The turns, each ``{"role", inside}``.
    """

    __slots__ = ("_changes", "_inside", "_last_speaker", "_vendor", "all")

    def __init__(self, vendor: str, inside: str, changes: Changes) -> None:
        self.all: list[dict[str, Any]] = []
        self._vendor = vendor
        self._inside = inside
        self._changes = changes
        self._last_speaker = ""

    def add(self, role: str, pieces: Sequence[Any], said_by: str) -> None:
        """Let *role* say *pieces*, in its last turn if it is still speaking; *said_by* is the message's own role."""
        if not pieces:
            return
        if not self.all or self.all[-1]["role"] != role:
            self.all.append({"role": role, self._inside: list(pieces)})
        else:
            self.all[-1][self._inside] += pieces
            if said_by == self._last_speaker != "tool":
                self._changes.rewritten("messages", f"neighbouring {said_by} messages joined into one turn")
        self._last_speaker = said_by

    def check_order(self) -> None:
        """
        Go on, or raise.

        Raises:
            CannotExpress: Nobody says anything, or somebody else than the user speaks first.
        """
        if not self.all:
            raise CannotExpress(f"{self._vendor} needs a user message that is not empty")
        if self.all[0]["role"] != "user":
            raise CannotExpress(f"{self._vendor} needs the user to speak first, and this conversation begins otherwise")


class PastCall(msgspec.Struct, frozen=True, kw_only=True):
    """One tool call of the history, its arguments parsed."""

    id: str
    name: str
    arguments: dict[str, Any]


def past_calls(message: Message, place: str) -> list[PastCall]:
    """
    The tool calls of an assistant message.

    Raises:
        CannotExpress: The arguments of one are not the JSON text of an object, which only OpenAI's dialect can send.
    """
    return [
        PastCall(
            id=call["id"],
            name=call["function"]["name"],
            arguments=_parsed(call["function"]["arguments"], f"{place}.tool_calls[{index}].function.arguments"),
        )
        for index, call in enumerate(message.get("tool_calls") or ())
    ]


def _parsed(arguments: str, place: str) -> dict[str, Any]:
    """The arguments as an object; "" (a tool without parameters) is ``{}``."""
    try:
        value = msgspec.json.decode(arguments) if arguments else {}
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise CannotExpress(f"{place} is not the JSON text of an object, and this dialect sends an object")
    return value


def parts_of(content: Any) -> Sequence[Any]:
    """A message's content as a list of parts; a text is one text part, and None is none."""
    if isinstance(content, str):
        return ({"type": "text", "text": content},)
    return content or ()


def note_foreign(message: Message, changes: Changes, *, own_used: bool) -> None:
    """Note that *message* brings reasoning or signatures that the target is not sent."""
    packed = message.get("provider_data") is not None and not own_used
    parts = any(
        isinstance(part, Mapping) and part.get("type") in REASONING_PARTS for part in parts_of(message.get("content"))
    )
    calls = any("extra_content" in call for call in message.get("tool_calls") or ())
    if packed or any(message.get(key) for key in _OWN_REASONING) or ((parts or calls) and not own_used):
        changes.dropped(
            "messages", "reasoning and signatures in the history, which only the model that made them takes"
        )


def note_unsent(message: Message, place: str, changes: Changes, *sent: str) -> None:
    """Note what stands in *message* beside what every dialect here reads, and the keys *sent* that this one reads."""
    for key in sorted(message.keys() - _READ_KEYS - {*sent}):
        if message[key] is not None and not (key == "name" and message["role"] == "tool"):
            changes.dropped(f"{place}.{key}", "the dialect has no place for it")


def is_empty_assistant(message: Message) -> bool:
    """Whether the empty text of *message* is only the form of an answer that calls tools or refuses."""
    return message["role"] == "assistant" and bool(message.get("tool_calls") or message.get("refusal"))


def with_extra(
    body: dict[str, Any], extra: Mapping[str, Any], target: Target, asked: Asked, changes: Changes, settings: str
) -> dict[str, Any]:
    """
    *body* over the free fields of the configuration and under those of the call (*extra*), objects key by key.

    Fields that the target refuses are left out, and so are those inside the object *settings*.
    """
    if not target.extra and not extra:
        return body
    under, over = (_accepted(fields, target, asked, changes, settings) for fields in (target.extra, extra))
    return _overlaid(_overlaid(under, body), over)


def _accepted(
    fields: Mapping[str, Any], target: Target, asked: Asked, changes: Changes, settings: str
) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in fields.items():
        if asked.refuses(name) or asked.refuses(_snake(name)):
            changes.dropped(name, f"{target.model} refuses it")
        elif name == settings and isinstance(value, Mapping):
            kept[name] = _accepted(value, target, asked, changes, settings)
        else:
            kept[name] = value
    return kept


def _snake(name: str) -> str:
    """*name* in snake case, in which refusals are learned whatever case the vendor writes."""
    return _CAMEL_HUMP.sub(r"_\1", name).lower()


def _overlaid(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    both = {
        name: _overlaid(below[name], above[name])
        for name in below.keys() & above.keys()
        if isinstance(below[name], Mapping) and isinstance(above[name], Mapping)
    }
    return {**below, **above, **both}


def chosen_tool(choice: Any) -> str | None:
    """The tool that ``tool_choice`` names, or None when it is one of the words."""
    return choice["function"]["name"] if isinstance(choice, Mapping) else None


def malformed(why: str, code: str | None = None) -> Failure:
    """The failure of a success status whose body is no answer."""
    return Failure(fault=Fault.MALFORMED, message=_presentable(why), code=code, maybe_billed=True)


def filtered(code: str, said: Any, partial: str) -> Failure:
    """The failure of a prompt or an answer that the content policy stopped."""
    detail = text_of(said)
    message = f"stopped by the content policy ({code})" + (f": {detail}" if detail else "")
    return Failure(
        fault=Fault.CONTENT_FILTER, message=_presentable(message), code=code, partial=partial, maybe_billed=True
    )


def broken(code: Any, said: Any, overloaded: str) -> Failure:
    """The failure of an error body under a success status; *overloaded* is the provider's word for no capacity."""
    kind = code if isinstance(code, str) and code else None
    message = f"an error under a success status: {kind or 'no code'}: {text_of(said) or 'no message'}"
    fault = Fault.OVERLOADED if kind == overloaded else Fault.SERVER
    return Failure(fault=fault, message=_presentable(message), code=kind)


def _presentable(message: str) -> str:
    return shorten(mask(message[: 4 * _LONGEST_MESSAGE]), _LONGEST_MESSAGE)
