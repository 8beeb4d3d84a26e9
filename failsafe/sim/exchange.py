"""One request to one fake provider, and what can be said about it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from types import ModuleType
from typing import Any, cast
from urllib.parse import parse_qs

from failsafe.faults import Fault
from failsafe.sim import anthropic, gemini, identity, openai
from failsafe.sim.answers import Healthy
from failsafe.sim.behaviour import Behaviour, StreamShape
from failsafe.sim.dialect import Asked, Dialect, Route
from failsafe.sim.embeddings import Texts, Unacceptable, texts_of
from failsafe.sim.script import Call, Script, write_script
from failsafe.sim.vendors import Complaint, complain, masked
from failsafe.sim.wire import Head, Headers, Request, Response, merged, to_json

_MODULES: dict[str, ModuleType] = {"openai": openai, "anthropic": anthropic, "gemini": gemini}
DIALECTS: dict[str, Dialect] = {name: cast("Dialect", module) for name, module in _MODULES.items()}
"""The dialects by name."""

_JSON = ("Content-Type", "application/json")
_NO_KEY = "You didn't provide an API key. You need to provide your API key in the request's header."
_WRONG_TYPE = Complaint(fault=Fault.BAD_REQUEST, message="The request's body has a value of the wrong type.")
_HEALTH = Route("health")
_ASKS = frozenset({"chat", "embeddings"})
"""Kinds of addresses at which a model is asked for something."""
_ACCOUNTS: dict[str, Any] = {
    "openrouter": {
        "data": {"label": "sim", "usage": 1.5, "limit": 10.0, "limit_remaining": 8.5, "is_free_tier": False}
    },
    "deepseek": {"is_available": True, "balance_infos": [{"currency": "USD", "total_balance": "8.50"}]},
}
_KEY_HEADERS = {"azure": "api-key", "anthropic": "x-api-key", "gemini": "x-goog-api-key"}


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Profile:
    """
    Who a fake provider pretends to be.

    Attributes:
        name: Its name, which its answers repeat.
        vendor: Whose errors and headers it has.
        dialect: The wire format, and
        dialect_name: its name.
        keys: The keys it takes; none: any request is let in.
        models: The models it knows; none: any model is.
    """

    name: str
    vendor: str
    dialect: Dialect
    dialect_name: str
    keys: frozenset[str]
    models: tuple[str, ...]


class Refused(Exception):
    """The request gets an error; ``response`` is it."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


