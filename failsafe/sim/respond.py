"""From a request and a behaviour to the answer, before it is put on the wire."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial, singledispatch
from typing import Any

from failsafe.faults import Fault
from failsafe.sim import answers, bulk
from failsafe.sim.answers import Healthy, Reply
from failsafe.sim.behaviour import StreamShape
from failsafe.sim.dialect import Event, Route
from failsafe.sim.embeddings import embeddings
from failsafe.sim.exchange import Exchange, Refused
from failsafe.sim.identity import http_date
from failsafe.sim.script import Call, Script
from failsafe.sim.streams import as_array, stream_pieces
from failsafe.sim.vendors import Complaint, error_row, fault_of
from failsafe.sim.wire import Headers, Piece, Response, merged, to_json

_EVENT_STREAM = (("Content-Type", "text/event-stream; charset=utf-8"), ("Cache-Control", "no-cache"))
_JSON = ("Content-Type", "application/json")
_HTML = (
    "<!DOCTYPE html>\n<html><head><title>{status} | Simulated gateway</title></head>"
    "<body><h1>{status}</h1><p>The web server is not returning a usable answer.</p></body></html>\n"
)


def respond(reply: Reply, exchange: Exchange) -> Response:
    """What a provider that has *reply* in mind answers to the request of *exchange*."""
    try:
        return _say(reply, exchange)
    except Refused as refused:
        return refused.response


@singledispatch
def _say(reply: Reply, _exchange: Exchange) -> Response:
    raise TypeError(f"{reply!r} is no reply that a fake provider knows")


@_say.register
def _healthy(reply: Healthy, exchange: Exchange) -> Response:
    route = exchange.route()
    if route.kind == "health":
        return exchange.json({"status": "ok"})
    if route.kind == "account":
        return exchange.json(exchange.account())
    if route.kind == "models":
        return exchange.json(exchange.profile.dialect.models(exchange.profile.models))
    if route.kind == "embeddings":
        return exchange.json(embeddings(exchange.profile.dialect_name, exchange.texts(route)))
    call = exchange.call(route)
    script = exchange.script(call, reply)
    if call.stream:
        return _stream(exchange, route, call, script, exchange.shape)
    return exchange.json(exchange.profile.dialect.answer(script))


def _stream(exchange: Exchange, route: Route, call: Call, script: Script, shape: StreamShape) -> Response:
    dialect = exchange.profile.dialect
    if shape.usage is None:
        shape = replace(shape, usage=call.usage_in_stream)

    def pieces() -> Iterator[Piece]:
        events = dialect.events(script, shape)
        if not route.sse:
            return as_array(events)
        return stream_pieces(events, shape, _error_event(exchange, shape.error))

    headers = _EVENT_STREAM if route.sse else (_JSON,)
    return Response(status=200, headers=exchange.headers(*headers), pieces=pieces)


def _error_event(exchange: Exchange, fault: Fault) -> Event:
    return exchange.profile.dialect.error_event(exchange.complain(Complaint(fault=fault))[1])


@_say.register
def _error(reply: answers.Error, exchange: Exchange) -> Response:
    fault = reply.fault or fault_of(reply.status or 500)
    in_body = reply.retry_after_style == "vendor" and exchange.profile.vendor == "gemini"
    complaint = Complaint(
        fault=fault,
        status=reply.status,
        parameter=reply.parameter,
        key=exchange.key if reply.echo_key else "",
        message=_echoing(reply, exchange, fault) if reply.echo_key else reply.message,
        code=reply.code,
        retry_after=reply.retry_after if in_body else None,
    )
    headers = merged(_hints(reply, exchange), reply.headers)
    wait = reply.retry_after if fault is Fault.RATE_LIMIT else None
    return exchange.error(complaint, headers, wait)


def _echoing(reply: answers.Error, exchange: Exchange, fault: Fault) -> str:
    usual = error_row(exchange.profile.vendor, fault).message if reply.message is None else reply.message
    return usual + " You sent: {key}"


def _hints(reply: answers.Error, exchange: Exchange) -> Headers:
    """What the headers say about coming back."""
    headers: list[tuple[str, str]] = []
    vendor, seconds = exchange.profile.vendor, reply.retry_after
    if reply.should_retry is not None:
        headers.append(("x-should-retry", "true" if reply.should_retry else "false"))
    if seconds is None:
        return tuple(headers)
    style = reply.retry_after_style
    if style == "seconds" or (style == "vendor" and vendor != "gemini"):
        headers.append(("Retry-After", f"{seconds:g}"))
    if style == "date":
        headers.append(("Retry-After", http_date(int(exchange.now) + seconds)))
    if style == "ms" or (style == "vendor" and vendor == "azure"):
        headers.append(("retry-after-ms", f"{seconds * 1000:g}"))
    return tuple(headers)


@_say.register
def _page(reply: answers.Page, exchange: Exchange) -> Response:
    headers = (
        ("Date", http_date(exchange.now)),
        ("Server", "simulated-gateway"),
        ("Content-Type", "text/html; charset=utf-8"),
    )
    return Response(status=reply.status, headers=headers, body=_HTML.format(status=reply.status).encode())


@_say.register
def _half_json(_reply: answers.HalfJson, exchange: Exchange) -> Response:
    whole = _plain(exchange)
    return replace(whole, body=whole.body[: len(whole.body) // 2]) if whole.status == 200 else whole


@_say.register
def _error_in_200(reply: answers.ErrorIn200, exchange: Exchange) -> Response:
    _, body = exchange.complain(Complaint(fault=reply.fault))
    route = exchange.route()
    if route.kind == "chat" and exchange.call(route).stream:
        event = exchange.profile.dialect.error_event(body)
        pieces = partial(stream_pieces, [event], exchange.shape, event)
        return Response(status=200, headers=exchange.headers(*_EVENT_STREAM), pieces=pieces)
    return exchange.json(body)


@_say.register
def _no_choices(_reply: answers.NoChoices, exchange: Exchange) -> Response:
    return _hollow(exchange, exchange.profile.dialect.without_choices)


@_say.register
def _empty_message(_reply: answers.EmptyMessage, exchange: Exchange) -> Response:
    return _hollow(exchange, exchange.profile.dialect.without_message)


def _hollow(exchange: Exchange, emptied: Any) -> Response:
    """A healthy answer whose body went through *emptied*; a stream with nothing in it."""
    route = exchange.route()
    if route.kind != "chat":
        return _healthy(Healthy(), exchange)
    call = exchange.call(route)
    script = exchange.script(call, Healthy(text="", finish="missing"))
    if call.stream:
        return _stream(exchange, route, call, script, exchange.shape)
    return exchange.json(emptied(exchange.profile.dialect.answer(script)))


def _plain(exchange: Exchange, text: str | None = None) -> Response:
    """The whole answer in one JSON body, even to a request for a stream."""
    route = exchange.route()
    if route.kind != "chat":
        return _healthy(Healthy(), exchange)
    call = replace(exchange.call(route), tools=())  # the text is wanted, whatever the request asks for
    script = exchange.script(call, Healthy(text=text))
    return exchange.json(exchange.profile.dialect.answer(script))


@_say.register
def _huge_body(reply: answers.HugeBody, exchange: Exchange) -> Response:
    template = _plain(exchange, bulk.MARKER)
    if not bulk.has_marker(template.body):
        return template
    return Response(
        status=template.status,
        headers=template.headers,
        pieces=partial(bulk.bulk_pieces, template.body, reply.mebibytes),
        length=bulk.bulk_length(template.body, reply.mebibytes),
    )


@_say.register
def _gzip_bomb(reply: answers.GzipBomb, exchange: Exchange) -> Response:
    template = _plain(exchange, bulk.MARKER)
    if not bulk.has_marker(template.body):
        return template
    return Response(
        status=template.status,
        headers=(*template.headers, ("Content-Encoding", "gzip")),
        pieces=partial(bulk.bomb_pieces, template.body, reply.mebibytes),
    )


@_say.register
def _redirect(reply: answers.Redirect, exchange: Exchange) -> Response:
    headers = exchange.headers(("Location", reply.location), ("Content-Type", "text/html"), limits=False)
    return Response(status=reply.status, headers=headers, body=b"<html><body>Moved</body></html>")


@_say.register
def _verbatim(reply: answers.Verbatim, exchange: Exchange) -> Response:
    own = exchange.headers(("Content-Type", reply.content_type))
    return Response(status=reply.status, headers=merged(own, reply.headers), body=reply.body)


def not_http(reason: str) -> Response:
    """The answer to bytes that are no request."""
    return Response(status=400, headers=(_JSON,), body=to_json({"error": {"message": reason}}))
