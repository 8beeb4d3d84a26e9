"""
Reading requests to Anthropic's Messages API.

Source of the form: anthropics/anthropic-sdk-python ``types/message_create_params.py`` and its neighbours. Every
rule is stated in ``docs/inbound.md``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from failsafe.encoding import refuse, shown
from failsafe.errors import InvalidRequest
from failsafe.inbound.base import Question
from failsafe.inbound.fields import (
    MOST_STOPS,
    content_of,
    flag,
    function_tool,
    json_text,
    list_of,
    number,
    object_of,
    own_fields,
    schema_format,
    text_in,
    texts,
    tool_name,
    whole,
)
from failsafe.parameters import REASONING_EFFORTS

_READ = frozenset({
    "model", "messages", "system", "max_tokens", "temperature", "top_p", "stop_sequences", "tools", "tool_choice",
    "output_config", "thinking", "metadata", "stream", "mcp_servers", "container", "compaction", "thread",
})  # fmt: skip
_ONLY_ANTHROPIC = "only Anthropic runs this, and whoever answers in its place would answer without it; leave it out"
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_BUDGETS = ((1024, "minimal"), (2048, "low"), (8192, "medium"), (16384, "high"), (24576, "xhigh"))
_UNTOLD = "high"  # what Anthropic's models do when they are told no effort
_PORTABLE = frozenset({"text", "tool_use"})

NO_THREADS = "thread_unsupported_request"
"""
The code for a client who wants the server to hold the conversation, and to send only what is new of it from then on.

