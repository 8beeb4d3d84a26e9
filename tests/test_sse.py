"""Events come out of bytes as the standard says, more kindly where servers are careless, and however they are cut."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from failsafe import sse
from failsafe.sse import Event, EventParser, EventTooLarge

BOM = b"\xef\xbb\xbf"
LINES_OF_JSON = b'{\n  "error": {\n    "code": 429,\n    "message": "a \\" } ]"\n  }\n}'


def parsed(pieces: Iterable[bytes], **settings: Any) -> list[Event]:
    """All events of *pieces*, those that only the end completes included."""
    parser = EventParser(**settings)
    return [event for piece in pieces for event in parser.feed(piece)] + parser.close()


def each_byte(data: bytes) -> Iterator[bytes]:
    return (data[place : place + 1] for place in range(len(data)))


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """*data* cut at *places*, empty pieces included."""
    ends = sorted(place % (len(data) + 1) for place in places)
    return [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True)]


TABLE: dict[str, tuple[bytes, list[Event]]] = {
    "nothing": (b"", []),
    "one": (b"data: a\n\n", [("", b"a")]),
    "cr": (b"data: a\r\rdata: b\r\r", [("", b"a"), ("", b"b")]),
    "crlf": (b"data: a\r\n\r\ndata: b\r\n\r\n", [("", b"a"), ("", b"b")]),
    "ends-mixed": (b"data: a\n\rdata: b\r\n\ndata: c\r\r\n", [("", b"a"), ("", b"b"), ("", b"c")]),
    "empty-lines": (b"\n\n\n\ndata: a\n\n\n\n\ndata: b\n\n", [("", b"a"), ("", b"b")]),
    "bom": (BOM + b"data: a\n\n", [("", b"a")]),
    "bom-only": (BOM, []),
    "bom-later": (b"data: a\n\n" + BOM + b"data: b\n\n", [("", b"a"), ("", BOM + b"data: b")]),
    "bom-twice": (BOM + BOM + b"data: a\n\n", [("", BOM + b"data: a")]),
    "bom-cut": (BOM[:2], [("", BOM[:2])]),
    "comment": (b": ping\n\n:\n\n:a\ndata: a\n:b\n\n", [("", b"a")]),
    "named": (b"event: ping\ndata: {}\n\n", [("ping", b"{}")]),
    "named-after": (b"data: {}\nevent: ping\n\n", [("ping", b"{}")]),
    "named-last-wins": (b"event: a\nevent: b\ndata: {}\n\n", [("b", b"{}")]),
    "named-for-one": (b"event: a\ndata: 1\n\ndata: 2\n\n", [("a", b"1"), ("", b"2")]),
    "name-without-data": (b"event: ping\n\ndata: 1\n\n", [("", b"1")]),
    "name-not-utf-8": (b"event: \xff\ndata: 1\n\n", [("\ufffd", b"1")]),
    "several-lines": (b"data: a\ndata:  b\ndata\ndata:\ndata: c\n\n", [("", b"a\n b\n\n\nc")]),
    "without-space": (b"data:a\n\nevent:x\ndata:b\n\n", [("", b"a"), ("x", b"b")]),
    "one-space-only": (b"data:  a \n\n", [("", b" a ")]),
    "colons": (b"data: a: b:c\n\n", [("", b"a: b:c")]),
    "no-data": (b"data\n\ndata:\n\n", [("", b""), ("", b"")]),
    "id-and-retry": (b"id: 7\nretry: 10\ndata: a\n\nid\n\nretry: {}\n\n", [("", b"a")]),
    "unknown-fields": (b"x-trace: 1\ndata: a\nfoo_1\nBar:\n\nmeta: [1]\n\n", [("", b"a")]),
    "other-spelling-is-another-field": (b"Data: a\n\nDATA: b\n\n", []),
    "damaged-name": (b'dbta: {"a":1}\n\ndata: b\n\n', [("", b'dbta: {"a":1}'), ("", b"b")]),
    "damaged-start": (b'\x00data: {"a":1}\n\n', [("", b'\x00data: {"a":1}')]),
    "two-fused": (b'x:data: {"a":1}\n\n', [("", b'x:data: {"a":1}')]),
    "unended": (b"data: 1\n\ndata: [DONE]", [("", b"1"), ("", b"[DONE]")]),
    "unended-after-a-line": (b"data: 1\n\ndata: [DONE]\n", [("", b"1"), ("", b"[DONE]")]),
    "unended-json": (b'event: e\ndata: {"a": 1}', [("e", b'{"a": 1}')]),
    "unended-and-cut": (b'data: 1\n\ndata: {"a": ', [("", b"1")]),
    "unended-and-cut-after-a-line": (b'data: {"a":\ndata: 1', []),
    "unended-in-the-middle-of-a-name": (b"data: 1\n\nda", [("", b"1")]),
    "unended-text": (b"data: hello", []),
    "unended-marker-cut": (b"data: [DONE", []),
    "bare-json": (b'{"error": 1}\n\n', [("", b'{"error": 1}')]),
    "bare-json-unended": (b'{"error": 1}', [("", b'{"error": 1}')]),
    "bare-json-over-lines": (LINES_OF_JSON, [("", LINES_OF_JSON)]),
    "bare-json-over-lines-after-events": (
        b"data: a\n\n" + LINES_OF_JSON + b"\n\ndata: b\n\n",
        [("", b"a"), ("", LINES_OF_JSON), ("", b"b")],
    ),
    "bare-json-with-crlf": (LINES_OF_JSON.replace(b"\n", b"\r\n"), [("", LINES_OF_JSON)]),
    "bare-json-with-empty-lines": (b'[\n\n{"a":\n\n1}\n\n]\n\n', [("", b'[\n{"a":\n1}\n]')]),
    "bare-json-with-brackets-in-strings": (
        b'{"a": "}}",\n\n"b": "\\"{", "c": 1}\n\n',
        [("", b'{"a": "}}",\n"b": "\\"{", "c": 1}')],
    ),
    "bare-json-that-begins-like-a-field": (b"{\n\nid: 3,\n:\n}\n\n", [("", b"{\nid: 3,\n:\n}")]),
    "bare-json-cut": (LINES_OF_JSON[:-1], [("", LINES_OF_JSON[:-2])]),
    "bare-json-cut-before-an-event": (b'{"a": [\n\nevent: e\ndata: 1\n\n', [("", b'{"a": ['), ("e", b"1")]),
    "bare-json-cut-before-lines-of-data": (b"{\ndata: 1\ndata: 2\n\n", [("", b"{"), ("", b"1\n2")]),
    "bare-json-cut-before-an-unended-event": (b"{\n\ndata: {", [("", b"{")]),
    "bare-json-cut-before-a-name": (b"{\n\nevent: e", [("", b"{")]),
    "bare-json-before-a-comment": (b'{"a": 1}\n: ping\n\n', [("", b'{"a": 1}')]),
    "garbage": (b"502 Bad Gateway\n\n", [("", b"502 Bad Gateway")]),
    "garbage-of-several-lines": (b"<html>\n<p>a\n\n</html>\n\n", [("", b"<html>\n<p>a"), ("", b"</html>")]),
    "garbage-before-a-named-event": (b"<p>\nevent: e\ndata: 1\ndata: 2\n\n", [("", b"<p>"), ("e", b"1\n2")]),
    "garbage-within-an-event": (b"data: 1\n<p>\ndata: 2\n\n", [("", b"<p>"), ("", b"1\n2")]),
    "garbage-unended": (b"data: 1\n\n<p>", [("", b"1"), ("", b"<p>")]),
    "closed-too-often": (b"}\n\n]]\n\ndata: 1\n\n", [("", b"}"), ("", b"]]"), ("", b"1")]),
    "blanks-are-nothing": (b" \n\t\n\ndata: 1\n\n \n", [("", b"1")]),
    "space-before-the-colon": (b"data : 1\n\n", [("", b"data : 1")]),
    "not-utf-8": (b"data: \xff\xfe\n\n\xff\n\n", [("", b"\xff\xfe"), ("", b"\xff")]),
    "other-line-ends-are-none": (
        "data: a\u2028b\u0085c\x0b\x0c\n\n".encode(),
        [("", "a\u2028b\u0085c\x0b\x0c".encode())],
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_the_table(name: str) -> None:
    data, events = TABLE[name]
    assert parsed([data]) == events


@pytest.mark.parametrize("name", TABLE)
def test_the_table_byte_by_byte_and_torn_at_every_place(name: str) -> None:
    data, events = TABLE[name]
    assert parsed(each_byte(data)) == events
    for place in range(len(data) + 1):
        assert parsed([data[:place], b"", data[place:]]) == events, place


def test_an_event_is_there_as_soon_as_it_is_complete() -> None:
    parser = EventParser()
    assert list(parser.feed(b"data: 1\n")) == []
    assert list(parser.feed(b"\nda")) == [("", b"1")]
    assert list(parser.feed(b"ta: 2\r\n\r")) == [("", b"2")]
    assert list(parser.feed(b"\n{\n\n")) == []
    assert list(parser.feed(b'"a": 1}\n\n')) == [("", b'{\n"a": 1}')]
    assert parser.close() == []


def test_closing_again_gives_nothing_more() -> None:
    parser = EventParser()
    parser.feed(b"data: 1\n\n{\n\ndata: [DONE]")
    assert parser.close() == [("", b"{"), ("", b"[DONE]")]
    assert parser.close() == []


def test_a_character_cut_in_two_is_whole_again() -> None:
    data = 'data: {"text": "\U0001f600é漢"}\n\n'.encode()
    (event,) = parsed(each_byte(data))
    assert msgspec.json.decode(event[1]) == {"text": "\U0001f600é漢"}


# Events as large as allowed, and larger.

LIMIT = 100
AS_LARGE = {
    "data": b"data: " + b"a" * (LIMIT - 6),
    "lines": b"data: a\n" * 12 + b"data",
    "comment": b":" + b"a" * (LIMIT - 1),
    "garbage": b"<" + b"a" * (LIMIT - 2),
    "unknown": b"a" * LIMIT,
    "bracket": b"[" + b"1" * (LIMIT - 2),
}


@pytest.mark.parametrize("event", AS_LARGE.values(), ids=AS_LARGE)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_an_event_may_be_as_large_as_allowed_and_not_a_byte_larger(event: bytes, size: int) -> None:
    def fed(data: bytes) -> None:
        parser = EventParser(LIMIT)
        for place in range(0, len(data), size):
            parser.feed(data[place : place + size])
        parser.close()

    fed(b"data: b\n\n" + event + b"\n\ndata: c\n\n")
    fed(event + b"\n")
    with pytest.raises(EventTooLarge, match=r"larger than 9\.54e-05 MiB"):
        fed(event + b"a" * (LIMIT + 1 - len(event)) + b"\n\n")
    with pytest.raises(EventTooLarge):
        fed(event + b"a" * (LIMIT + 1 - len(event)))


def test_bare_json_over_many_blocks_is_bounded_together() -> None:
    with pytest.raises(EventTooLarge):
        parsed([b"[\n\n", *[b"1,\n\n"] * LIMIT], most=LIMIT)


def test_the_end_of_the_stream_raises_nothing() -> None:
    parser = EventParser(LIMIT)
    parser.feed(b"[" + b"1" * 60 + b"\n\n" + b"2" * 90)
    ((name, data),) = parser.close()
    assert (name, len(data)) == ("", 152)


def test_a_stream_of_many_events_is_not_bounded() -> None:
    assert len(parsed([b"data: aaa\n\n" * 1000], most=LIMIT)) == 1000


# The work.


class Work:
    """Counts the bytes that are copied out, added, searched and decoded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bytes = 0
        work, decode, string = self, msgspec.json.decode, sse._STRING

        class Counting(bytearray):
            def __iadd__(self, other: Any) -> Any:  # type: ignore[misc]
                work.bytes += len(other)
                return super().__iadd__(other)

            def find(self, sub: Any, start: Any = 0, end: Any = None) -> int:
                work.bytes += len(self) - start
                return super().find(sub, start)

        def copied(data: Any) -> bytes:
            work.bytes += len(data)
            return builtins.bytes(data)

        def decoded(data: bytes) -> Any:
            work.bytes += len(data)
            return decode(data)

        class Strings:
            def sub(self, by: bytes, data: bytes) -> bytes:
                work.bytes += len(data)
                return string.sub(by, data)

        monkeypatch.setattr(sse, "bytearray", Counting, raising=False)
        monkeypatch.setattr(sse, "bytes", copied, raising=False)
        monkeypatch.setattr(sse, "_STRING", Strings())
        monkeypatch.setattr(msgspec.json, "decode", decoded)


