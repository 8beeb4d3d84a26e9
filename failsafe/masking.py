"""
Text from outside, made safe to show: no key, no control character, one line.

Providers echo keys in their error texts, whole or in part, so every text of theirs passes
through here before it reaches an exception, a log line or an event. Pure functions, thread-safe.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from urllib.parse import quote

from failsafe.secret import Secret

MASK = "[masked]"
"""What stands in place of a key."""

_ECHO = 8  # this many characters of a key in a row, from anywhere in it, give it away

_KEY_SHAPES = r"""
    (?<![A-Za-z0-9]) (?:
        sk-[\w.*…-]{6,}                                     # OpenAI, Anthropic, OpenRouter, DeepSeek, ...
      | (?:gsk_|xai-|tgp_v1_|hs-|hf_|AIza|AQ\.|ya29\.)[\w.*…-]{8,}
      | eyJ[\w-]{8,}\.[\w.-]+                               # JSON web tokens
    )
    | (?i:bearer)\ (?=[^\s"',;\[\]]*[\d*])[^\s"',;\[\]]{8,} # a word with a digit is a token, "authentication" is none
    | (?i:bearer)\ [^\s"',;\[\]]{20,}
    | (?i:basic)\ (?=[a-z+/]*[A-Z0-9])[A-Za-z0-9+/]{12,}={0,2}(?!\w)
    | (?<=//)[^/@\s]+(?=@)                                   # user and password in a URL
    | (?i:api[-_]?key["']?\ ?[:=]\ ?["']?|[?&]key=)[\w.-]{16,}
    | (?<![\w.-])[\w.-]*+\*{3,}[\w-]*                       # a key that the provider itself has half hidden
    """


@cache
def _key_shapes() -> re.Pattern[str]:
    """Compiled when the first text comes from outside, not at import."""
    return re.compile(_KEY_SHAPES, re.VERBOSE)


def mask(text: str, secrets: Iterable[Secret] = ()) -> str:
    """
    Return *text* in one line, without keys and without control characters.

    Removed are every key of *secrets*, any eight or more characters in a row of one (a key is echoed
    cut, shortened in the middle or broken into lines), and whatever looks like a key of a known provider or
    like a bearer token. A key of fewer than eight characters (``none``, ``ollama``) is removed where it stands as a
    word of its own, so that it does not spoil other words. Never raises.

    Args:
        text: Any text, lone surrogates included; the result can always be encoded as UTF-8.
        secrets: The keys that may be in it.
    """
    line = one_line(text)
    spans = [match.span() for match in _key_shapes().finditer(line)]
    spans.extend(_echoes_of(line, secrets))
    return _cover(line, spans)


def echoes_key(text: str, secrets: Iterable[Secret]) -> bool:
    """Whether *text*, which is one line, holds enough of one of *secrets* to give it away."""
    return next(_echoes_of(text, secrets), None) is not None


def one_line(text: str) -> str:
    """Return *text* with each run of white space, control and other unprintable characters as one space."""
    if text.isprintable() and "  " not in text and text[:1] != " " and text[-1:] != " ":
        return text
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def shorten(text: str, most: int) -> str:
    """Return *text* cut to at most *most* characters, the cut marked with an ellipsis."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


@lru_cache(maxsize=256)  # every answer's request id is masked with the same few keys
def _written_forms(secret: Secret) -> frozenset[str]:
    """The key as it may be written in a line of text: as it is, and percent-encoded."""
    key = one_line(secret.reveal())
    return frozenset({key, quote(key, safe="")} - {""})


def _echoes_of(line: str, secrets: Iterable[Secret]) -> Iterator[tuple[int, int]]:
    """Where any of *secrets*, however it is written, gives itself away in *line*."""
    for secret in secrets:
        for form in _written_forms(secret):
            yield from _echoes(line, form)


def _echoes(line: str, key: str) -> Iterator[tuple[int, int]]:
    """Where the whole key, or enough of it in a row to give it away, stands in *line*."""
    if len(key) < _ECHO:
        yield from (match.span() for match in re.finditer(rf"(?<!\w){re.escape(key)}(?!\w)", line))
        return
    half = _ECHO // 2
    for place in range(0, len(line), half):  # every echo holds one of these halves whole, and few other texts do
        if line[place : place + half] in key:
            for start in range(max(place - half + 1, 0), min(place, len(line) - _ECHO) + 1):
                if line[start : start + _ECHO] in key:
                    yield start, start + _ECHO


def _cover(line: str, spans: list[tuple[int, int]]) -> str:
    """Replace each run of overlapping or touching *spans* by one mark."""
    parts: list[str] = []
    done = 0
    for start, end in sorted(spans):
        if start > done or (start == done and not parts):
            parts += [line[done:start], MASK]
        done = max(done, end)
    return "".join([*parts, line[done:]])
