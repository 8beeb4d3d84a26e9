"""What a fake provider says: the healthy answer, and every unhealthy one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from failsafe import checks
from failsafe.faults import Fault

_FINISHES = ("stop", "length", "content_filter", "refusal", "missing")
_RETRY_AFTER_STYLES = ("vendor", "seconds", "date", "ms")
_REDIRECTS = (301, 302, 303, 307, 308)
_LARGEST_BODY = 65_536  # MiB


class Reply:
    """The base of everything a fake provider can say. Values: frozen and compared by content."""

    __slots__ = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Healthy(Reply):
    """
    A good answer, to a request that a real server of that vendor would take.

    The key, the model and the body are checked as the vendor checks them, so a bad request still gets that
    vendor's error.

    Attributes:
        text: What the answer says; None: ``provider NAME says: PROMPT``.
        finish: ``stop``, ``length``, ``content_filter``, ``refusal``, or ``missing`` for none at all.
        tool_calls: How many of the request's tools to call instead of talking; a request that forces a tool
            (``tool_choice``) gets one call in any case.
        tool_arguments: The arguments of these calls; None: ``{"query": PROMPT}``.
        reasoning: Reasoning text beside the answer.
        cached_tokens: Prompt tokens said to come from the cache, and
        reasoning_tokens: completion tokens said to have gone into reasoning.
    """

    text: str | None = None
    finish: str = "stop"
    tool_calls: int = 0
    tool_arguments: Mapping[str, Any] | None = None
    reasoning: str = ""
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    def __post_init__(self) -> None:
        checks.one_of("finish", self.finish, _FINISHES)
        checks.whole("tool_calls", self.tool_calls, most=128)
        checks.whole("cached_tokens", self.cached_tokens)
        checks.whole("reasoning_tokens", self.reasoning_tokens)


@dataclass(frozen=True, kw_only=True, slots=True)
class Error(Reply):
    """
    An error in the vendor's own words.

    Attributes:
        fault: What to complain of; None: what *status* usually means.
        status: The HTTP status; None: the one this vendor uses for *fault*.
        message: The text; None: the vendor's usual one.
        code: The body's code; None: the vendor's usual one.
        parameter: The field complained of, where it is about one.
        retry_after: Seconds to stay away, or None to say nothing about it.
        retry_after_style: How that is said: ``seconds`` and ``date`` (``Retry-After``), ``ms``
            (``retry-after-ms``), or ``vendor``: as this vendor does it.
        should_retry: ``x-should-retry: true`` or ``false``; None leaves the header out.
        echo_key: Whether the message repeats the whole key it was called with.
        headers: Further headers; they replace those of the same name.
    """

    fault: Fault | None = None
    status: int | None = None
    message: str | None = None
    code: str | None = None
    parameter: str = "temperature"
    retry_after: float | None = None
    retry_after_style: str = "vendor"
    should_retry: bool | None = None
    echo_key: bool = False
    headers: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        checks.one_of("retry_after_style", self.retry_after_style, _RETRY_AFTER_STYLES)
        if self.status is not None:
            checks.whole("status", self.status, least=400, most=599)
        if self.retry_after is not None:
            checks.number("retry_after", self.retry_after, least=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Page(Reply):
    """
    An HTML page, as a gateway or a captive portal sends it.

    Attributes:
        status: The HTTP status (200, 403, 502, ...).
    """

    status: int = 200

    def __post_init__(self) -> None:
        checks.whole("status", self.status, least=200, most=599)


@dataclass(frozen=True, kw_only=True, slots=True)
class HalfJson(Reply):
    """The first half of a good answer, under a ``Content-Length`` that fits it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorIn200(Reply):
    """
    The vendor's error body under status 200.

    Attributes:
        fault: What to complain of.
    """

    fault: Fault = Fault.SERVER


@dataclass(frozen=True, kw_only=True, slots=True)
class NoChoices(Reply):
    """A good answer without its choices (``choices``, ``content`` or ``candidates`` is an empty list)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EmptyMessage(Reply):
    """A choice with neither content, tool call, refusal, reasoning nor finish reason."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HugeBody(Reply):
    """
    A well-formed answer whose text is very long; it is produced while it is sent.

    Attributes:
        mebibytes: The length of the text, MiB.
    """

    mebibytes: int = 128

    def __post_init__(self) -> None:
        checks.whole("mebibytes", self.mebibytes, least=1, most=_LARGEST_BODY)


@dataclass(frozen=True, kw_only=True, slots=True)
class GzipBomb(Reply):
    """
    The same as :class:`HugeBody` in gzip, about a thousandth of it on the wire.

    Attributes:
        mebibytes: The length of the text once unpacked, MiB.
    """

    mebibytes: int = 256

    def __post_init__(self) -> None:
        checks.whole("mebibytes", self.mebibytes, least=1, most=_LARGEST_BODY)


@dataclass(frozen=True, kw_only=True, slots=True)
class Redirect(Reply):
    """
    Sends the client elsewhere.

    Attributes:
        location: The address to go to.
        status: 301, 302, 303, 307 or 308.
    """

    location: str = "http://127.0.0.1:9/v1/chat/completions"
    status: int = 307

    def __post_init__(self) -> None:
        checks.text("location", self.location)
        if self.status not in _REDIRECTS:
            checks.refuse("status", self.status, "one of 301, 302, 303, 307, 308 is needed")


@dataclass(frozen=True, kw_only=True, slots=True)
class Verbatim(Reply):
    """
    Exactly these bytes, for an answer that nothing else here describes.

    Attributes:
        status: The HTTP status.
        body: The body.
        content_type: Its media type.
        headers: Further headers.
    """

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        checks.whole("status", self.status, least=200, most=599)
