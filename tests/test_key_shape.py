"""What is said of a configured key before it is sent anywhere."""

from __future__ import annotations

import pytest

from failsafe import key_shape

REAL = [
    "sk-proj-Zm9vYmFyYmF6cXV4",
    "sk-ant-api03-AbC_dEf-123",
    "gsk_AbCdEf0123456789",
    "AIzaSyA-0123456789abcdefghijklmnopqrstu",
    "AQ.Ab8RN6Lz0123456789",
    "0123456789abcdef0123456789abcdef",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
    "ollama",
    "EMPTY",
    "none",
    "not-needed",
    "marked-key-4711",
    "Bearer-less",
    "clé",
]

WRONG = {
    "": "empty",
    "   ": "blank",
    "sk-abcdefgh1234\n": "newline",
    "sk-abcdefgh1234\r\n": "newline",
    "sk-abcd\nefgh1234": "newline",
    " sk-abcdefgh1234": "white space",
    "sk-abcdefgh1234\t": "white space",
    "sk-abcd efgh1234": "white space",
    "sk-abcd\u00a0efgh1234": "white space",
    '"sk-abcdefgh1234"': "quotes",
    "'sk-abcdefgh1234'": "quotes",
    "\u201csk-abcdefgh1234\u201d": "quotes",
    "Bearer sk-abcdefgh1234": "'Bearer'",
    "bearer sk-abcdefgh1234": "'Bearer'",
    "sk-abcdefgh\u20101234": "latin-1",
    "sk-abcdefgh\udc801234": "latin-1",
    "sk-abcdefgh\x001234": "control",
    "sk-abcdefgh\x851234": "white space",
    "sk-abcdefgh\x9f1234": "control",
    "sk-" + "a" * 9000: "longer than 8192",
    "YOUR_API_KEY": "placeholder",
    "your-api-key-here": "placeholder",
    "sk-your-key": "placeholder",
    "<your key>": "placeholder",
    "sk-...": "placeholder",
    "sk-****1234": "placeholder",
    "sk-xxxxxxxx": "placeholder",
    "changeme": "placeholder",
    "CHANGE_ME": "placeholder",
    "$OPENAI_API_KEY": "variable",
    "${OPENAI_API_KEY}": "variable",
    "%OPENAI_API_KEY%": "variable",
    "ENV:OPENAI_API_KEY": "reference",
    "env: OPENAI_API_KEY": "reference",
}


@pytest.mark.parametrize("key", REAL)
def test_no_key_is_refused_for_its_vendor_or_its_oddity(key: str) -> None:
    assert key_shape.problem(key) is None


@pytest.mark.parametrize(("key", "said"), WRONG.items(), ids=[ascii(key)[:30] for key in WRONG])
def test_what_is_visibly_wrong_is_named(key: str, said: str) -> None:
    assert said in str(key_shape.problem(key))


@pytest.mark.parametrize("key", [key for key in WRONG if "abcd" in key], ids=lambda key: ascii(key)[:30])
def test_the_problem_shows_no_part_of_the_key(key: str) -> None:
    said = str(key_shape.problem(key))
    assert "abcd" not in said
    assert "1234" not in said
