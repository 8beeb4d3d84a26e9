"""The provider's id of a request, for its support desk."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from failsafe.masking import echoes_key, mask, shorten
from failsafe.secret import Secret

_HEADERS = (
    *("x-request-id", "request-id", "apim-request-id", "mistral-correlation-id", "x-generation-id"),
    "cf-ray",  # last: only a content network in between knows it
)
_LONGEST = 200
_PLAIN = re.compile(r"(?!.*(?:AIza|gsk_|hf_|tgp_))\w{1,100}|[0-9a-f-]{36}", re.ASCII)
"""What most ids look like, and of known keys only those excepted; to look for all kinds takes most of the time."""


def request_id(headers: Mapping[str, str], secrets: Iterable[Secret] = ()) -> str | None:
    """
    Return the provider's id of the request, or None. Keys are masked, since a server may send anything.

    Args:
        headers: The answer's headers; look-ups must ignore case.
        secrets: Every key that must not show.
    """
    for name in _HEADERS:
        value = headers.get(name)
        if value and _PLAIN.fullmatch(value) and not echoes_key(value, secrets):
            return value
        identity = shorten(mask(value[: 5 * _LONGEST], secrets), _LONGEST) if value else ""
        if identity:
            return identity
    return None
