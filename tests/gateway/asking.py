"""Asks a gateway without a socket, as a strict WSGI server would."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any, NamedTuple
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

from failsafe.gateway import Gateway

TOKEN = "a-token-of-the-tests-0f7d"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
CHAT = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "hi"}]}
MESSAGES = {**CHAT, "max_tokens": 20}


class Got(NamedTuple):
    """An answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def environ_of(method: str, path: str, body: bytes, headers: dict[str, str | None], **environ: Any) -> dict[str, Any]:
    """A request from this machine; a header that is None is left out."""
    found: dict[str, Any] = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": "", "SCRIPT_NAME": ""}
    usual = {"Host": "127.0.0.1:8080", "Content-Type": "application/json", "Content-Length": str(len(body))}
    for name, value in {**(usual if body else {"Host": usual["Host"]}), **headers}.items():
        if value is not None:
            key = name.upper().replace("-", "_")
            found[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = value
    found["wsgi.input"] = io.BytesIO(body)
    had_host = "HTTP_HOST" in found
    setup_testing_defaults(found)
    if not had_host:
        del found["HTTP_HOST"]
    return {**found, **environ}


def ask(
    gateway: Gateway,
    path: str = "/v1/chat/completions",
    *,
    method: str = "",
    json_body: Any = None,
    body: bytes = b"",
    headers: dict[str, str | None] | None = None,
    token: str | None = TOKEN,
    environ: dict[str, Any] | None = None,
) -> Got:
    """The whole answer to one request; a POST where there is a body."""
    body = json.dumps(json_body).encode() if json_body is not None else body
    shown: dict[str, str | None] = {} if token is None else {"Authorization": f"Bearer {token}"}
    request = environ_of(
        method or ("POST" if body else "GET"), path, body, {**shown, **(headers or {})}, **(environ or {})
    )
    head: list[Any] = []

    def start_response(status: str, fields: list[tuple[str, str]], _exc_info: Any = None) -> Any:
        head.extend((status, fields))
        return lambda _data: None

    pieces: Any = validator(gateway)(request, start_response)
    try:
        whole = b"".join(_pieces(pieces))
    finally:
        pieces.close()
    return Got(int(head[0].split()[0]), dict(head[1]), whole)


def _pieces(answer: Any) -> Iterator[bytes]:
    yield from answer
