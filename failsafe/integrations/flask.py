"""
Failsafe in a Flask app: a router for each app, errors as answers, streams, health and metrics.

::

    failsafe = Failsafe()

    def create_app():
        app = Flask(__name__)
        app.config["FAILSAFE_CONFIG"] = "/etc/myapp/failsafe.toml"
        failsafe.init_app(app)
        return app

    @bp.post("/ask")
    def ask():
        return current_router.chat(request.json["question"], model="fast").content

See ``docs/drop-ins.md``.
"""

from __future__ import annotations

import math
import weakref
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, cast

import msgspec
from flask import Blueprint, Flask, Response, abort, current_app, jsonify, request
from werkzeug.local import LocalProxy

from failsafe.deadline import Deadline, in_force
from failsafe.errors import ConfigError, FailsafeError
from failsafe.inbound.readiness import health
from failsafe.inbound.statuses import retry_after, status_of
from failsafe.integrations import exposition
from failsafe.integrations.events import Events
from failsafe.integrations.flask_settings import FlaskSettings
from failsafe.integrations.metrics import Source
from failsafe.integrations.tally import Tally
from failsafe.router import Router
from failsafe.stream import Stream

__all__ = ["Failsafe", "current_router", "sse", "stream_response"]

_NAME = "failsafe"
_IN_FORCE = "failsafe.in_force"
_CLOSING = 1.0
"""Seconds that closing waits for calls; when an app goes, or the interpreter ends, none should be under way."""

_MESSAGES = {
    400: "the request was refused",
    404: "there is no such model",
    429: "too many requests; try again later",
    502: "the answer broke off",
    503: "nobody could answer; try again later",
    504: "there was no answer in time",
}
_UNKNOWN = "the request could not be answered"


class Failsafe:
    """
    The extension. One serves any number of apps; each has a router of its own, made by :meth:`init_app`.

    A router that it made is closed when its app is collected or the interpreter ends; ``FAILSAFE_ROUTER`` is left to
    whoever made it. Processes forked after ``init_app`` (``gunicorn --preload``) use copies with connections of
    their own.

    Args:
        app: The app; None: :meth:`init_app` comes later.

    Raises:
        ConfigError: As :meth:`init_app`.
    """

    def __init__(self, app: Flask | None = None) -> None:
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """
        Set *app* up as its configuration says.

        Registers ``current_router``, the views, the deadline of each request, and the answers to failsafe's errors;
        an error handler for ``FailsafeError`` that the app registers afterwards comes before ours.

        Raises:
            ConfigError: A setting is missing or wrong, or the app was set up before.
        """
        if _NAME in app.extensions:
            raise ConfigError(f"app {app.name!r} has failsafe already; call init_app once")
        settings = FlaskSettings.of(app.config)
        app.extensions[_NAME] = _installed(app, settings)
        app.register_blueprint(_views(settings), url_prefix=settings.url_prefix or None)
        app.register_error_handler(FailsafeError, _answer)
        app.before_request(_begin)
        app.teardown_request(_end)


class _Installed:
    """What one app has."""

    def __init__(self, router: Router, settings: FlaskSettings) -> None:
        self.router = router
        self.source = Source(router, Tally(router)) if settings.metrics else None
        self.header = settings.timeout_header
        self.own_limit = settings.request_timeout
        self.limit = settings.request_timeout or router.config.timeout


def _installed(app: Flask, settings: FlaskSettings) -> _Installed:
    if not isinstance(settings.router, Router):
        router = Router(settings.router)
        weakref.finalize(app, router.close, _CLOSING)  # also at exit
        return _Installed(router, settings)
    installed = _Installed(settings.router, settings)
    if installed.source is not None:
        weakref.finalize(app, installed.source.tally.close)
    return installed


def _here() -> _Installed:
    installed: _Installed | None = current_app.extensions.get(_NAME)
    if installed is None:
        raise ConfigError(f"app {current_app.name!r} has no failsafe; call Failsafe(app), or init_app(app)")
    return installed


current_router = cast("Router", LocalProxy(lambda: _here().router))
"""The router of the app that is active here; Flask's own ``RuntimeError`` outside of any app's context."""


def _begin() -> None:
    """Put the deadline of this request in force."""
    installed = _here()
    seconds = installed.own_limit
    asked = request.headers.get(installed.header) if installed.header else None
    if asked is not None:
        seconds = min(_seconds(asked), installed.limit)
    if seconds is not None:
        holding = in_force(Deadline.after(seconds))
        holding.__enter__()
        request.environ[_IN_FORCE] = holding  # flask.g may be shared by several requests of a test


def _end(_error: BaseException | None) -> None:
    holding: AbstractContextManager[Deadline] | None = request.environ.pop(_IN_FORCE, None)
    if holding is not None:
        holding.__exit__(None, None, None)


def _seconds(text: str) -> float:
    """The seconds that the header *text* asks for; where they are none, the request is answered with 400."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if 0 < seconds < math.inf:
        return seconds
    problem = f"the header {_here().header} needs a number of seconds above 0"
    return abort(_as_json({"type": "InvalidRequest", "message": problem}, 400))


def _answer(error: FailsafeError) -> Response:
    """The answer to a request whose view raised *error*."""
    status = status_of(error)
    if status == 500:
        raise error  # a wrong setting or a defect: Flask's own handling logs it
    response = _as_json(_described(error, whole=current_app.debug), status)
    wait = retry_after(error)
    if wait is not None:
        response.headers["Retry-After"] = str(wait)
    return response


def _as_json(error: dict[str, Any], status: int) -> Response:
    response = jsonify(error=error)
    response.status_code = status
    return response


def _described(error: FailsafeError, *, whole: bool) -> dict[str, Any]:
    """What a client may know of *error*; the report, which names the providers, only if *whole*."""
    status = status_of(error)
    return {"type": type(error).__name__, "message": str(error) if whole else _MESSAGES.get(status, _UNKNOWN)}


def sse(stream: Stream) -> Events:
    """
    The events of *stream* (:class:`failsafe.integrations.events.Events`), for a response of your own making.

    Needs an app's context when it is called, not while it is read.
    """
    return Events(stream, partial(_described, whole=current_app.debug))


def stream_response(stream: Stream) -> Response:
    """
    The response that sends *stream* as server-sent events.

    ``return stream_response(current_router.stream(...))``: errors before the first content raise from the call of
    ``stream`` and become 503 or 504; an answer that breaks off later ends with ``event: error``. When the client goes
    away, the server closes the response, and that closes the provider's socket.
    """
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return Response(sse(stream), mimetype="text/event-stream", headers=headers)


def _views(settings: FlaskSettings) -> Blueprint:
    views = Blueprint(_NAME, __name__)
    views.add_url_rule("/healthz", "healthz", _healthz)
    if settings.metrics:
        views.add_url_rule("/metrics", "metrics", _metrics)
    if settings.status:
        views.add_url_rule("/status", "status", _status)
    return views


def _healthz() -> Response:
    status, body = health(_here().router)
    response = jsonify(body)
    response.status_code = status
    return _fresh(response)


def _metrics() -> Response:
    source = _here().source
    assert source is not None  # noqa: S101 -- there is no such view without one
    return _fresh(Response(exposition.metrics(source), content_type=exposition.CONTENT_TYPE))


def _status() -> Response:
    # Not by jsonify, which writes an endless wait as the word Infinity: that is no JSON.
    return _fresh(Response(msgspec.json.encode(exposition.status(_here().router)), mimetype="application/json"))


def _fresh(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    return response
