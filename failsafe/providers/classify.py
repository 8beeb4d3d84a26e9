"""
An HTTP answer that is no success, as a :class:`failsafe.models.Failure`.

What it is says :mod:`failsafe.providers.fault_rules`; this module reads the rest of the answer
(how long to wait, which parameter, what is wrong with the key) and writes it down, masked.
Pure functions, thread-safe, no I/O; they never raise.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from failsafe.catalog import catalog
from failsafe.faults import Fault
from failsafe.masking import mask, shorten
from failsafe.models import Failure
from failsafe.providers import hints
from failsafe.providers.diagnosis import diagnose_key
from failsafe.providers.error_body import ErrorBody, parse_error, read_error
from failsafe.providers.fault_rules import IMPLIED_STATUSES, Answered, Rule, fault_of
from failsafe.providers.refusals import refused_parameter
from failsafe.providers.request_ids import request_id
from failsafe.secret import Secret

_LONGEST_MESSAGE = 300

_SAYS_WHEN = frozenset({Fault.OVERLOADED, Fault.SERVER, Fault.CONFLICT})
"""Faults whose answers may state when to come back; for the others a time would mean something else."""

_NOT_RETRIED = frozenset({Fault.AUTH, Fault.QUOTA, Fault.PERMISSION, Fault.MODEL})
"""Faults that ``x-should-retry: true`` does not turn into a retry."""

_REFUSED_UNREAD = frozenset(
    {
        Fault.RATE_LIMIT, Fault.QUOTA, Fault.AUTH, Fault.PERMISSION, Fault.MODEL, Fault.CONTEXT,
        Fault.UNSUPPORTED_PARAMETER, Fault.BAD_REQUEST,
    }
)  # fmt: skip
"""Faults that mean that no model has seen the prompt, so that nothing is billed."""

_OF_THE_ACCOUNT = re.compile(r"\b(?:account|organi[sz]ation|workspace)\b", re.IGNORECASE)
_OF_A_MODEL = re.compile(r"\bmodel\b|\bfor \S+ in organi[sz]ation\b", re.IGNORECASE)
_PER_DAY = re.compile(r"\bper[- ]day\b|\bdaily\b", re.IGNORECASE)


def classify(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    vendor: str,
    dialect: str,
    model: str,
    clock_time: float,
    secrets: Iterable[Secret] = (),
    key: Secret | None = None,
    provider: str = "",
) -> Failure:
    """
    Recognise an answer with any status but a success. Never raises.

    Args:
        status: The HTTP status.
        headers: The answer's headers; names in any case.
        body: The whole body.
        vendor: Whose rules it follows (a name of the catalogue); those of OpenAI apply to an unknown one.
        dialect: The dialect that was spoken; its vendor's rules apply too.
        model: The model id that was asked for.
        clock_time: Seconds since 1970-01-01 UTC.
        secrets: Every key that must not show.
        key: The key that was sent, for the diagnosis; where None, the only one of *secrets*.
        provider: The provider's configured name, for the diagnosis.
    """
    secrets = (*secrets, *([key] if key else []))
    said = parse_error(body, _header(headers, "content-type"), secrets)
    answered = Answered(names=frozenset((vendor, dialect)), status=status, body=said, model=model)
    fault, rule = fault_of(answered)
    diagnosis = ""
    if fault is Fault.AUTH:
        sent = key or (secrets[0] if len(secrets) == 1 else None)
        diagnosis = _diagnose(sent, provider, vendor, status, said)
    identity = said.request_id
    return Failure(
        fault=fault,
        message=_message(f"HTTP {status}", said, secrets, _moved_to(status, headers), diagnosis),
        status=status,
        code=_code(said),
        request_id=request_id(hints.lower(headers), secrets) or (mask(identity, secrets) if identity else None),
        retry_after=_retry_after(fault, headers, said, clock_time, vendor),
        should_retry=_should_retry(fault, headers, said),
        whole_key=_whole_key(fault, said),
        parameter=_parameter(fault, rule, said),
        diagnosis=diagnosis,
        bytes_received=len(body),
    )


def classify_error_in_success(
    body: Any,
    failure: Failure,
    *,
    vendor: str,
    dialect: str,
    model: str = "",
    secrets: Iterable[Secret] = (),
) -> Failure:
    """
    Recognise an error that came under a success status. Never raises.

    The body's own status (OpenRouter) or type (Anthropic, OpenAI, Gemini) stands in for the HTTP
    status. It may have been billed unless the error means that no model has seen the prompt.

    Args:
        body: The decoded body, or the value of its ``error`` field.
        failure: What the dialect made of it; returned as it is when *body* holds no error.
        vendor: Whose rules it follows.
        dialect: The dialect that was spoken.
        model: The model id that was asked for.
        secrets: Every key that must not show.
    """
    secrets = tuple(secrets)
    said = read_error(_error_of(body), secrets)
    if said is None:
        return failure
    status = said.status or next((IMPLIED_STATUSES[word] for word in said.words if word in IMPLIED_STATUSES), None)
    answered = Answered(names=frozenset((vendor, dialect)), status=status, body=said, model=model)
    fault, rule = fault_of(answered)
    meant = f" (meaning {status})" if status else ""
    diagnosis = _diagnose(None, "", vendor, status, said) if fault is Fault.AUTH else ""
    return msgspec.structs.replace(
        failure,
        fault=fault,
        message=_message(f"an error inside a success{meant}", said, secrets, diagnosis=diagnosis),
        code=_code(said),
        retry_after=_retry_after(fault, {}, said, 0.0, vendor),
        should_retry=_should_retry(fault, {}, said),
        whole_key=_whole_key(fault, said),
        parameter=_parameter(fault, rule, said),
        diagnosis=diagnosis,
        maybe_billed=fault not in _REFUSED_UNREAD,
    )


def _error_of(body: Any) -> Any:
    """The part of a decoded body that describes the error: all of it, ``error``, or the first choice's."""
    if not isinstance(body, Mapping) or body.get("error"):
        return body
    choices = body.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    if isinstance(first, Mapping):
        return first.get("error")
    return None if "choices" in body or "candidates" in body or "content" in body else body


