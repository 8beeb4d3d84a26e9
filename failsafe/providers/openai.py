"""
The OpenAI chat completions dialect, and the servers that speak it with differences.

The differences are data (:class:`failsafe.catalog.Quirks`, :class:`failsafe.catalog.ModelInfo`).
What is done to a request is stated, rule by rule, in ``docs/dialects.md``; wire facts are from
openai/openai-openapi and from each vendor's own reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from failsafe.models import Answer, ChatRequest, Failure
from failsafe.parameters import REASONING_EFFORTS
from failsafe.providers.base import BuiltRequest, CannotExpress, Target
from failsafe.providers.common import Changes, encode_body, extra_of, nearest_word
from failsafe.providers.openai_answer import read_answer
from failsafe.providers.openai_messages import History
from failsafe.providers.openai_stream import OpenAIStream

_MEANINGFUL = frozenset({"tools", "tool_choice", "response_format"})
_PORTABLE_CHOICE = "auto"
_LENGTH_FIELDS = ("max_tokens", "max_completion_tokens")


class OpenAIDialect:
    """``POST /chat/completions``. Stateless and thread-safe."""

    name = "openai"
    path = "/chat/completions"
    """Below the base URL for every server; Azure's classic form names the deployment in the base URL."""

    def build(self, request: ChatRequest, target: Target) -> BuiltRequest:
        """
        The request as *target* takes it; *request* is never changed.

        Raises:
            CannotExpress: The target lacks tools, images or a JSON schema that the request needs.
            InvalidRequest: Something in the request cannot be written as JSON.
        """
        if request.needs:
            _check_abilities(request, target)
        changes = Changes()
        body: dict[str, Any] = {"model": target.model, "messages": History(target, changes).sent(request.messages)}
        if request.parameters:
            _Parameters(request.parameters, target, changes).write(body)
        if target.extra or request.extra:
            body = _with_extra(body, extra_of(request, self.name, changes), target, changes)
        if request.stream:
            body["stream"] = True
            if _takes_stream_options(target):
                body["stream_options"] = {"include_usage": True}
        return BuiltRequest(path=self.path, body=encode_body(body, request), adjustments=changes.listed())

    def read(self, body: Any, target: Target) -> Answer | Failure:
        """The answer in a decoded 2xx body, or why it is none; never raises."""
        return read_answer(body, target)

    def stream(self, target: Target) -> OpenAIStream:
        """A reader for one streamed answer of *target*."""
        return OpenAIStream(target)


def _takes_stream_options(target: Target) -> bool:
    """Whether *target* takes ``stream_options``; one that refused a field in it refused it all."""
    seen = (name.partition(".")[0] for name in target.refused)
    return target.quirks.stream_options and "stream_options" not in seen


def _check_abilities(request: ChatRequest, target: Target) -> None:
    """Raise :class:`CannotExpress` for a need that the target is known not to meet."""
    able = {
        "tools": target.quirks.tools and target.info.tools is not False,
        "images": bool(target.quirks.images) and target.info.images is not False,
        "json_schema": target.quirks.json_schema and target.info.json_schema is not False,
    }
    for need in sorted(request.needs):
        if not able.get(need, True):
            raise CannotExpress(f"{target.model} at {target.provider} does not take {_SAID[need]}")


_SAID = {"tools": "tools", "images": "images", "json_schema": "a JSON schema"}


def _with_extra(body: dict[str, Any], extra: Mapping[str, Any], target: Target, changes: Changes) -> dict[str, Any]:
    """*body* with the free fields of the configuration under it and those of the call over it."""
    merged = {**target.extra, **extra}
    for name in target.refused.intersection(merged):
        changes.dropped(name, f"{target.model} refuses it")
        del merged[name]
    return {**merged, **body, **{name: merged[name] for name in extra if name in merged}}