HARD = {
    "one-event": b"data: " + b"x" * 40_000,
    "many-events": b"data: xyz\n\n" * 4000,
    "newlines": b"\n" * 20_000,
    "torn-ends": b"\r\n" * 20_000,
    "comments": b": ping\n" * 5000,
    "lines-of-data": b"data: x\n" * 5000,
    "brackets-that-close": b"[\n" + b"{}\n\n" * 5000,
    "brackets-that-close-too-often": b"}\n\n" * 5000,
    "brackets-that-open": b"{\n\n" * 5000,
    "json-before-each-event": b"{\n\ndata: 1\n\n" * 2000,
    "almost-json": b"[" + b'{"a": 1},\n' * 4000 + b"}",
    "unended": b'data: "' + b"x" * 40_000,
}


@pytest.mark.parametrize("data", HARD.values(), ids=HARD)
@pytest.mark.parametrize("size", [1, 1000, 50_000])
def test_the_work_is_linear_in_the_bytes(monkeypatch: pytest.MonkeyPatch, data: bytes, size: int) -> None:
    work = Work(monkeypatch)
    parsed(data[place : place + size] for place in range(0, len(data), size))
    assert work.bytes <= 8 * len(data)


@pytest.mark.parametrize("text", [b'\\"', b'"', b"\\", b'"\\'])
def test_quotes_without_end_are_looked_at_once(text: bytes) -> None:
    """What looks for the end of each from its beginning takes hours for these."""
    line = b"{" + text * 500_000
    assert parsed([line]) == [("", line)]


