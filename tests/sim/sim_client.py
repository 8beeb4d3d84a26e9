"""A plain client for the fake providers: requests without the environment, and bare sockets."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import requests

from failsafe.sim import FakeProvider

TIMEOUT = 2.0


def headers_for(provider: FakeProvider, key: str | None = None) -> dict[str, str]:
    key = provider.key if key is None else key
    if provider.dialect == "anthropic":
        return {"x-api-key": key, "anthropic-version": "2023-06-01"}
    if provider.dialect == "gemini":
        return {"x-goog-api-key": key}
    if provider.vendor == "azure":
        return {"api-key": key}
    return {"Authorization": f"Bearer {key}"}


def address_for(provider: FakeProvider, model: str = "m-1", stream: bool = False) -> str:
    if provider.dialect == "anthropic":
        return f"{provider.base_url}/v1/messages"
    if provider.dialect == "gemini":
        action = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return f"{provider.base_url}/models/{model}:{action}"
    return f"{provider.base_url}/chat/completions"


def body_for(provider: FakeProvider, text: str = "hi", model: str = "m-1", **fields: Any) -> dict[str, Any]:
    if provider.dialect == "gemini":
        return {"contents": [{"role": "user", "parts": [{"text": text}]}], **fields}
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
    return {"max_tokens": 100, **body} if provider.dialect == "anthropic" else body


@contextmanager
def session() -> Iterator[requests.Session]:
    with requests.Session() as made:
        made.trust_env = False
        yield made


def ask(
    provider: FakeProvider,
    text: str = "hi",
    *,
    model: str = "m-1",
    key: str | None = None,
    stream: bool = False,
    timeout: float = TIMEOUT,
    headers: Mapping[str, str] | None = None,
    **fields: Any,
) -> requests.Response:
    """One chat request on a connection of its own, read to the end."""
    if stream and provider.dialect != "gemini":
        fields["stream"] = True
    with session() as client:
        return client.post(
            address_for(provider, model, stream),
            json=body_for(provider, text, model, **fields),
            headers=headers_for(provider, key) | dict(headers or {}),
            timeout=timeout,
            allow_redirects=False,
        )


def text_in(provider: FakeProvider, answer: Any) -> Any:
    """The text of a whole answer."""
    if provider.dialect == "anthropic":
        return "".join(block.get("text", "") for block in answer["content"])
    if provider.dialect == "gemini":
        return "".join(part.get("text", "") for part in answer["candidates"][0]["content"]["parts"])
    return answer["choices"][0]["message"]["content"]


def events_in(body: bytes) -> list[Any]:
    """The ``data:`` of every event of a stream, decoded where it is JSON."""
    found = []
    for line in body.replace(b"\r\n", b"\n").split(b"\n"):
        if line.startswith(b"data: "):
            data = line.removeprefix(b"data: ").decode()
            found.append(data if data == "[DONE]" else json.loads(data))
    return found


def request_bytes(provider: FakeProvider, *, stream: bool = False, **fields: Any) -> bytes:
    """A chat request as it goes over the wire."""
    if stream:
        fields["stream"] = True
    body = json.dumps(body_for(provider, **fields)).encode()
    path = "/" + address_for(provider).split("/", 3)[3]
    lines = [f"POST {path} HTTP/1.1", "Host: sim", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers_for(provider).items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


@contextmanager
def connected(provider: FakeProvider) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", provider.port), timeout=TIMEOUT) as sock:
        yield sock


def read_answer(sock: socket.socket) -> tuple[bytes, bytes]:
    """One answer with a Content-Length: its head and its body."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += sock.recv(65536) or fail(data)
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += sock.recv(65536) or fail(body)
    return head, body


def fail(data: bytes) -> bytes:
    raise AssertionError(f"the connection ended after {data!r}")


def read_to_end(sock: socket.socket) -> bytes:
    """Everything until the orderly end of the connection."""
    data = b""
    while piece := sock.recv(65536):
        data += piece
    return data