No provider in another's place has it. The SDK's own tool runner asks for it, and goes on without once it is told.
"""

Fields = Mapping[str, Any]


def read_question(body: Any) -> Question:
    """
    The request in a decoded *body*.

    Raises:
        InvalidRequest: It is no such request, or asks for what only Anthropic has.
    """
    if not isinstance(body, Mapping):
        refuse("body", body, "a JSON object is needed")
    if body.get("thread"):
        raise InvalidRequest(
            f"thread = {shown(body['thread'])}: nobody here holds a conversation; "
            "send the whole of it without thread; nothing was sent",
            code=NO_THREADS,
        )
    for name in ("mcp_servers", "container", "compaction"):
        if body.get(name):
            refuse(name, body[name], _ONLY_ANTHROPIC)
    bill_to = object_of(body.get("billing_policy"), "billing_policy").get("bill_to")
    if bill_to not in (None, "self"):
        refuse("billing_policy.bill_to", bill_to, "self is needed: who answers bills the owner of the key here")
    model = text_in(body, "model", "")
    return Question(
        model=model,
        messages=_Conversation(model).read(body),
        parameters=_parameters(body),
        extra=_extra(body),
        stream=flag(body.get("stream"), "stream"),
        stream_usage=True,
    )


def _extra(body: Fields) -> dict[str, Any]:
    extra = own_fields(body, _READ, "Anthropic's Messages API")
    config = object_of(body.get("output_config"), "output_config")
    left = {name: value for name, value in config.items() if name not in ("effort", "format") and value is not None}
    if left:
        extra["output_config"] = left
    stops = list_of(body.get("stop_sequences"), "stop_sequences")
    if len(stops) > MOST_STOPS:
        extra["stop_sequences"] = stops  # Anthropic itself takes more than is passed on to all
    return extra


def _parameters(body: Fields) -> dict[str, Any]:
    # The API wants to be told the length always: so do we, that code which runs here runs there.
    parameters: dict[str, Any] = {"max_tokens": whole(body.get("max_tokens"), "max_tokens", 1)}
    for name in ("temperature", "top_p"):
        if body.get(name) is not None:
            parameters[name] = number(body[name], name, 1)
    stops = texts(body.get("stop_sequences"), "stop_sequences")
    if stops:
        parameters["stop"] = stops[:MOST_STOPS]
    parameters |= _tools(body)
    parameters |= _output(body)
    user = object_of(body.get("metadata"), "metadata").get("user_id")
    if user is not None:
        parameters["user"] = text_in({"user_id": user}, "user_id", "metadata")
    return parameters


def _tools(body: Fields) -> dict[str, Any]:
    """``tools``, ``tool_choice`` and ``parallel_tool_calls``."""
    tools: dict[str, Any] = {}
    for index, tool in enumerate(list_of(body.get("tools"), "tools")):
        place = f"tools[{index}]"
        made = _tool(object_of(tool, place), place, tools)
        tools[made["function"]["name"]] = made
    choice = object_of(body.get("tool_choice"), "tool_choice")
    kind = choice.get("type")
    if not tools:
        if kind in ("any", "tool"):
            refuse("tool_choice.type", kind, "this needs tools")
        return {}
    fields: dict[str, Any] = {"tools": list(tools.values())}
    if choice:
        fields["tool_choice"] = _choice(choice, tools)
        if kind != "none" and flag(choice.get("disable_parallel_tool_use"), "tool_choice.disable_parallel_tool_use"):
            fields["parallel_tool_calls"] = False
    return fields


def _tool(tool: Fields, place: str, seen: Mapping[str, Any]) -> dict[str, Any]:
    if tool.get("type") not in (None, "custom"):
        refuse(f"{place}.type", tool["type"], _ONLY_ANTHROPIC)
    name = tool_name(tool, place, seen)
    schema = tool.get("input_schema")
    if not isinstance(schema, Mapping):
        refuse(f"{place}.input_schema", schema, "a JSON schema as an object is needed")
    made = function_tool(name, tool, schema, place)
    if flag(tool.get("strict"), f"{place}.strict"):
        made["function"]["strict"] = True
    return _cached(made, tool)


def _choice(choice: Fields, tools: Mapping[str, Any]) -> Any:
    kind = choice.get("type")
    if kind == "tool":
        name = text_in(choice, "name", "tool_choice")
        if name not in tools:
            refuse("tool_choice.name", name, "the name of one of the tools is needed")
        return {"type": "function", "function": {"name": name}}
    if not isinstance(kind, str) or kind not in _CHOICES:
        refuse("tool_choice.type", kind, "auto, any, none or tool is needed")
    return _CHOICES[kind]


def _output(body: Fields) -> dict[str, Any]:
    """``response_format`` and ``reasoning_effort``."""
    config = object_of(body.get("output_config"), "output_config")
    fields: dict[str, Any] = {}
    form = object_of(config.get("format"), "output_config.format")
    if form:
        if form.get("type") != "json_schema" or not isinstance(form.get("schema"), Mapping):
            refuse("output_config.format", form, '{"type": "json_schema", "schema": {...}} is needed')
        fields["response_format"] = schema_format(form["schema"])
    effort = _effort(object_of(body.get("thinking"), "thinking"), config.get("effort"))
    return fields | ({"reasoning_effort": effort} if effort else {})


def _effort(thinking: Fields, effort: Any) -> str | None:
    """
    How hard to think: what ``output_config.effort`` says; else the least effort that a budget of tokens is enough for.

    The budgets are those that failsafe's own dialect asks for, so that they come back as they went.
    """
    if effort is not None and effort not in REASONING_EFFORTS[2:]:
        refuse("output_config.effort", effort, f"one of {', '.join(REASONING_EFFORTS[2:])} is needed")
    kind = thinking.get("type")
    if kind == "disabled":
        return "none"
    if kind == "enabled" and not effort:
        budget = whole(thinking.get("budget_tokens"), "thinking.budget_tokens", 1024)
        return next((word for most, word in _BUDGETS if budget <= most), "max")
    if thinking and kind not in ("enabled", "adaptive", "between_tools"):
        refuse("thinking.type", kind, "enabled, adaptive or disabled is needed")
    return effort or (_UNTOLD if thinking else None)


class _Conversation:
    """
    The messages of one request in OpenAI's chat form. Lives for one request.

    Args:
        model: What is asked for; thinking in the history is taken for its own, as it is where there is no router.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._messages: list[dict[str, Any]] = []
        self._called: set[str] = set()

    def read(self, body: Fields) -> list[dict[str, Any]]:
        """The messages of *body*, with its ``system`` in front."""
        if body.get("system"):
            self._add_system(body["system"], "system")
        messages = list_of(body.get("messages"), "messages")
        if not messages:
            refuse("messages", body.get("messages"), "a list of at least one message is needed")
        for index, message in enumerate(messages):
            place = f"messages[{index}]"
            self._add(object_of(message, place), place)
        return self._messages

    def _add(self, message: Fields, place: str) -> None:
        role, content = message.get("role"), message.get("content")
        if role not in ("user", "assistant", "system"):
            refuse(f"{place}.role", role, "user or assistant is needed")
        if role == "system":
            self._add_system(content, f"{place}.content")
        elif isinstance(content, str):
            self._messages.append({"role": role, "content": content})
        elif role == "user":
            self._add_user(_blocks(content, f"{place}.content"), f"{place}.content")
        else:
            self._add_assistant(_blocks(content, f"{place}.content"), f"{place}.content")

    def _add_system(self, content: Any, place: str) -> None:
        if not isinstance(content, str):
            content = content_of([
                _text_part(block, f"{place}[{index}]") for index, block in enumerate(_blocks(content, place))
            ])  # fmt: skip
        self._messages.append({"role": "system", "content": content})

    def _add_user(self, blocks: Sequence[Fields], place: str) -> None:
        """Results of tools stand before the rest of the turn, and their images begin that rest."""
        images: list[dict[str, Any]] = []
        rest: list[dict[str, Any]] = []
        for index, block in enumerate(blocks):
            where = f"{place}[{index}]"
            if block.get("type") == "tool_result":
                images += self._add_result(block, where)
            else:
                rest.append(_part(block, where))
        if images or rest:
            self._messages.append({"role": "user", "content": content_of(images + rest)})

    def _add_result(self, result: Fields, place: str) -> list[dict[str, Any]]:
        """Add the message of one *result*; return the images in it, which no such message may hold."""
        identity = text_in(result, "tool_use_id", place)
        if identity not in self._called:
            refuse(f"{place}.tool_use_id", identity, "no assistant message before it has a tool_use with this id")
        content = result.get("content")
        if content is None or isinstance(content, str):
            content = [{"type": "text", "text": content or ""}]
        where = f"{place}.content"
        parts = [_part(block, f"{where}[{index}]") for index, block in enumerate(_listed_blocks(content, where))]
        said = [part for part in parts if part["type"] == "text"]
        if flag(result.get("is_error"), f"{place}.is_error"):
            said = _as_error(said)
        self._messages.append(_cached({"role": "tool", "tool_call_id": identity, "content": content_of(said)}, result))
        return [part for part in parts if part["type"] != "text"]

    def _add_assistant(self, blocks: Sequence[Fields], place: str) -> None:
        said: list[dict[str, Any]] = []
        calls: list[dict[str, Any]] = []
        for index, block in enumerate(blocks):
            if block.get("type") == "text":
                said.append(_text_part(block, f"{place}[{index}]"))
            elif block.get("type") == "compaction" and isinstance(block.get("content"), str):
                said.append({"type": "text", "text": block["content"]})  # all that is left of what was said before
            elif block.get("type") == "tool_use":
                calls.append(self._call(block, f"{place}[{index}]"))
        message: dict[str, Any] = {"role": "assistant", "content": content_of(said)}
        if calls:
            message |= {"content": message["content"] or None, "tool_calls": calls}
        if blocks[-1].get("type") == "tool_use":
            message = _cached(message, blocks[-1])
        own = [block for block in blocks if not _is_unsigned(block)]
        if any(block.get("type") not in _PORTABLE for block in own):
            message["provider_data"] = {"model": self._model, "data": {"content": own}}
        self._messages.append(message)

    def _call(self, block: Fields, place: str) -> dict[str, Any]:
        identity, name = text_in(block, "id", place), text_in(block, "name", place)
        self._called.add(identity)
        arguments = json_text(object_of(block.get("input"), f"{place}.input"))
        return {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}}


