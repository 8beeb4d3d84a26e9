"""
What a chunk of a stream costs, against ``requests``' ``iter_lines`` and ``json.loads``; and what a long one keeps.

Client and server run on a core each (where there are two), the contestants take turns, and the figures are
ratios of medians. The server is a bare socket that sends one HTTP chunk an event, as vendors do: as fast as it
can, so that many chunks lie in one packet, or each by itself. Run it from the repository's root:
``python benchmarks/streaming.py``.
"""

from __future__ import annotations

import json
import os
import re
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import requests
from measure import Goals

from failsafe.config import ProviderConfig
from failsafe.router import Router

ROUNDS = 31
CHUNKS = {"dense": 4000, "apart": 1000}
PAUSE = 0.0003  # seconds between two chunks that come apart
LONG = 1_000_000
TEXT = " word"
_PAGE = os.sysconf("SC_PAGE_SIZE")
_MODEL = re.compile(rb'"model": ?"((dense|apart)-(\d+))"')


def _event(model: str, delta: dict[str, str], reason: str | None = None) -> bytes:
    chunk = {
        "id": "chatcmpl-C2NsmfYFHvvNmfYZtQ9fDjXXGHfPQ",
        "object": "chat.completion.chunk",
        "created": 1760000000,
        "model": model,
        "service_tier": "default",
        "system_fingerprint": "fp_b3f1157249",
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}],
        "usage": None,
    }
    data = b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(data), data)


def serve() -> None:
    """The server's process: print where it listens, and answer every connection until it is killed."""
    _pin(1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_answer, args=(connection,), daemon=True).start()


def _answer(connection: socket.socket) -> None:
    """Answer the requests of one connection with as many chunks as their model says."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    waiting = b""
    try:
        while received := connection.recv(65_536):
            waiting += received
            asked = _MODEL.search(waiting)
            if asked is None or not waiting.endswith(b"}"):
                continue
            waiting = b""
            model, pause = asked[1].decode(), PAUSE if asked[2] == b"apart" else 0.0
            piece, end = _event(model, {"content": TEXT}), _event(model, {}, "stop")
            connection.sendall(head)
            for _ in range(int(asked[3])):
                connection.sendall(piece)
                if pause:
                    time.sleep(pause)
            connection.sendall(end + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
    except OSError:  # the client has hung up
        return


def _pin(core: int) -> None:
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {core})


@contextmanager
def server() -> Iterator[str]:
    """The base URL of the server, in a process of its own."""
    with subprocess.Popen([sys.executable, __file__, "serve"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def with_failsafe(router: Router, model: str) -> int:
    """Characters of a streamed answer."""
    return sum(len(chunk.text) for chunk in router.stream("hi", model=model, timeout=60))


def with_requests(session: requests.Session, address: str, model: str) -> int:
    """The same by hand."""
    length = 0
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "stream": True}
    with session.post(f"{address}/chat/completions", json=body, stream=True, timeout=60) as response:
        for line in response.iter_lines():
            if line.startswith(b"data: ") and line != b"data: [DONE]":
                length += len(json.loads(line[6:])["choices"][0]["delta"].get("content", ""))
    return length


def cpu(read: Callable[[str], int], way: str) -> float:
    """Seconds of CPU for one stream, all threads of the process."""
    began = time.process_time()
    assert read(f"{way}-{CHUNKS[way]}") == CHUNKS[way] * len(TEXT)
    return time.process_time() - began


def resident() -> int:
    """Bytes of memory that the process holds."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE


def kept(router: Router) -> float:
    """Bytes that each character of a long stream leaves behind in the process, from a tenth of it on."""
    read, early = 0, 0
    with router.stream("hi", model=f"dense-{LONG}", timeout=600) as stream:
        for number, chunk in enumerate(stream):
            read += len(chunk.text)
            if number == LONG // 10:
                early = resident()
        late = resident()
    assert read == LONG * len(TEXT) == len(stream.response.content)
    return (late - early) / (read * 0.9)


def main() -> int:
    """Measure, print, and tell by the exit code whether the goals were met."""
    goals = Goals()
    figures: dict[str, list[tuple[float, float]]] = {way: [] for way in CHUNKS}
    with server() as address:
        _pin(0)
        with (
            Router([ProviderConfig(name="first", base_url=address, api_key="k")]) as router,
            requests.Session() as session,
        ):
            ours, theirs = partial(with_failsafe, router), partial(with_requests, session, address)
            for number in range(ROUNDS + 1):
                for way in CHUNKS:
                    figure = cpu(ours, way), cpu(theirs, way)
                    if number:
                        figures[way].append(figure)
            growth = kept(router)
    for way, measured in figures.items():
        ratios = [mine / other for mine, other in measured]
        ours_each, theirs_each = (statistics.median(column) for column in zip(*measured, strict=True))
        print(
            f"CPU a chunk, {way}: failsafe {ours_each / CHUNKS[way] * 1e6:.1f} us, requests "
            f"{theirs_each / CHUNKS[way] * 1e6:.1f} us (medians; by round {min(ratios):.2f} to {max(ratios):.2f} x)"
        )
        goals.at_most(f"cpu_per_chunk_{way}", ours_each / theirs_each, 1.2)
    print(f"memory kept of {LONG:,} chunks: {growth:.2f} bytes for a character of text")
    goals.at_most("bytes_kept_per_character", growth, 4)
    return goals.finish()


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve()
    else:
        sys.exit(main())