@dataclass(frozen=True, kw_only=True, slots=True)
class Exchange:
    """
    One request, and who answers it when and how.

    Attributes:
        profile: Who answers.
        request: What was asked.
        number: The number of the request, from 1, which ids are made of.
        now: Seconds since 1970.
        shape: How a stream would look.
    """

    profile: Profile
    request: Request
    number: int
    now: float
    shape: StreamShape

    @property
    def request_id(self) -> str:
        """The id of this request."""
        return f"req_{self.profile.name}_{self.number:08d}"

    @property
    def key(self) -> str:
        """The key the request carries, or ""."""
        return key_of(self.request.head, self.profile.vendor)

    @property
    def model(self) -> str:
        """The model the request names, as far as one can tell, or ""."""
        route = self.profile.dialect.route(self.request.head)
        if route is not None and route.model:
            return route.model
        body = self.request.decoded
        return str(body.get("model", "")) if isinstance(body, dict) else ""

    def concerns(self, behaviour: Behaviour) -> bool:
        """Whether *behaviour* is meant for requests like this one."""
        if not behaviour.picks:
            return True
        route = self.profile.dialect.route(self.request.head)
        return behaviour.concerns(chat=route is not None and route.kind in _ASKS, model=self.model, key=self.key)

    def headers(self, *own: tuple[str, str], limits: bool = True, wait: float | None = None) -> Headers:
        """
        The vendor's headers of every answer, and *own*.

        Args:
            own: Further headers.
            limits: Whether rate limits are stated.
            wait: Seconds until a used-up limit is reset; None: none is.
        """
        vendor = self.profile.vendor
        common = _headers(vendor, int(self.now), limits, wait)
        return (*common, *identity.request_id_headers(vendor, self.request_id), *own)

    def json(self, body: Any, status: int = 200) -> Response:
        """*body* as a JSON answer."""
        return Response(status=status, headers=self.headers(_JSON), body=to_json(body))

    def error(self, complaint: Complaint, headers: Headers = (), wait: float | None = None) -> Response:
        """The vendor's answer to *complaint*."""
        status, body = self.complain(complaint)
        limits = complaint.fault is not Fault.QUOTA  # a 429 about money carries no rate limits
        return Response(
            status=status, headers=merged(self.headers(_JSON, limits=limits, wait=wait), headers), body=to_json(body)
        )

    def complain(self, complaint: Complaint) -> tuple[int, Any]:
        """The status and body of the vendor's answer to *complaint*."""
        head = self.request.head
        filled = replace(
            complaint,
            model=self.model,
            key=complaint.key or masked(self.key),
            path=f"{head.method} {head.path}",
            request_id=self.request_id,
        )
        return complain(self.profile.vendor, filled)

    def route(self) -> Route:
        """
        What the request's address is for.

        Raises:
            Refused: Nothing is there, the method is wrong, or the key is.
        """
        head = self.request.head
        if head.path == "/health":
            return _HEALTH
        route = self.profile.dialect.route(head)
        if route is None or (route.kind == "account" and self.profile.vendor not in _ACCOUNTS):
            raise Refused(self.error(Complaint(fault=Fault.MISCONFIGURED)))
        if head.method != ("POST" if route.kind in _ASKS else "GET"):
            raise Refused(self.error(Complaint(fault=Fault.MISCONFIGURED, status=405, message="Method not allowed.")))
        self._check_key(route)
        return route

    def _check_key(self, route: Route) -> None:
        public = self.profile.vendor == "openrouter" and route.kind == "models"
        if not self.profile.keys or public or self.key in self.profile.keys:
            return
        message = None if self.key or self.profile.vendor == "gemini" else _NO_KEY
        raise Refused(self.error(Complaint(fault=Fault.AUTH, message=message)))

    def account(self) -> Any:
        """What the vendor says of the credit left."""
        return _ACCOUNTS[self.profile.vendor]

    def call(self, route: Route) -> Call:
        """
        What a chat request asks for.

        Raises:
            Refused: The vendor would not take it.
        """
        profile = self.profile
        asked = Asked(self.request.head, route, self.request.decoded, profile.vendor)
        try:
            complaint = profile.dialect.complaint_about(asked)
            call = None if complaint else profile.dialect.call(asked)
        except (AttributeError, IndexError, KeyError, TypeError):  # a list where an object belongs, and the like
            complaint, call = _WRONG_TYPE, None
        if complaint is not None or call is None:
            raise Refused(self.error(complaint or _WRONG_TYPE))
        if profile.models and call.model not in profile.models:
            raise Refused(self.error(Complaint(fault=Fault.MODEL)))
        return call

    def texts(self, route: Route) -> Texts:
        """
        What a request for embeddings asks for.

        Raises:
            Refused: The vendor would not take it.
        """
        profile = self.profile
        asked = Asked(self.request.head, route, self.request.decoded, profile.vendor)
        try:
            wanted = texts_of(profile.dialect_name, asked)
        except Unacceptable as problem:
            raise Refused(self.error(problem.complaint)) from None
        except (AttributeError, IndexError, KeyError, TypeError):
            raise Refused(self.error(_WRONG_TYPE)) from None
        if profile.models and wanted.model not in profile.models:
            raise Refused(self.error(Complaint(fault=Fault.MODEL)))
        return wanted

    def script(self, call: Call, reply: Healthy) -> Script:
        """The healthy answer to *call*."""
        return write_script(self.profile.name, self.profile.vendor, self.number, self.now, call, reply)


def key_of(head: Head, vendor: str) -> str:
    """The key that a request to *vendor* carries, or ""."""
    header = _KEY_HEADERS.get(vendor)
    if header is not None and header in head.headers:
        return head.headers[header]
    scheme, _, token = head.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token
    return parse_qs(head.query).get("key", [""])[0] if vendor == "gemini" else ""


@lru_cache(maxsize=64)
def _headers(vendor: str, now: int, limits: bool, wait: float | None) -> Headers:
    limit_headers = identity.rate_limit_headers(vendor, now, wait) if limits else ()
    return (("Date", identity.http_date(now)), *identity.fixed_headers(vendor), *limit_headers)
