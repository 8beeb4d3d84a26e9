# ruff: noqa: E501  # a body and what is read out of it are easier to compare in one line
"""Every shape of error body, and everything that is none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe.providers.error_body import ErrorBody, parse_error, read_error
from failsafe.secret import Secret


def parsed(body: Any, content_type: str = "application/json") -> ErrorBody:
    return parse_error(body if isinstance(body, bytes) else json.dumps(body).encode(), content_type)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(
            {"error": {"message": "m", "type": "t", "param": "p", "code": "c"}},
            {"message": "m", "type": "t", "parameter": "p", "code": "c"},
            id="OpenAI",
        ),
        pytest.param(
            {"error": {"message": "m", "type": "t", "param": None, "code": None}},
            {"message": "m", "type": "t", "parameter": None, "code": ""},
            id="OpenAI-nulls",
        ),
        pytest.param(
            {"error": {"message": "m", "type": "NotFoundError", "code": 404}},
            {"message": "m", "code": "", "status": 404},
            id="a-number-as-code",
        ),
        pytest.param(
            {"type": "error", "error": {"type": "t", "message": "m", "details": {"error_code": "e"}}, "request_id": "r"},
            {"message": "m", "type": "t", "reasons": ("e",), "request_id": "r"},
            id="Anthropic",
        ),
        pytest.param(
            {"error": {"code": 429, "message": "m", "status": "S", "details": [{"reason": "R", "retryDelay": "36.5s"}, {"violations": [{"quotaId": "Q"}]}]}},
            {"message": "m", "status": 429, "status_text": "S", "reasons": ("R", "Q"), "retry_delay": 36.5},
            id="Gemini",
        ),
        pytest.param(
            [{"error": {"code": 400, "message": "m", "status": "S"}}],
            {"message": "m", "status": 400, "status_text": "S"},
            id="Gemini-in-a-list",
        ),
        pytest.param(
            {"object": "error", "message": "m", "type": "t", "param": None, "code": "3280"},
            {"message": "m", "type": "t", "code": "3280"},
            id="Mistral",
        ),
        pytest.param(
            {"object": "error", "message": {"detail": [{"loc": ["body", "seed"], "msg": "m", "type": "extra_forbidden"}]}, "type": "t"},
            {"message": "seed: m", "type": "t", "parameter": "seed", "reasons": ("extra_forbidden",)},
            id="Mistral-nested",
        ),
        pytest.param({"detail": "m"}, {"message": "m"}, id="FastAPI-text"),
        pytest.param(
            {"detail": [{"loc": ["body", "messages", 0, "role"], "msg": "m", "type": "t"}, {"loc": ["body", "n"], "msg": "o"}]},
            {"message": "messages.0.role: m; n: o", "parameter": "messages.0.role", "reasons": ("t",)},
            id="FastAPI-list",
        ),
        pytest.param({"detail": {"error": {"message": "m", "code": "c"}}}, {"message": "m", "code": "c"}, id="FastAPI-object"),
        pytest.param({"error": "m"}, {"message": "m", "type": ""}, id="Ollama"),
        pytest.param({"code": "A whole sentence", "error": "m"}, {"message": "A whole sentence; m", "code": ""}, id="xAI"),
        pytest.param({"message": "m"}, {"message": "m"}, id="gateway"),
        pytest.param({"Message": "m"}, {"message": "m"}, id="gateway-capital"),
        pytest.param({"errors": [{"message": "m", "code": "c"}]}, {"message": "m", "code": "c"}, id="a-list-of-errors"),
        pytest.param({"errors": ["m", "n"]}, {"message": "m"}, id="a-list-of-texts"),
        pytest.param({"error": "invalid_client", "error_description": "m"}, {"message": "invalid_client; m"}, id="OAuth"),
        pytest.param(
            {"error": {"code": 502, "message": "m", "metadata": {"raw": "upstream", "provider_code": "pc", "error_type": "et", "flagged_input": "the prompt"}}},
            {"message": "m; upstream", "status": 502, "reasons": ("et", "pc")},
            id="OpenRouter",
        ),
        pytest.param(
            {"error": {"code": 503, "message": "m", "availability": {"code": "a", "retryable": False, "retry_after": 2.5}}},
            {"message": "m", "reasons": ("a",), "retryable": False, "retry_delay": 2.5},
            id="OpenRouter-availability",
        ),
        pytest.param(
            {"error": {"code": "content_filter", "message": "m", "status": 400, "innererror": {"code": "RAI"}}},
            {"message": "m", "code": "content_filter", "status": 400, "reasons": ("RAI",)},
            id="Azure",
        ),
        pytest.param({"error": {"code": "401", "message": "m"}}, {"message": "m", "code": "", "status": 401}, id="digits-as-code"),
        pytest.param({"error": {"error": {"error": {"message": "m"}}}}, {"message": "m"}, id="wrapped"),
        pytest.param("m", {"message": "m"}, id="a-JSON-text"),
    ],
)  # fmt: skip
def test_each_shape_is_read(body: Any, expected: dict[str, Any]) -> None:
    said = parsed(body)
    assert said.kind == "json"
    assert {name: getattr(said, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        (b"", "empty", ""),
        (b" \r\n ", "empty", ""),
        (b"upstream connect error", "text", "upstream connect error"),
        (b"<html><head><title>502 Bad\n Gateway</title></head></html>", "html", "502 Bad Gateway"),
        (b"\xef\xbb\xbf<!DOCTYPE HTML><h1 class=x>A &amp; B</h1>", "html", "A & B"),
        (b"<?xml version='1.0'?><Error><Code>X</Code><Message>no bucket</Message></Error>", "html", "no bucket"),
        (b"<html>nothing to quote</html>", "html", ""),
        (b"\xff\xfe\x00\x01", "text", "\ufffd\ufffd"),
        (b'{"error": {"message": "caf\xe9"}}', "json", "caf\ufffd"),
        (b'\xef\xbb\xbf{"error": {"message": "m"}}', "json", "m"),
        (b'{"error": {"message": "\\ud800 alone"}}', "json", "alone"),
        (b'{"error": {"message": "half', "text", '{"error": {"message": "half'),
        (b'{"error": NaN, "message": "m"}', "json", "m"),
        (b'event: error\ndata: {"type":"error","error":{"type":"t","message":"m"}}\n\n', "json", "m"),
        (b"event: error\n\n", "text", "event: error"),
        (b'{"ok": false}', "text", '{"ok": false}'),
        (b"[]", "text", "[]"),
        (b"null", "text", "null"),
        (b"503", "text", "503"),
    ],
)
def test_what_is_no_error_of_an_api_keeps_its_words(body: bytes, kind: str, message: str) -> None:
    said = parse_error(body, "application/json")
    assert (said.kind, said.message) == (kind, message)


def test_the_content_type_is_a_hint_only() -> None:
    assert parse_error(b'{"error": "m"}', "text/html; charset=utf-8").message == "m"
    assert parse_error(b"no markup at all", "text/html").kind == "html"
    assert parse_error(b"<html></html>", "application/json").kind == "html"


@pytest.mark.parametrize("depth", [5, 1000, 100_000])
def test_a_deeply_nested_body_is_survived(depth: int) -> None:
    objects = b'{"error":' * depth + b'"m"' + b"}" * depth
    lists = b"[" * depth + b"]" * depth
    assert parse_error(objects).message != "m"
    assert parse_error(lists).kind == "text"


def test_numbers_of_any_length_are_survived() -> None:
    assert parse_error(b'{"error": {"message": "m", "code": ' + b"9" * 10_000 + b"}}").kind == "text"
    huge = 10**6000
    said = read_error(
        {
            "error": {"message": "m", "code": huge, "details": [{"retryDelay": huge}]},
            "detail": [{"loc": [huge], "msg": huge}],
        }
    )
    assert said is not None
    assert (said.message, said.code, said.retry_delay) == ("m", "", None)  # fmt: skip


def test_what_is_not_of_the_expected_kind_is_passed_over() -> None:
    said = parsed(
        {
            "error": {
                "message": ["m", 7], "type": {}, "code": True, "param": 1.5, "status": [],
                "details": [7, {"violations": [7, {}], "retryDelay": "soon"}, {"violations": 7, "retryDelay": "2s"}],
                "metadata": 7, "innererror": 7, "availability": {"retryable": "yes", "retry_after": 9},
            },
            "detail": [7, "d", {"loc": [None], "msg": 7}],
        }
    )  # fmt: skip
    assert said == ErrorBody(kind="json", message="m; d", retry_delay=2.0, excerpt=said.excerpt)


def test_a_huge_body_is_cut_and_not_decoded() -> None:
    said = parse_error(b'{"error": {"message": "' + b"a" * 50_000_000 + b'"}}')
    assert said.kind == "text"
    assert len(said.message) == len(said.excerpt) == 2048


def test_a_long_message_and_many_details_are_cut() -> None:
    details = [{"reason": f"r{n}", "violations": [{"quotaId": f"q{n}.{m}"} for m in range(40)]} for n in range(40)]
    said = parsed({"error": {"message": "a" * 100_000, "code": "c" * 1000, "details": details}})
    assert len(said.message) == 2000
    assert said.code == ""
    assert len(said.reasons) == 50


def test_no_field_shows_a_key() -> None:
    key = Secret("hs-0123456789abcdef-0123456789")
    text = key.reveal()
    body = {
        "error": {
            "message": f"bad {text}", "type": text, "code": text, "param": text, "status": text, "request_id": text,
            "details": [{"reason": text}], "metadata": {"raw": text[:12]},
        }
    }  # fmt: skip
    said = parse_error(json.dumps(body).encode(), "", (key,))
    assert said.message == "bad [masked]; [masked]"
    assert "01234567" not in repr(said)
    assert "01234567" not in repr(parse_error(f"<title>{text}</title>".encode(), "", (key,)))
    assert "01234567" not in repr(parse_error(f"plain {text}".encode(), "", (key,)))


def test_words_are_every_word_for_programs_in_small_letters() -> None:
    said = ErrorBody(kind="json", code="C", type="", status_text="S", reasons=("R", ""))
    assert said.words == ("c", "s", "r")


NAMES = ["error", "errors", "message", "code", "type", "status", "details", "detail", "param", "metadata", "innererror",
         "availability", "retryDelay", "violations", "quotaId", "loc", "msg", "reason", "raw"]  # fmt: skip
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=25,
)


@given(body=st.binary(), content_type=st.text(max_size=20))
def test_no_bytes_make_it_raise(body: bytes, content_type: str) -> None:
    said = parse_error(body, content_type)
    assert said.message == "" or said.message.isprintable()


@given(value=json_values)
def test_no_json_makes_it_raise(value: Any) -> None:
    said = parse_error(json.dumps(value).encode())
    assert all(word.isprintable() for word in (said.message, *said.words))
    direct = read_error(value)
    assert direct is None or direct.kind == "json"