def _blocks(content: Any, place: str) -> Sequence[Fields]:
    """*content* if it is a list of at least one block; else refuse it."""
    blocks = _listed_blocks(content, place)
    if not blocks:
        refuse(place, content, "a text, or a list of at least one block, is needed")
    return blocks


def _listed_blocks(content: Any, place: str) -> Sequence[Fields]:
    return [object_of(block, f"{place}[{index}]") for index, block in enumerate(list_of(content, place))]


def _part(block: Fields, place: str) -> dict[str, Any]:
    """A block of the user's, or of a tool's result."""
    kind = block.get("type")
    if kind == "image":
        return _cached({"type": "image_url", "image_url": {"url": _address(block, f"{place}.source")}}, block)
    if kind != "text":
        refuse(f"{place}.type", kind, "text, image or tool_result is needed: not every provider reads anything else")
    return _text_part(block, place)


def _text_part(block: Fields, place: str) -> dict[str, Any]:
    text = block.get("text")
    if block.get("type") != "text" or not isinstance(text, str):
        refuse(place, block, '{"type": "text", "text": ...} is needed')
    return _cached({"type": "text", "text": text}, block)


def _address(image: Fields, place: str) -> str:
    source = object_of(image.get("source"), place)
    if source.get("type") == "url":
        return text_in(source, "url", place)
    if source.get("type") != "base64":
        refuse(f"{place}.type", source.get("type"), "base64 or url is needed: a file at Anthropic is there only")
    return f"data:{text_in(source, 'media_type', place)};base64,{text_in(source, 'data', place)}"


def _cached(made: dict[str, Any], given: Fields) -> dict[str, Any]:
    """*made* with the mark of the prompt cache that *given* has."""
    mark = given.get("cache_control")
    return {**made, "cache_control": mark} if mark else made


def _as_error(said: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    first, *others = said or [{"type": "text", "text": ""}]
    return [{**first, "text": f"Error: {first['text']}"}, *others]


def _is_unsigned(block: Fields) -> bool:
    """Whether this is thinking that another model did: nobody takes it back."""
    return block.get("type") == "thinking" and not block.get("signature")
