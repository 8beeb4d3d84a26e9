"""
What is visibly wrong with a configured API key, before it is sent anywhere.

A key is never refused for looking like another vendor's, since vendors change the shape of
their keys; only for what no header can carry or no vendor ever issued. Nothing here says any
part of the key.
"""

from __future__ import annotations

import re

_LONGEST = 8192  # servers commonly refuse a header line beyond 8 KiB

_PLACEHOLDER = re.compile(
    r"""
    <.*> | \[.*\] | \{.*\}                                  # <your key>, [key], {key}
    | (sk-|gsk_|xai-)? your[-_ ].*                            # YOUR_API_KEY, sk-your-key
    | .*(key|token|secret)[-_ ]here                         # put-your-api-key-here
    | .*\.\.\..*                                            # sk-...
    | .*\*\*\*.*                                            # sk-****1234, copied from a masked display
    | (sk-|gsk_|xai-)? x{3,}                                # xxxx, sk-xxxx
    | (change|replace)[-_ ]?me | placeholder | todo | tbd
    """,
    re.IGNORECASE | re.VERBOSE,
)
_UNEXPANDED = re.compile(r"\$\w+|\$\{.*\}|%\w+%|\$\(.*\)")
_REFERENCE = re.compile(r"(env|keyring)\s*:.*|\$env:.*", re.IGNORECASE)
_SCHEME = re.compile(r"(bearer|basic|token)(\s|$)", re.IGNORECASE)


def problem(text: str) -> str | None:
    """
    Say what is wrong with the key *text*, or None when nothing is visibly wrong.

    The answer is a clause that continues "the key ...", with what to do, and contains no part of
    the key: ``"ends with a newline; remove it"``.
    """
    for check in (_blank, _wrapped, _not_a_key, _unsendable):
        found = check(text)
        if found:
            return found
    return None


def _blank(text: str) -> str | None:
    if not text:
        return "is empty; set it, or leave api_key out"
    if not text.strip():
        return "is blank; set it, or leave api_key out"
    return None


def _wrapped(text: str) -> str | None:
    """What stands around the key and does not belong to it."""
    if text[-1] in "\r\n":
        return "ends with a newline; remove it"
    if text != text.strip():
        return "begins or ends with white space; remove it"
    if len(text) > 1 and text[0] in "'\"`\u2018\u201c\u201e":
        return "is wrapped in quotes; remove them"
    if _SCHEME.match(text):
        return "begins with 'Bearer', 'Basic' or 'Token'; give the bare key, the scheme is added when it is sent"
    return None


def _unsendable(text: str) -> str | None:
    """What an HTTP header cannot carry."""
    if "\n" in text or "\r" in text:
        return "contains a newline; a key is one line"
    if any(character.isspace() for character in text):
        return "contains white space; copy it again"
    if any(ord(character) > 0xFF for character in text):
        return "contains a character that no HTTP header can carry (outside latin-1); copy it again"
    if not text.isprintable():
        return "contains a control character; copy it again"
    if len(text) > _LONGEST:
        return f"is longer than {_LONGEST} characters; that is no API key"
    return None


def _not_a_key(text: str) -> str | None:
    """What was meant to be replaced by a key and was not."""
    if _REFERENCE.fullmatch(text):
        return "is a reference that was not understood; write env:NAME or keyring:NAME in small letters, without spaces"
    if _UNEXPANDED.fullmatch(text):
        return "is a variable that nothing has expanded; write env:NAME"
    if _PLACEHOLDER.fullmatch(text):
        return "is a placeholder; put the real key there"
    return None
