"""Makes an answer or a failure of what came back over HTTP."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from failsafe.config import ProviderConfig
from failsafe.faults import Fault
from failsafe.masking import mask
from failsafe.models import Failure
from failsafe.providers.answering_model import with_model_shown
from failsafe.providers.base import Target
from failsafe.providers.request_ids import request_id
from failsafe.secret import Secret
from failsafe.transport.base import RawAnswer


class BodyReader(Protocol):
    """Reads one kind of answer: a dialect reads chats."""

    name: str

    def read(self, body: Any, target: Target) -> Any:
        """The answer in a decoded 2xx body, or a :class:`failsafe.models.Failure` that says why it is none."""


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """
    A complete answer with what only the HTTP answer around it tells.

    Attributes:
        answer: A :class:`failsafe.models.Answer`, or what another reader has read (embeddings, a list of models).
        status: The HTTP status.
        request_id: The provider's id of the request.
        bytes_received: Bytes of the body.
    """

    answer: Any
    status: int
    request_id: str | None
    bytes_received: int


def read_answer(
    raw: RawAnswer, target: Target, key: Secret | None, *, config: ProviderConfig, dialect: BodyReader, now: float
) -> Answered | Failure:
    """
    Judge *raw*; never raises. Thread-safe.

    Args:
        raw: What came back.
        target: Who was asked.
        key: The key that was sent.
        config: The provider's settings.
        dialect: What its body is read with.
        now: Seconds since 1970-01-01 UTC.
    """
    if not 200 <= raw.status < 300:
        return _classified(raw, target, key, config, dialect, now)
    answer = _read(raw, target, config, dialect)
    identity = request_id(raw.headers, config.keys)
    if isinstance(answer, Failure):
        return msgspec.structs.replace(
            answer,
            message=mask(answer.message, config.keys),
            status=raw.status,
            request_id=identity,
            bytes_received=len(raw.body),
        )
    answer = with_model_shown(answer, target.model, config.keys)
    return Answered(answer=answer, status=raw.status, request_id=identity, bytes_received=len(raw.body))


def _classified(
    raw: RawAnswer, target: Target, key: Secret | None, config: ProviderConfig, dialect: BodyReader, now: float
) -> Failure:
    from failsafe.providers.classify import classify  # a program whose calls succeed never needs it

    return classify(
        raw.status,
        raw.headers,
        raw.body,
        vendor=config.vendor,
        dialect=dialect.name,
        model=target.model,
        clock_time=now,
        secrets=config.keys,
        key=key,
        provider=config.name,
    )


def _read(raw: RawAnswer, target: Target, config: ProviderConfig, dialect: BodyReader) -> Any:
    body = _decode(raw)
    if isinstance(body, Failure):
        return body
    try:
        answer = dialect.read(body, target)
    except Exception as error:  # noqa: BLE001 -- an answer that nobody foresaw costs an attempt, not the call
        what = f"an answer that could not be read ({type(error).__name__})"
        return Failure(fault=Fault.MALFORMED, message=f"HTTP {raw.status} with {what}", maybe_billed=True)
    if isinstance(answer, Failure) and answer.fault is Fault.SERVER:
        from failsafe.providers.classify import classify_error_in_success

        return classify_error_in_success(
            body,
            answer,
            vendor=config.vendor,
            dialect=dialect.name,
            model=target.model,
            secrets=config.keys,
        )
    return answer


def _decode(raw: RawAnswer) -> Any:
    """The decoded JSON, or a Failure that says what came instead."""
    try:
        return msgspec.json.decode(raw.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass  # judged below, outside of the handler: the exception holds the body
    start = raw.body[:256].lstrip().lower()
    if not start:
        what = "an empty body"
    elif start.startswith((b"<!doctype", b"<html", b"<?xml", b"<")):
        what = "HTML instead of JSON"
    else:
        what = f"{len(raw.body)} bytes that are not JSON"
    return Failure(fault=Fault.MALFORMED, message=f"HTTP {raw.status} with {what}", maybe_billed=True)