# Whatever comes.

_names = st.sampled_from([b"data", b"data", b"data", b"event", b"id", b"retry", b"", b"x", b"Foo-1_b"])
_values = st.one_of(
    st.sampled_from([b"", b" ", b"[DONE]", b'{"a": 1}', b'{"a": "\\u00e9"}', "é漢\U0001f600".encode()]),
    st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"])).map(str.encode),
)
_fields = st.tuples(_names, st.sampled_from([b":", b": ", None]), _values)
_ends = st.sampled_from([b"\n", b"\r", b"\r\n"])


def _line(field: tuple[bytes, bytes | None, bytes]) -> bytes:
    name, colon, value = field
    if colon is None:
        return name or b":"
    return name + colon + (value if name in sse._KNOWN or not name else value.replace(b"{", b"("))


def _meant(fields: list[tuple[bytes, bytes | None, bytes]]) -> Event | None:
    """The event that *fields* are by the letter of the standard."""
    given: list[tuple[bytes, bytes]] = []
    for name, colon, value in fields:
        said = b"" if colon is None else colon[1:] + value
        given.append((name, said.removeprefix(b" ")))
    data = [value for name, value in given if name == b"data"]
    named = [value.decode() for name, value in given if name == b"event"]
    return (named[-1] if named else "", b"\n".join(data)) if data else None