class _Parameters:
    """Writes the parameters of one request for one target. Lives for one ``build``; not thread-safe."""

    __slots__ = ("_changes", "_given", "_target")

    def __init__(self, given: Mapping[str, Any], target: Target, changes: Changes) -> None:
        self._given = given
        self._target = target
        self._changes = changes

    def write(self, body: dict[str, Any]) -> None:
        """Add every parameter that the target takes to *body*."""
        for name, value in self._given.items():
            if name == "max_tokens":
                self._max_tokens(value, body)
                continue
            if self._refuses(name):
                self._leave_out(name, value)
                continue
            rule = _RULES.get(name)
            if rule is None:
                body[name] = value
            else:
                rule(self, value, body)

    def _refuses(self, name: str) -> bool:
        target = self._target
        if name in target.info.refuses or name in target.refused or name in target.quirks.drops:
            return True
        # Without logprobs the number of alternatives is refused.
        return name == "top_logprobs" and self._refuses("logprobs")

    def _leave_out(self, name: str, value: Any) -> None:
        """Drop a refused parameter, unless the answer would be another one without it."""
        means_nothing = value == _PORTABLE_CHOICE or (isinstance(value, Mapping) and value.get("type") == "text")
        if name in _MEANINGFUL and not means_nothing:
            raise CannotExpress(f"{self._target.model} at {self._target.provider} does not take {name}")
        self._changes.dropped(name, f"{self._target.model} refuses or ignores it")

    def _max_tokens(self, value: int, body: dict[str, Any]) -> None:
        target = self._target
        preferred = target.info.max_tokens_field or target.quirks.max_tokens_field
        # A server that was seen to refuse one of the two fields is asked with the other.
        usable = [field for field in (preferred, *_LENGTH_FIELDS) if field not in target.refused]
        if not usable or "max_tokens" in target.info.refuses or "max_tokens" in target.quirks.drops:
            self._changes.dropped("max_tokens", f"{target.model} refuses or ignores it")
            return
        most = target.info.max_output_tokens
        if most is not None and value > most:
            self._changes.clamped("max_tokens", f"{value} to {most}")
            value = most
        self._renamed("max_tokens", usable[0], value, body)

    def _renamed(self, name: str, field: str, value: Any, body: dict[str, Any]) -> None:
        if field != name:
            self._changes.mapped(name, f"sent as {field}")
        body[field] = value

    def _temperature(self, value: float, body: dict[str, Any]) -> None:
        most = self._target.quirks.temperature_max
        if value > most:
            self._changes.clamped("temperature", f"{value:g} to {most:g}")
            value = most
        body["temperature"] = value

    def _tools(self, value: Sequence[Mapping[str, Any]], body: dict[str, Any]) -> None:
        if not self._target.quirks.cache_control and any("cache_control" in tool for tool in value):
            self._changes.dropped("tools.cache_control", f"{self._target.provider} caches by itself")
            value = [{key: field for key, field in tool.items() if key != "cache_control"} for tool in value]
        body["tools"] = value

    def _seed(self, value: int, body: dict[str, Any]) -> None:
        field = self._target.quirks.seed_field
        if field in self._target.refused:
            self._leave_out("seed", value)
        else:
            self._renamed("seed", field, value, body)

    def _stop(self, value: Any, body: dict[str, Any]) -> None:
        most = self._target.quirks.stop_max
        if most < 1:
            self._leave_out("stop", value)
        elif not isinstance(value, str) and len(value) > most:
            self._changes.clamped("stop", f"the first {most} of {len(value)}")
            body["stop"] = list(value[:most])
        else:
            body["stop"] = value

    def _reasoning_effort(self, value: str, body: dict[str, Any]) -> None:
        target = self._target
        word = nearest_word("reasoning_effort", value, REASONING_EFFORTS, {*target.info.refuses, *target.quirks.drops})
        if word != value:
            self._changes.mapped("reasoning_effort", f"{value} to {word}")
        body["reasoning_effort"] = word

    def _tool_choice(self, value: Any, body: dict[str, Any]) -> None:
        word = self._target.quirks.tool_choice_required
        if value == "required" and word != "required":
            self._changes.mapped("tool_choice", f"required to {word}")
            value = word
        body["tool_choice"] = value

    def _response_format(self, value: Mapping[str, Any], body: dict[str, Any]) -> None:
        if value["type"] == "json_object" and not self._target.quirks.json_object:
            raise CannotExpress(f"{self._target.provider} has no JSON mode")
        body["response_format"] = value


_RULES: Mapping[str, Callable[[_Parameters, Any, dict[str, Any]], None]] = {
    "temperature": _Parameters._temperature,  # noqa: SLF001
    "tools": _Parameters._tools,  # noqa: SLF001
    "seed": _Parameters._seed,  # noqa: SLF001
    "stop": _Parameters._stop,  # noqa: SLF001
    "reasoning_effort": _Parameters._reasoning_effort,  # noqa: SLF001
    "tool_choice": _Parameters._tool_choice,  # noqa: SLF001
    "response_format": _Parameters._response_format,  # noqa: SLF001
}
