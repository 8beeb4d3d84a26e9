"""No key and no control character in any text that is shown."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe.masking import MASK, mask, one_line, shorten
from failsafe.providers.request_ids import request_id
from failsafe.secret import Secret

KEY = "k3y/With+Odd=Characters-0123456789"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"bad key {KEY}.", f"bad key {MASK}."),
        (f"{KEY}{KEY}", MASK),
        (f"{KEY[:8]} and {KEY[-8:]}", f"{MASK} and {MASK}"),
        (f"({KEY[:20]}...)", f"({MASK}...)"),
        (f"...{KEY[-12:]}", f"...{MASK}"),
        (f"{KEY[:7]} {KEY[-7:]}", f"{KEY[:7]} {KEY[-7:]}"),
        (f"it has {KEY[5:15]} inside", f"it has {MASK} inside"),
        (f"{KEY[:9]}\n  {KEY[9:]}", f"{MASK} {MASK}"),
        (f"?token={quote(KEY, safe='')}&x=1", f"?token={MASK}&x=1"),
        (f"a\n{KEY}\r\nb", f"a {MASK} b"),
        (KEY.swapcase()[:20], KEY.swapcase()[:20]),
    ],
)
def test_a_known_key_and_its_echoes_are_removed(text: str, expected: str) -> None:
    assert mask(text, [Secret(KEY)]) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Incorrect API key provided: sk-proj-********wxyz. See", f"Incorrect API key provided: {MASK} See"),
        ("key sk-ant-api03-abcdefgh", f"key {MASK}"),
        ("gsk_0123456789abcdef!", f"{MASK}!"),
        ("xai-0123456789abcdef", MASK),
        ("AIzaSyA0123456789abcdef", MASK),
        ("AQ.Ab8RN6K0123456789", MASK),
        ("hs-0123456789abcdef", MASK),
        ("tgp_v1_0123456789abcdef", MASK),
        ("Authorization: Bearer abcdef0123456789", f"Authorization: {MASK}"),
        ("Authorization: Basic dXNlcjpwYXNzd29yZA==", f"Authorization: {MASK}"),
        ("api_key=0123456789abcdef0", MASK),
        ("https://h/v1?key=0123456789abcdef0&x=1", f"https://h/v1{MASK}&x=1"),
        ("https://user:password@host/v1", f"https://{MASK}@host/v1"),
        ("Your api key: ****7890 is invalid", f"Your api key: {MASK} is invalid"),
        ("token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", f"token {MASK}"),
    ],
)
def test_what_looks_like_a_key_is_removed_without_being_known(text: str, expected: str) -> None:
    assert mask(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "The task-force asked for a disk-based risk-free desk-top",
        "Use Bearer authentication for this endpoint",
        "Invalid key: temperature",
        "model 'llama3' not found, try pulling it first",
        "rate limit reached for gpt-4.1 in organization org-1 on tokens per min: 10000",
        "see https://platform.openai.com/account/api-keys",
        "a basic understanding",
        "2 ** 3 and **bold**",
        "[masked]",
    ],
)
def test_ordinary_words_stay(text: str) -> None:
    assert mask(text, [Secret("none"), Secret("")]) == text


def test_a_short_key_is_removed_only_as_a_word_of_its_own() -> None:
    assert mask("ollama said: 'ollama' is no key; see ollamas", [Secret("ollama")]) == (
        f"{MASK} said: '{MASK}' is no key; see ollamas"
    )


def test_a_key_with_a_newline_inside_is_found_in_its_one_line_form() -> None:
    assert mask("echo abcdefgh\n 12345678 end", [Secret("abcdefgh\n12345678\n")]) == f"echo {MASK} end"


def test_overlapping_keys_leave_nothing() -> None:
    assert mask("<abcdefghijklmnop>", [Secret("abcdefghijkl"), Secret("ijklmnopabcdefgh")]) == f"<{MASK}>"


@pytest.mark.parametrize("bad", ["\n", "\r\n", "\x1b[31m", "\x00", "\u2028", "\u202e", "\ud800", "\x85", "\u200b"])
def test_nothing_that_could_forge_a_log_line_is_left(bad: str) -> None:
    masked = mask(f"one{bad}two")
    assert masked.isprintable()
    assert masked.encode()
    assert masked.startswith("one ")


def test_one_line_keeps_text_of_any_language() -> None:
    assert one_line("  Größe\t≥ 10\n日本語  ") == "Größe ≥ 10 日本語"


def test_shorten_marks_the_cut() -> None:
    assert shorten("abcdef", 6) == "abcdef"
    assert shorten("abcdefg", 6) == "abcde…"
    assert shorten("abcd  efg", 6) == "abcd…"


key_text = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="[]"), min_size=8, max_size=40)


@given(key=key_text, before=st.text(max_size=20), after=st.text(max_size=20), cut=st.integers(0, 40))
def test_no_eight_characters_of_a_key_in_a_row_survive(key: str, before: str, after: str, cut: int) -> None:
    masked = mask(before + key[:cut] + after + key[cut:] + before + key[cut // 2 :][:12], [Secret(key)])
    left = masked.replace(MASK, "\n")
    assert [part for part in (key[start : start + 8] for start in range(len(key) - 7)) if part in left] == []


@given(text=st.text(), key=st.text(max_size=12))
def test_no_text_and_no_key_make_it_raise(text: str, key: str) -> None:
    masked = mask(text, [Secret(key)])
    assert masked == "" or masked.isprintable()
    assert mask(masked, [Secret(key)]).isprintable()


def test_a_long_text_takes_time_in_proportion_to_its_length() -> None:
    for piece in ("*", "sk-", "a", "Bearer ", "//", "api_key=", "k3y/With", "eyJ", "0.", "basic A"):
        assert len(mask(piece * 100_000, [Secret(KEY)])) <= 100_000 * len(piece)


@pytest.mark.parametrize(
    ("identity", "shown"),
    [
        ("req_0123456789abcdef", "req_0123456789abcdef"),
        ("2f1c9d3e-7a55-4e0b-9c1d-000000000001", "2f1c9d3e-7a55-4e0b-9c1d-000000000001"),
        ("req_sk-abcdefghijkl", f"req_{MASK}"),
        ("req_00deadbeefcafe00", f"req_00{MASK}00"),
        ("req_011CTkQ8wVn3dFhL2mZx7yRb", "req_011CTkQ8wVn3dFhL2mZx7yRb"),
        ("req_AIzaSyD0123456789abc", f"req_{MASK}"),
        ("gsk_0123456789abcdef", MASK),
        ("req_openai_00000001", "req_openai_00000001"),
        ("req_0123\n456", "req_0123 456"),
    ],
)
def test_a_request_id_is_shown_as_it_is_unless_it_holds_a_key(identity: str, shown: str) -> None:
    assert request_id({"x-request-id": identity}, [Secret("deadbeefcafe")]) == shown
