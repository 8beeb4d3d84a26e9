"""Behaviours by name, for the command line and for tests that go through all of them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from failsafe import checks
from failsafe.faults import Fault
from failsafe.sim import answers as say
from failsafe.sim import deliveries as wire
from failsafe.sim.behaviour import HEALTHY, Behaviour, StreamShape


def _stream(**shape: object) -> Behaviour:
    return Behaviour(stream=StreamShape(**shape))  # type: ignore[arg-type]


def _error(fault: Fault, **details: object) -> Behaviour:
    return Behaviour(say.Error(fault=fault, **details))  # type: ignore[arg-type]


_ENDLESS = float("inf")

_SCENARIOS: Mapping[str, tuple[Behaviour, str]] = {
    "healthy": (HEALTHY, "answers at once"),
    "slow": (Behaviour(latency=2.0), "answers after 2 s"),
    "flap": (Behaviour(say.Error(fault=Fault.SERVER), flap=2.0), "500 for 2 s, healthy for 2 s, by turns"),
    "flaky": (Behaviour(say.Error(fault=Fault.SERVER), probability=0.3), "500 for three requests in ten, by chance"),
    # errors in the vendor's words
    "server-error": (_error(Fault.SERVER), "500"),
    "bad-gateway": (Behaviour(say.Page(status=502)), "502 with an HTML page"),
    "overloaded": (_error(Fault.OVERLOADED), "503 or 529, as the vendor says it"),
    "overloaded-retry-after": (_error(Fault.OVERLOADED, retry_after=20), "the same with Retry-After: 20"),
    "conflict": (_error(Fault.CONFLICT), "409"),
    "request-timeout": (Behaviour(say.Error(status=408)), "408"),
    "rate-limit": (_error(Fault.RATE_LIMIT, retry_after=20), "429, come back in 20 s, as the vendor says it"),
    "rate-limit-fraction": (
        _error(Fault.RATE_LIMIT, retry_after=1.5, retry_after_style="seconds"),
        "429 with Retry-After: 1.5",
    ),
    "rate-limit-date": (
        _error(Fault.RATE_LIMIT, retry_after=20, retry_after_style="date"),
        "429 with Retry-After as a date, 20 s ahead",
    ),
    "rate-limit-ms": (
        _error(Fault.RATE_LIMIT, retry_after=1.5, retry_after_style="ms"),
        "429 with retry-after-ms: 1500",
    ),
    "rate-limit-no-hint": (_error(Fault.RATE_LIMIT), "429 without a word on when to come back"),
    "quota": (_error(Fault.QUOTA), "no money left, as the vendor says it"),
    "wrong-key": (_error(Fault.AUTH), "the key is rejected, as the vendor does it"),
    "echoed-key": (_error(Fault.AUTH, echo_key=True), "the key is rejected by a message that repeats all of it"),
    "permission": (_error(Fault.PERMISSION), "403"),
    "unknown-model": (_error(Fault.MODEL), "404 for the model"),
    "unknown-path": (_error(Fault.MISCONFIGURED), "404 for the address"),
    "context-length": (_error(Fault.CONTEXT), "the prompt is too long"),
    "bad-request": (_error(Fault.BAD_REQUEST), "400"),
    "unsupported-parameter": (_error(Fault.UNSUPPORTED_PARAMETER), "400 for temperature"),
    "content-filter": (_error(Fault.CONTENT_FILTER), "400 by the content policy"),
    "should-retry": (_error(Fault.BAD_REQUEST, should_retry=True), "400 with x-should-retry: true"),
    "should-not-retry": (_error(Fault.SERVER, should_retry=False), "500 with x-should-retry: false"),
    # a success that is none
    "html": (Behaviour(say.Page(status=200)), "200 with an HTML page"),
    "html-forbidden": (Behaviour(say.Page(status=403)), "403 with an HTML page"),
    "half-json": (Behaviour(say.HalfJson()), "half an answer under a Content-Length that fits it"),
    "error-in-200": (Behaviour(say.ErrorIn200()), "the vendor's error body under status 200"),
    "no-choices": (Behaviour(say.NoChoices()), "an answer without choices"),
    "empty-message": (Behaviour(say.EmptyMessage()), "a choice without content and without finish reason"),
    "empty-body": (Behaviour(say.Verbatim()), "200 with nothing in it"),
    "huge-body": (Behaviour(say.HugeBody()), "an answer of 128 MiB"),
    "gzip-bomb": (Behaviour(say.GzipBomb()), "256 MiB in a few hundred kB of gzip"),
    "redirect": (Behaviour(say.Redirect()), "307 to another address"),
    # on the wire
    "gzip": (Behaviour(delivery=wire.Gzipped()), "a good answer in gzip"),
    "chunked": (Behaviour(delivery=wire.Chunked(size=7)), "a good answer in chunks of 7 bytes"),
    "hang": (Behaviour(delivery=wire.Hang()), "reads the request and never answers"),
    "close": (Behaviour(delivery=wire.Close()), "closes the connection without an answer"),
    "reset": (Behaviour(delivery=wire.Reset()), "resets the connection without an answer"),
    "drip-headers": (Behaviour(delivery=wire.DripHeaders()), "a byte of the head every 0.1 s"),
    "drip-body": (Behaviour(delivery=wire.DripBody()), "a byte of the body every 0.1 s"),
    "drip-chunks": (Behaviour(delivery=wire.DripBody(chunked=True)), "a chunk of one byte every 0.1 s"),
    "endless-chunks": (Behaviour(delivery=wire.EndlessBody()), "a body in chunks that never ends"),
    "keep-alive-blank-lines": (
        Behaviour(delivery=wire.BlankLines()),
        "blank lines instead of the answer, every 0.1 s without end",
    ),
    "some-blank-lines": (
        Behaviour(delivery=wire.BlankLines(interval=0.01, count=5)),
        "five blank lines, then the answer",
    ),
    "close-mid-body": (
        Behaviour(delivery=wire.CutBody(framing="none")),
        "half a body without Content-Length, then the end",
    ),
    "reset-mid-body": (Behaviour(delivery=wire.CutBody(reset=True)), "half a body, then a reset"),
    "truncated": (Behaviour(delivery=wire.CutBody()), "half of what Content-Length promises, then the end"),
    "truncated-chunks": (
        Behaviour(delivery=wire.CutBody(share=1, framing="chunked")),
        "the whole body in chunks, without the last chunk",
    ),
    "stall-mid-body": (Behaviour(delivery=wire.StallBody()), "half a body, then silence"),
    "never-read": (Behaviour(delivery=wire.NeverRead()), "takes the connection and reads nothing"),
    "refuse": (Behaviour(delivery=wire.RefuseConnections()), "connecting is refused"),
    "tls-failure": (Behaviour(delivery=wire.BreakTls()), "answers a TLS handshake in plain HTTP"),
    "tls-alert": (Behaviour(delivery=wire.BreakTls(how="alert")), "breaks a TLS handshake off with an alert"),
    "tls-stall": (Behaviour(delivery=wire.BreakTls(how="stall")), "never answers a TLS handshake"),
    "tls-close": (Behaviour(delivery=wire.BreakTls(how="close")), "closes in the middle of a TLS handshake"),
    # in a stream
    "stream-slow": (_stream(interval=0.5), "streams: 0.5 s between two events"),
    "stream-error": (_stream(error_after=2), "streams: an error event after two events"),
    "stream-bare-error": (_stream(error_after=2, error_form="bare"), "streams: an error as JSON without data:"),
    "stream-error-first": (_stream(error_after=0), "streams: an error instead of the first event"),
    "stream-comments": (_stream(comments=5, comment_interval=0.01), "streams: five comments first"),
    "stream-keep-alive": (_stream(comments=_ENDLESS), "streams: comments without end, no event"),
    "stream-blank-lines": (_stream(comments=_ENDLESS, comment=""), "streams: blank lines without end, no event"),
    "stream-pings": (_stream(pings=5), "streams: five pings after the first event (Anthropic)"),
    "stream-split": (_stream(split=1, newline="\r\n"), "streams: a byte a packet, lines ended by CR LF"),
    "stream-no-done": (_stream(done=False), "streams: no [DONE] and no message_stop"),
    "stream-no-finish": (_stream(finish=False), "streams: no finish reason"),
    "stream-cut": (_stream(cut_after=2), "streams: a proper end of the body after two events"),
    "stream-close": (_stream(cut_after=2, cut="close"), "streams: the connection ends after two events"),
    "stream-reset": (_stream(cut_after=2, cut="reset"), "streams: a reset after two events"),
    "stream-stall": (_stream(stall_after=2), "streams: silence after two events"),
    "stream-obfuscation": (_stream(obfuscation=True), "streams: padding in each chunk (OpenAI)"),
}

BEHAVIOURS: Mapping[str, Behaviour] = MappingProxyType({name: each for name, (each, _) in _SCENARIOS.items()})
"""Behaviours by name."""

SUMMARIES: Mapping[str, str] = MappingProxyType({name: summary for name, (_, summary) in _SCENARIOS.items()})
"""What each of them does, in a line."""


def behaviour_named(name: str) -> Behaviour:
    """
    The behaviour called *name*.

    Raises:
        ConfigError: There is none; the message lists those there are.
    """
    return BEHAVIOURS[checks.one_of("behaviour", name, BEHAVIOURS)]
