"""The gateway as a WSGI application."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from http import HTTPStatus
from typing import Any

import msgspec

from failsafe.chunks import OnInterrupt
from failsafe.clock import SYSTEM_CLOCK, Clock
from failsafe.encoding import shown
from failsafe.gateway import model_list
from failsafe.gateway.guard import Environ, Guard, Refused
from failsafe.gateway.time_limit import time_limit
from failsafe.inbound.anthropic import AnthropicFormat
from failsafe.inbound.openai import OpenAIFormat
from failsafe.inbound.readiness import health
from failsafe.inbound.service import JSON, PROVIDER_HEADER, HttpAnswer, Service
from failsafe.masking import mask, shorten
from failsafe.router import Router

CANCEL = "failsafe.cancel"
"""In a request's environ: the :class:`failsafe.CancelToken` that is cancelled when its client is gone."""

_CHAT = "/v1/chat/completions"
_EMBEDDINGS = "/v1/embeddings"
_MESSAGES = "/v1/messages"
_MODELS = "/v1/models"
_PATHS = f"{_CHAT}, {_EMBEDDINGS}, {_MESSAGES}, {_MODELS} and /healthz"

_logger = logging.getLogger("failsafe.gateway")


class Gateway:
    """
    Answers OpenAI's chat completions and embeddings, Anthropic's messages and the list of models through a router.

    Thread-safe.

    Needs the token for everything but ``/healthz``, and never sends a CORS header. Each request is a line at INFO of
    the logger ``failsafe.gateway``. It puts no bound on how many calls are under way: the server's threads do.

    Args:
        router: Who asks the providers; whoever made it closes it.
        token: What clients give as their API key.
        hosts: Names and ``*.suffix`` patterns by which clients may call this server, beside ``localhost`` and
            loopback addresses.
        any_address: Whether they may call it by any IP address.
        max_body: The largest request, bytes. None: the router's ``max_request_bytes``.
        on_interrupt: What becomes of a stream that breaks off: ``raise`` or ``continue``, as for
            :class:`failsafe.inbound.service.Service`.
        clock: Times requests for the log.

    Raises:
        ConfigError: A setting is wrong.
    """

    def __init__(
        self,
        router: Router,
        token: str,
        *,
        hosts: Collection[str] = (),
        any_address: bool = False,
        max_body: int | None = None,
        on_interrupt: OnInterrupt = "raise",
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._router = router
        self.max_body = router.config.max_request_bytes if max_body is None else max_body
        """The largest request, bytes."""
        self._guard = Guard(token, hosts, any_address=any_address, most=self.max_body)
        self._openai = Service(router, OpenAIFormat(), on_interrupt=on_interrupt)
        self._anthropic = Service(router, AnthropicFormat(), on_interrupt=on_interrupt)
        self._clock = clock

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        """Answer one request, as WSGI has it."""
        began = self._clock.monotonic()
        answer = self.answer(environ)
        if _logger.isEnabledFor(logging.INFO):
            self._log(environ, answer, self._clock.monotonic() - began)
        headers = list(answer.headers.items())
        if isinstance(answer.body, bytes):
            headers.append(("Content-Length", str(len(answer.body))))
        start_response(f"{answer.status} {HTTPStatus(answer.status).phrase}", headers)
        if environ["REQUEST_METHOD"] == "HEAD":
            return []
        return [answer.body] if isinstance(answer.body, bytes) else answer.body

    def answer(self, environ: Environ) -> HttpAnswer:
        """The answer to one request; an error is an answer too. Whoever stops reading a stream closes it."""
        try:
            return self._admit(environ)
        except Refused as refused:
            answer = self._service(environ).refusal(refused.status, refused)
            return answer._replace(headers={**answer.headers, **refused.headers})

    def admits(self, environ: Environ) -> bool:
        """Whether a request with these headers is from somebody who may ask anything at all."""
        try:
            self._guard.check_place(environ)
            self._guard.check_token(environ)
        except Refused:
            return False
        return True

    def _admit(self, environ: Environ) -> HttpAnswer:
        self._guard.check_place(environ)
        path = environ.get("PATH_INFO", "")
        if path == "/healthz":
            return self._health(environ)
        self._guard.check_token(environ)
        if path in (_CHAT, _EMBEDDINGS, _MESSAGES):
            return self._ask(path, environ)
        if path == _MODELS or path.startswith(f"{_MODELS}/"):
            return self._models(path, environ)
        raise Refused(404, f"there is nothing at this path; there are {_PATHS}")

    def _service(self, environ: Environ) -> Service:
        """In whose terms this client is to be answered."""
        spoken = environ.get("PATH_INFO") == _MESSAGES or "HTTP_ANTHROPIC_VERSION" in environ
        return self._anthropic if spoken else self._openai

    def _health(self, environ: Environ) -> HttpAnswer:
        _allow(environ, "GET", "HEAD")
        return _json(*health(self._router))

    def _ask(self, path: str, environ: Environ) -> HttpAnswer:
        _allow(environ, "POST")
        body = self._guard.body(environ)
        limit = time_limit(environ, body, self._router.config.timeout)
        service = self._anthropic if path == _MESSAGES else self._openai
        return service.answer(path, body, timeout=limit, cancel=environ.get(CANCEL))

    def _models(self, path: str, environ: Environ) -> HttpAnswer:
        _allow(environ, "GET", "HEAD")
        config, to_anthropic = self._router.config, self._service(environ) is self._anthropic
        if path == _MODELS:
            found = model_list.owners(config)
            return _json(200, model_list.as_anthropic(found) if to_anthropic else model_list.as_openai(found))
        model = (
            path.removeprefix(f"{_MODELS}/").encode("latin-1").decode("utf-8", "replace")
        )  # WSGI has bytes as latin-1
        owner = model_list.owner_of(config, model)
        if owner is None:
            raise Refused(404, f"no configured provider serves model {shown(model)}")
        one = model_list.one_as_anthropic(model) if to_anthropic else model_list.one_as_openai(model, owner)
        return _json(200, one)

    def _log(self, environ: Environ, answer: HttpAnswer, seconds: float) -> None:
        """A line without query, headers and bodies, where secrets are. A stream is timed up to its beginning."""
        path = shorten(mask(environ.get("PATH_INFO", ""), [self._guard.token]), 200)
        who = answer.headers.get(PROVIDER_HEADER, "-")
        method = shorten(mask(environ["REQUEST_METHOD"]), 20)
        _logger.info("%s %s %d %s %.0f ms", method, path, answer.status, who, seconds * 1000)


def _allow(environ: Environ, *methods: str) -> None:
    if environ["REQUEST_METHOD"] not in methods:
        raise Refused(405, f"this path takes {' and '.join(methods)}", {"Allow": ", ".join(methods)})


def _json(status: int, value: Any) -> HttpAnswer:
    return HttpAnswer(status, {"Content-Type": JSON, "Cache-Control": "no-store"}, msgspec.json.encode(value))
