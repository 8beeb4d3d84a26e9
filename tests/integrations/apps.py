"""Flask apps over scripted or fake providers, and what their tests share."""

from __future__ import annotations

import json
from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from failsafe.integrations.flask import Failsafe, current_router, stream_response


def asking_app(name: str = "app", **config: Any) -> Flask:
    """An app with ``/ask`` and ``/stream``, set up by *config*."""
    app = Flask(name)
    app.config.update(config)
    Failsafe(app)

    @app.get("/ask")
    def ask() -> str:
        return current_router.chat("hi", model="gpt-4.1").content

    @app.get("/stream")
    def stream() -> Any:
        return stream_response(current_router.stream("hi", model="gpt-4.1"))

    return app


def client_of(**config: Any) -> FlaskClient:
    return asking_app(**config).test_client()


def events_in(body: bytes) -> list[tuple[str, Any]]:
    """The name (``message`` where it has none) and the decoded data of each event."""
    found = []
    for block in body.decode().split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        found.append((fields.get("event", "message"), json.loads(fields["data"])))
    return found


def text_of(events: list[tuple[str, Any]]) -> str:
    return "".join(data.get("text", "") for _, data in events)
