"""
The request a caller makes, checked before anything is sent.

Messages are taken in OpenAI's chat form and kept as they are: keys that failsafe does not know
pass through untouched. A plain text message costs a few comparisons; only tools, images and
unknown keys are looked into.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from failsafe.encoding import check_fits, check_size, encode_body, refuse
from failsafe.images import read_image
from failsafe.models import ChatRequest, Message
from failsafe.parameters import check_extra, check_parameters

__all__ = ["build_request", "check_size", "encode_body"]

_ROLES = ("system", "developer", "user", "assistant", "tool")
_PLAIN_ROLES = ("user", "system", "assistant", "developer")
_PLAIN_KEYS = frozenset({"role", "content", "name", "tool_call_id", "tool_calls", "refusal"})
_PARTS = {
    "user": ("text", "image_url", "input_audio", "file"),
    "assistant": ("text", "refusal", "thinking", "redacted_thinking", "reasoning"),
    "system": ("text",),
    "developer": ("text",),
    "tool": ("text",),
}
_NO_NEEDS: frozenset[str] = frozenset()


def build_request(
    messages: str | Sequence[Message],
    model: str,
    parameters: Mapping[str, Any],
    extra: Mapping[str, Any] | None = None,
    *,
    extra_for: str = "",
) -> ChatRequest:
    """
    Return the checked request. Thread-safe; changes none of its arguments.

    Args:
        messages: The conversation in OpenAI's chat form, or one text of the user.
        model: A model or alias.
        parameters: Of :class:`failsafe.models.ChatParameters`; those that are None count as not given.
        extra: Fields that every target gets as they are.
        extra_for: The dialect whose targets alone get them, or "" for every one.

    Raises:
        InvalidRequest: Something in it no provider would take; the message names the place, the
            value and what is allowed. Half surrogate pairs in plain text are found by
            :func:`failsafe.encoding.encode_body`, also before anything is sent.
    """
    if not isinstance(model, str) or not model or not model.isprintable():
        refuse("model", model, "the name of a model or alias is needed")
    if parameters:
        parameters = check_parameters(parameters)
    if extra:
        check_extra(extra, extra_for)
    checked, needs = _checked_messages(messages)
    return ChatRequest(
        model=model,
        messages=checked,
        parameters=parameters,
        extra=extra or {},
        needs=_with_parameters(needs, parameters) if needs or parameters else _NO_NEEDS,
        extra_for=extra_for,
    )


def _with_parameters(needs: set[str], parameters: Mapping[str, Any]) -> frozenset[str]:
    if "tools" in parameters:
        needs.add("tools")
    form = parameters.get("response_format")
    if form is not None and form["type"] == "json_schema":
        needs.add("json_schema")
    return frozenset(needs)


def _checked_messages(messages: str | Sequence[Message]) -> tuple[list[Message], set[str]]:
    """The messages as a list of dicts, and what they need of a target."""
    if isinstance(messages, str):
        return [{"role": "user", "content": messages}], set()
    if not isinstance(messages, Sequence) or isinstance(messages, bytes | bytearray) or not messages:
        refuse("messages", messages, "a text, or a list of at least one message, is needed")
    checked: list[Message] = [*messages]
    check = _MessageCheck()
    for index, message in enumerate(checked):
        if type(message) is dict and len(message) == 2 and type(message.get("content")) is str:  # noqa: SIM102
            # The plain case, decided without a call.
            if message.get("role") in _PLAIN_ROLES:
                continue
        checked[index] = check(message, f"messages[{index}]")
    return checked, check.needs


class _MessageCheck:
    """
    Checks the messages of one request in order.

    Attributes:
        needs: What the messages seen so far need of a target.
        call_ids: The tool calls seen so far.
    """

    __slots__ = ("call_ids", "needs")

    def __init__(self) -> None:
        self.needs: set[str] = set()
        self.call_ids: set[str] = set()

    def __call__(self, message: Any, place: str) -> dict[str, Any]:
        """Return *message* as a dict (itself, if it is one), or refuse it."""
        if not isinstance(message, Mapping):
            refuse(place, message, _no_mapping(message))
        plain = message if isinstance(message, dict) else dict(message)
        role = plain.get("role")
        if not isinstance(role, str) or role not in _ROLES:
            refuse(f"{place}.role", role, _role_advice(role))
        if role == "tool":
            self._tool_result(plain, place)
        if plain.get("tool_calls") is not None:
            self._tool_calls(plain, role, place)
        self._content(plain, role, place)
        self._other_keys(plain, place)
        return plain

    def _tool_result(self, message: Mapping[str, Any], place: str) -> None:
        self.needs.add("tools")
        call_id = message.get("tool_call_id")
        if not isinstance(call_id, str) or not call_id:
            refuse(f"{place}.tool_call_id", call_id, "the id of the tool call that this message answers is needed")
        if call_id not in self.call_ids:
            refuse(f"{place}.tool_call_id", call_id, "no assistant message before it has a tool call with this id")

    def _tool_calls(self, message: Mapping[str, Any], role: str, place: str) -> None:
        calls = message["tool_calls"]
        if role != "assistant":
            refuse(f"{place}.tool_calls", calls, f"only assistant messages have tool calls, this is one of {role}")
        if not isinstance(calls, list | tuple) or not calls:
            refuse(f"{place}.tool_calls", calls, "a list of at least one call is needed; leave it out if there is none")
        self.needs.add("tools")
        for index, call in enumerate(calls):
            self.call_ids.add(_checked_call(call, f"{place}.tool_calls[{index}]"))

    def _content(self, message: Mapping[str, Any], role: str, place: str) -> None:
        content = message.get("content")
        if isinstance(content, str):
            return
        if content is None:
            if role != "assistant":
                refuse(f"{place}.content", content, "a text or a list of parts is needed")
            if not message.get("tool_calls") and not message.get("refusal"):
                refuse(
                    f"{place}.content", content,
                    "an assistant message needs content, tool_calls or a refusal; leave an empty answer out",
                )  # fmt: skip
            return
        if not isinstance(content, list | tuple) or not content:
            refuse(f"{place}.content", content, "a text, or a list of at least one part, is needed")
        for index, part in enumerate(content):
            self._part(part, role, f"{place}.content[{index}]")

    def _part(self, part: Any, role: str, place: str) -> None:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if not isinstance(kind, str) or kind not in _PARTS[role]:
            allowed = ", ".join(_PARTS[role])
            refuse(f"{place}.type" if isinstance(part, Mapping) else place, kind or part,
                   f"a part of a {role} message is a mapping with type {allowed}")  # fmt: skip
        if kind == "text" and not isinstance(part.get("text"), str):
            refuse(f"{place}.text", part.get("text"), "a text is needed")
        if kind == "image_url":
            read_image(part, place)
            self.needs.add("images")
        if kind != "text" or len(part) > 2:
            check_fits(part, place)

    @staticmethod
    def _other_keys(message: Mapping[str, Any], place: str) -> None:
        """
        Numbers hide only in keys that pass through; text is checked when the body is encoded.

        Not all dialects send the text in these, and a call must not fail or succeed by who is asked first.
        """
        for key in message.keys() - _PLAIN_KEYS:
            check_fits({key: message[key]}, place)
        for key in ("name", "refusal"):
            if message.get(key) is not None and not isinstance(message[key], str):
                refuse(f"{place}.{key}", message[key], "a text is needed")
            check_fits(message.get(key), f"{place}.{key}")


def _no_mapping(message: object) -> str:
    if hasattr(message, "model_dump"):
        return "a mapping is needed; pass message.model_dump(exclude_none=True)"
    return 'a mapping such as {"role": "user", "content": ...} is needed'


def _role_advice(role: object) -> str:
    if role == "function":
        return "this role is no longer in use; send role 'tool' with the tool_call_id of the call it answers"
    return f"one of {', '.join(_ROLES)} is needed"


def _checked_call(call: Any, place: str) -> str:
    """Check one tool call of an assistant message and return its id."""
    if not isinstance(call, Mapping):
        refuse(place, call, 'a mapping such as {"id": ..., "type": "function", "function": {...}} is needed')
    if call.get("type") != "function":
        refuse(f"{place}.type", call.get("type"), "'function' is needed")
    call_id = call.get("id")
    if not isinstance(call_id, str) or not call_id:
        refuse(f"{place}.id", call_id, "a text that the tool message repeats as tool_call_id is needed")
    function = call.get("function")
    if not isinstance(function, Mapping):
        refuse(f"{place}.function", function, '{"name": ..., "arguments": "{...}"} is needed')
    if not isinstance(function.get("name"), str) or not function["name"]:
        refuse(f"{place}.function.name", function.get("name"), "the name of the called tool is needed")
    # Models do write broken JSON; whether a target takes it back is for its dialect to say.
    if not isinstance(function.get("arguments"), str):
        refuse(f"{place}.function.arguments", function.get("arguments"), "the text that the model wrote is needed")
    check_fits(call, place)
    return call_id
