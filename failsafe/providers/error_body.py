"""
One form for the error bodies of all providers.

Every provider, and every gateway before it, says what went wrong in a shape of its own.
:func:`parse_error` takes all of them and anything else besides, and never raises. Shapes as in
the vendors' SDKs and API references; each is named where it is read.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec

from failsafe.masking import mask, shorten
from failsafe.secret import Secret

BodyKind = Literal["json", "text", "html", "empty"]

_MOST_BYTES = 256 * 1024  # no provider's error is longer; what is longer is not parsed as JSON
_MOST_MESSAGE = 2000
_MOST_WORD = 100
_EXCERPT = 2048
_DEPTH = 4  # gateways wrap an error in an error

_LABELLED = re.compile(r"<(title|h1|message)\b[^>]*>([^<]{1,300})", re.IGNORECASE)
_MARKUP = re.compile(r"\s*<(!doctype|html|head|body|\?xml|!--|[a-z]+[\s>])", re.IGNORECASE)
_SECONDS = re.compile(r"\d{1,12}(?:\.\d{1,12})?", re.ASCII)


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    """
    What an error body says, whatever its shape. All text is masked and in one line.

    Attributes:
        kind: What it is written in; ``json`` only when an error could be read out of it.
        message: For a person; "" when there is none.
        type: The provider's class of errors (``invalid_request_error``), or "".
        code: The provider's error code, or "". Codes that are whole sentences are part of ``message``.
        status: An HTTP status given inside the body, or None.
        status_text: Google's status word (``RESOURCE_EXHAUSTED``), or "".
        parameter: The parameter it complains about, as the provider names it, or None.
        reasons: Further words for programs: reasons, inner codes, quota ids.
        retry_delay: Seconds to wait as the body says in a field of its own, or None.
        retryable: Whether the body says that another try may pass, or None.
        request_id: The id of the request given inside the body, or None.
        excerpt: The first 2 kB of the body.
    """

    kind: BodyKind
    message: str = ""
    type: str = ""
    code: str = ""
    status: int | None = None
    status_text: str = ""
    parameter: str | None = None
    reasons: tuple[str, ...] = ()
    retry_delay: float | None = None
    retryable: bool | None = None
    request_id: str | None = None
    excerpt: str = ""

    @property
    def words(self) -> tuple[str, ...]:
        """Everything written for programs, in small letters: code, type, status word and reasons."""
        said = (self.code, self.type, self.status_text, *self.reasons)
        return tuple(word.lower() for word in said if word)


def parse_error(body: bytes, content_type: str = "", secrets: Iterable[Secret] = ()) -> ErrorBody:
    """
    Read an error body. Never raises, whatever the bytes are.

    Args:
        body: The whole body.
        content_type: The answer's ``Content-Type``; a hint only, servers mislabel.
        secrets: Keys to remove from every text, besides what looks like a key.
    """
    secrets = tuple(secrets)
    text = body[:_MOST_BYTES].decode("utf-8-sig", "replace").strip()
    excerpt = _clean(text[: 2 * _EXCERPT], _EXCERPT, secrets)
    if not text:
        return ErrorBody(kind="empty")
    parsed = read_error(_decode(text), secrets) if len(body) <= _MOST_BYTES else None
    if parsed is not None:
        return msgspec.structs.replace(parsed, excerpt=excerpt)
    if "html" in content_type.lower() or _MARKUP.match(text):
        return ErrorBody(kind="html", message=_clean(_page_title(text), _MOST_MESSAGE, secrets), excerpt=excerpt)
    return ErrorBody(kind="text", message=excerpt, excerpt=excerpt)


def read_error(value: Any, secrets: Iterable[Secret] = ()) -> ErrorBody | None:
    """
    Read the error out of a decoded JSON *value*; None when it holds none. Never raises.

    Args:
        value: A decoded body, or the value of its ``error`` field.
        secrets: Keys to remove from every text.
    """
    found = _Reading()
    found.read(value, _DEPTH)
    if not (found.texts or found.words or found.code or found.type or found.status):
        return None
    return found.finished(tuple(secrets))


def _decode(text: str) -> Any:
    """
    The JSON value in *text*, or None.

    The standard library's decoder, since it takes what msgspec refuses (lone surrogates, NaN):
    a provider in trouble is to be understood all the same.
    """
    if text.startswith(("data:", "event:")):  # a stream's error event under an error status
        lines = [line for line in text.splitlines() if line.startswith("data:")]
        text = lines[0].removeprefix("data:") if lines else ""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _page_title(text: str) -> str:
    """The title, first heading or message element of a page of markup."""
    match = _LABELLED.search(text[: 4 * _EXCERPT])
    return html.unescape(match[2]) if match else ""


def _clean(text: str, most: int, secrets: tuple[Secret, ...]) -> str:
    return shorten(mask(text, secrets), most)


class _Reading:
    """Gathers what one body says; lives for one :func:`read_error`."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.words: list[str] = []
        self.code = ""
        self.type = ""
        self.status: int | None = None
        self.status_text = ""
        self.parameter: str | None = None
        self.retry_delay: float | None = None
        self.retryable: bool | None = None
        self.request_id: str | None = None

    def finished(self, secrets: tuple[Secret, ...]) -> ErrorBody:
        """The value, cleaned."""
        return ErrorBody(
            kind="json",
            message=_clean("; ".join(dict.fromkeys(self.texts))[: 2 * _MOST_MESSAGE], _MOST_MESSAGE, secrets),
            type=mask(self.type, secrets),
            code=mask(self.code, secrets),
            status=self.status,
            status_text=mask(self.status_text, secrets),
            parameter=mask(self.parameter, secrets) if self.parameter else None,
            reasons=tuple(mask(word, secrets) for word in list(dict.fromkeys(self.words))[:50]),
            retry_delay=self.retry_delay,
            retryable=self.retryable,
            request_id=mask(self.request_id, secrets) if self.request_id else None,
        )

    def read(self, value: Any, depth: int) -> None:
        """Take in a body or a part of one that describes the error."""
        if isinstance(value, str):
            self._say(value)
        elif depth and isinstance(value, list) and value:
            self.read(value[0], depth - 1)  # Gemini wraps its error in a list at times
        elif depth and isinstance(value, Mapping):
            self._read_object(value, depth)

    def _read_object(self, value: Mapping[str, Any], depth: int) -> None:
        self._read_fields(value)
        for name in ("error", "errors"):  # nested (most), {"error": "text"} (Ollama, vLLM, xAI), {"errors": [...]}
            self.read(value.get(name), depth - 1)
        for name in ("message", "msg", "error_description", "Message"):
            self.read(value.get(name), depth - 1)
        self._read_detail(value.get("detail"), depth)
        self._read_google_details(value.get("details"))
        self._read_azure(value.get("innererror"))
        self._read_openrouter(value)

    def _read_fields(self, value: Mapping[str, Any]) -> None:
        """``code``, ``type``, ``status``, ``param``, ``request_id``: the first that is said stands."""
        self._read_code(value.get("code"))
        kind = _word(value.get("type"))
        if kind and kind != "error":  # {"type": "error", "error": {...}}: Anthropic's envelope
            self.type = self.type or kind
        self._read_status(value.get("status"))
        self.parameter = self.parameter or _word(value.get("param")) or None
        self.request_id = self.request_id or _word(value.get("request_id")) or None

    def _read_code(self, code: Any) -> None:
        """A word; an HTTP status as number (OpenRouter, vLLM, Gemini) or digits (Azure); a sentence (xAI)."""
        status = _http_status(code)
        if status is not None:
            self.status = self.status or status
        elif _word(code):
            self.code = self.code or _word(code)
        else:
            self._say(code)

    def _read_status(self, status: Any) -> None:
        number = _http_status(status)
        if number is not None:
            self.status = self.status or number
        else:
            self.status_text = self.status_text or _word(status)

    def _read_detail(self, detail: Any, depth: int) -> None:
        """FastAPI: ``{"detail": "text"}`` or ``{"detail": [{"loc", "msg", "type"}]}``."""
        if not isinstance(detail, list):
            self.read(detail, depth - 1)
            return
        for item in detail[:5]:
            where = _location(item)
            if where is None:
                self.read(item, depth - 1)
                continue
            what = item.get("msg")
            self._say(f"{where}: {what}" if isinstance(what, str) else where)
            self.parameter = self.parameter or where or None
            self._note(item.get("type"))

    def _read_google_details(self, details: Any) -> None:
        """Gemini's list of ``google.rpc`` messages, and Anthropic's ``{"error_code"}``."""
        for detail in details[:20] if isinstance(details, list) else [details]:
            if not isinstance(detail, Mapping):
                continue
            self._note(detail.get("error_code"), detail.get("reason"))
            if self.retry_delay is None:
                self.retry_delay = _duration(detail.get("retryDelay"))
            violations = detail.get("violations")
            for violation in violations[:20] if isinstance(violations, list) else ():
                if isinstance(violation, Mapping):
                    self._note(violation.get("quotaId"))

    def _read_azure(self, inner: Any) -> None:
        if isinstance(inner, Mapping):
            self._note(inner.get("code"))

    def _read_openrouter(self, value: Mapping[str, Any]) -> None:
        """``metadata`` holds what the upstream said (and the prompt itself, which is left alone)."""
        metadata, availability = value.get("metadata"), value.get("availability")
        if isinstance(metadata, Mapping):
            self._note(metadata.get("error_type"), metadata.get("provider_code"))
            raw = metadata.get("raw")
            if isinstance(raw, str):
                self._say(shorten(raw, 500))
        if isinstance(availability, Mapping):
            self._note(availability.get("code"))
            retryable = availability.get("retryable")
            self.retryable = retryable if isinstance(retryable, bool) else None
            if self.retry_delay is None:
                self.retry_delay = _duration(availability.get("retry_after"))

    def _note(self, *values: Any) -> None:
        """Keep the words for programs among *values*."""
        self.words += [word for word in map(_word, values) if word]

    def _say(self, text: Any) -> None:
        """Keep *text* for a person, if it is text."""
        if isinstance(text, str) and text.strip():
            self.texts.append(text[: 2 * _MOST_MESSAGE])


def _word(value: Any) -> str:
    """*value* as a word for programs: text without white space, or a whole number; else ""."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**9:
        return str(value)
    if isinstance(value, str) and 0 < len(value) <= _MOST_WORD and value.isprintable() and " " not in value:
        return value
    return ""


def _http_status(value: Any) -> int | None:
    """*value* as the HTTP status of an error, given as number or digits."""
    word = _word(value)
    return int(word) if len(word) == 3 and word.isascii() and word.isdigit() and 400 <= int(word) < 600 else None


def _location(item: Any) -> str | None:
    """``["body", "messages", 0, "role"]`` as ``messages.0.role``; None when *item* has no such place."""
    if not isinstance(item, Mapping) or not isinstance(item.get("loc"), list):
        return None
    parts = [word for word in map(_word, item["loc"][:10]) if word]
    return ".".join(parts[1:] if parts[:1] == ["body"] else parts)[:_MOST_WORD]


def _duration(value: Any) -> float | None:
    """Google's ``"36s"`` or ``"0.5s"``, or a number of seconds."""
    text = f"{value:f}" if isinstance(value, float) else _word(value).removesuffix("s")
    return float(text) if _SECONDS.fullmatch(text) else None