def _header(headers: Mapping[str, str], name: str) -> str:
    return next((str(value) for key, value in headers.items() if str(key).lower() == name), "")


def _message(start: str, said: ErrorBody, secrets: Iterable[Secret], moved_to: str = "", diagnosis: str = "") -> str:
    """One line: the status, the provider's code, what it says, and what is wrong with the key."""
    code = _code(said)
    text = moved_to or _what_it_says(said)
    line = mask(f"{start} {code}: {text}" if code else f"{start}: {text}", secrets)
    if not diagnosis:
        return shorten(line, _LONGEST_MESSAGE).rstrip(". ")
    room = max(_LONGEST_MESSAGE // 3, _LONGEST_MESSAGE - len(diagnosis) - 2)
    return shorten(f"{shorten(line, room).rstrip('. ')}; {diagnosis}", _LONGEST_MESSAGE)


def _what_it_says(said: ErrorBody) -> str:
    if said.kind == "empty":
        return "an empty body"
    if said.kind == "html":
        return f"a web page instead of an API's answer: {said.message or 'without a title'}"
    return said.message or "no message"


def _moved_to(status: int, headers: Mapping[str, str]) -> str:
    """For a redirect, the host it points to; the rest of the address may hold anything."""
    if not 300 <= status < 400:
        return ""
    try:
        host = urlsplit(_header(headers, "location")).hostname
    except ValueError:
        host = None
    return f"redirected to {host or 'another path of the same host'}, which is not followed"


def _code(said: ErrorBody) -> str | None:
    return said.code or said.status_text or said.type or None


def _retry_after(
    fault: Fault, headers: Mapping[str, str], said: ErrorBody, clock_time: float, vendor: str
) -> float | None:
    if fault is Fault.RATE_LIMIT:
        return hints.retry_after(headers, said, clock_time, vendor=vendor)
    return hints.stated_wait(headers, said, clock_time) if fault in _SAYS_WHEN else None


def _should_retry(fault: Fault, headers: Mapping[str, str], said: ErrorBody) -> bool | None:
    wanted = hints.should_retry(headers, said)
    return None if wanted and fault in _NOT_RETRIED else wanted


def _whole_key(fault: Fault, said: ErrorBody) -> bool:
    """
    Whether the limit holds for every model of the key.

    Credit and the key itself always do. A rate limit does when the answer speaks of the account
    or of the day and names no model: "Rate limit reached for gpt-4 in organization org-1" is
    that model's limit, and so is a Gemini quota whose id ends in ``PerModel``.
    """
    if fault in (Fault.QUOTA, Fault.AUTH):
        return True
    if fault is not Fault.RATE_LIMIT:
        return False
    quotas = [word for word in said.words if "perday" in word]
    if quotas:
        return not any("permodel" in word for word in quotas)
    of_all = _OF_THE_ACCOUNT.search(said.message) or _PER_DAY.search(said.message)
    return bool(of_all) and not _OF_A_MODEL.search(said.message)


def _parameter(fault: Fault, rule: Rule | None, said: ErrorBody) -> str | None:
    if fault is not Fault.UNSUPPORTED_PARAMETER or (rule is not None and rule.capability):
        return None
    return refused_parameter(said)


def _diagnose(key: Secret | None, provider: str, vendor: str, status: int | None, said: ErrorBody) -> str:
    prefixes = {name: preset.key_prefixes for name, preset in catalog().presets.items()}
    named = provider or vendor or "the provider"
    return diagnose_key(key, provider=named, vendor=vendor, prefixes=prefixes, status=status, body=said)