@st.composite
def valid_streams(draw: st.DrawFn) -> tuple[bytes, list[Event]]:
    """A stream, with ends of lines of every kind, and the events it means."""
    data, events = draw(st.sampled_from([b"", BOM])), []
    for fields in draw(st.lists(st.lists(_fields, min_size=1, max_size=4), max_size=8)):
        for field in fields:
            data += _line(field) + draw(_ends)
        data += draw(_ends)
        if data.endswith(b"\r\n") and not data.endswith(b"\n\r\n") and not data.endswith(b"\r\r\n"):
            data += b"\n"  # what were to be two ends are one
        event = _meant(fields)
        events += [event] if event is not None else []
    return data, events


_places = st.lists(st.integers(0, 10**6), max_size=12)


@given(valid_streams(), _places)
def test_a_valid_stream_means_what_it_says_wherever_it_is_cut(
    stream: tuple[bytes, list[Event]], places: list[int]
) -> None:
    data, events = stream
    assert parsed([data]) == events
    assert parsed(cut(data, places)) == events
    assert parsed(each_byte(data)) == events


_TELLING = (
    *(b"\r", b"\n", b"\r\n", b"\n\n", BOM, b"data:", b"data: ", b"event: e", b":", b"{", b"}", b"[", b"]", b'"', b"\\"),
    *(b"[DONE]", b"{}", b"<p>", b"\x00", b"a" * 30),
)
_hostile = st.lists(st.one_of(st.binary(max_size=12), st.sampled_from(_TELLING)), max_size=30).map(b"".join)


@given(_hostile, _places)
@example(b"{\n\nevent: e", [])
@example(BOM[:1] + b"\r\n\n", [1, 2])
def test_any_bytes_at_all_give_the_same_events_wherever_they_are_cut(data: bytes, places: list[int]) -> None:
    events = parsed([data])
    assert parsed(cut(data, places)) == events
    assert parsed(each_byte(data)) == events


def _until_too_large(pieces: Iterable[bytes]) -> tuple[list[Event], bool]:
    parser = EventParser(20)
    events: list[Event] = []
    try:
        for piece in pieces:
            events += parser.feed(piece)
    except EventTooLarge:
        return events, True
    return events + parser.close(), False


@given(_hostile, _places)
def test_whether_an_event_is_too_large_does_not_depend_on_the_cuts(data: bytes, places: list[int]) -> None:
    """Only how many of the events before it were given may: the more, the smaller the pieces."""
    all_before, refused = _until_too_large(each_byte(data))
    events, refused_too = _until_too_large(cut(data, places))
    assert refused_too is refused
    assert events == all_before[: len(events)] if refused else events == all_before


@given(_hostile)
def test_a_garbled_line_is_noticed_whatever_came_before_it(data: bytes) -> None:
    marked = data.replace(b"MARK", b"") + b"\n\n<MARK>\n\n"
    assert any(b"<MARK>" in said for _, said in parsed([marked]))
