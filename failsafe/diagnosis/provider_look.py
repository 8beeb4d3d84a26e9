"""Looks at one provider: the way there, its list of models, and a short answer if wanted. Every step is bounded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from failsafe.clock import SYSTEM_CLOCK, Clock
from failsafe.config import ProviderConfig
from failsafe.deadline import CancelToken, Deadline
from failsafe.diagnosis.facts import STRAIGHT, Exchanged, ProviderFacts
from failsafe.diagnosis.names import model_to_try, other_urls
from failsafe.errors import ConfigError
from failsafe.faults import Fault
from failsafe.masking import mask
from failsafe.models import ChatRequest, Failure
from failsafe.providers.base import Target
from failsafe.providers.error_body import parse_error
from failsafe.providers.hints import lower
from failsafe.providers.registry import dialect_named
from failsafe.reading import read_answer
from failsafe.secret import Secret
from failsafe.transport import tls
from failsafe.transport.base import Limits, RawAnswer
from failsafe.transport.inspection import Connected, Inspector, Lookup, Server
from failsafe.transport.proxies import Route, route
from failsafe.transport.requests_transport import RequestsTransport

_MOST_BYTES = 8 * 1024 * 1024
"""The longest list of models that is read."""
_MOST_KEYS = 8
_MOST_URLS = 4
_STEPS = 4
"""How many times the limit of one step a provider is given in all."""
_KEPT_HEADERS = frozenset({"date", "age", "server", "via", "location", "cf-ray", "retry-after", "content-type"})
_WRONG_PLACE = frozenset({Fault.MISCONFIGURED, Fault.MODEL, Fault.MALFORMED})
_API_ANSWERS = frozenset({Fault.AUTH, Fault.PERMISSION, Fault.QUOTA, Fault.RATE_LIMIT})
_UNKNOWN = Target(provider="", vendor="", model="")


class Listing(NamedTuple):
    """What a list of models says: the ids, whether those are all, and which are to be shut down when."""

    models: tuple[str, ...]
    all: bool
    retiring: Mapping[str, str]


class _ListReader:
    """Reads the lists of models of all dialects; any other object counts as a list without names."""

    def __init__(self, config: ProviderConfig) -> None:
        self.name = config.dialect
        self._secrets = config.keys

    def read(self, body: Any, target: Target) -> Listing | Failure:  # noqa: ARG002 -- as every reader is called
        if isinstance(body, Mapping) and body.get("error"):
            return Failure(fault=Fault.SERVER, message="HTTP 200 with an error inside")
        entries = body
        if isinstance(body, Mapping):
            entries = body.get("data", body.get("models"))
        if isinstance(entries, Mapping):  # OpenRouter's /key tells of the key
            return Listing((), all=False, retiring={})
        if not isinstance(entries, list):
            return Failure(fault=Fault.MALFORMED, message="HTTP 200 with JSON that is no list of models")
        found = ((_name(each), each) for each in entries if isinstance(each, Mapping))
        named = {name: each for name, each in found if name and mask(name, self._secrets) == name}
        whole = not isinstance(body, Mapping) or not (body.get("has_more") or body.get("nextPageToken"))
        ending = {name: str(day) for name, each in named.items() if (day := each.get("shutdown_date"))}
        return Listing(tuple(named), all=whole, retiring=ending)


def _name(entry: Mapping[str, Any]) -> str:
    name = entry.get("id") or entry.get("name") or ""
    return name.removeprefix("models/") if isinstance(name, str) else ""


class ProviderLook:
    """
    Looks at one provider at a time. Thread-safe.

    Args:
        timeout: Seconds for each step; a provider is given four times as long in all.
        completion: Whether a short answer is asked for, which costs a few tokens.
        environ: Where proxies and CA bundles are named.
        cancel: Ends what is under way.
        clock: The source of time.
    """

    def __init__(
        self,
        timeout: float,
        *,
        completion: bool = False,
        environ: Mapping[str, str],
        cancel: CancelToken | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._timeout = timeout
        self._completion = completion
        self._environ = environ
        self._cancel = cancel
        self._clock = clock

    def __call__(self, facts: ProviderFacts) -> ProviderFacts:
        """*facts* with what was seen added. Never raises, whatever the network does."""
        deadline = Deadline.after(_STEPS * self._timeout, self._clock)
        facts = self._way(facts, deadline)
        if facts.route_problem or not _is_open(facts) or not facts.configured:
            return facts
        return self._answers(facts, deadline)

    def _way(self, facts: ProviderFacts, deadline: Deadline) -> ProviderFacts:
        config = facts.config
        try:
            way = route(config.base_url, config.proxy, self._environ)
            bundle = tls.choose_bundle(config.ca_bundle, self._environ if facts.address.scheme == "https" else {})
        except ConfigError as error:
            return msgspec.structs.replace(facts, route_problem=str(error))
        host, port = _first_hop(facts, way)
        lookup = self._inspector(config, deadline).look_up(host, port)
        connections = tuple(self._connections(config, lookup, port, deadline))
        facts = msgspec.structs.replace(facts, route=way, lookup=lookup, connections=connections)
        if facts.address.scheme == "https" and _is_open(facts) and _can_tunnel(way):
            server = Server(host=facts.address.host, port=facts.port, proxy=way.proxy)
            handshake = self._inspector(config, deadline).shake_hands(server, bundle, config.client_cert)
            # What a proxy says when it opens no tunnel is told by the request itself.
            facts = msgspec.structs.replace(facts, handshake=handshake if _of_tls(way, handshake.problem) else None)
        return facts

    def _inspector(self, config: ProviderConfig, deadline: Deadline) -> Inspector:
        seconds = max(0.001, min(self._timeout, config.connect_timeout, deadline.left))
        return Inspector(seconds, cancel=self._cancel, clock=self._clock)

    def _connections(
        self, config: ProviderConfig, lookup: Lookup, port: int, deadline: Deadline
    ) -> Iterator[Connected]:
        """Connect to the first address of each kind."""
        kinds = {":" in address: address for address in reversed(lookup.addresses)}
        for address in lookup.addresses:
            if kinds.get(":" in address) == address:
                yield self._inspector(config, deadline).connect(address, port)

    def _answers(self, facts: ProviderFacts, deadline: Deadline) -> ProviderFacts:
        config = facts.config
        try:
            transport = self._transport(config, config.base_url)
        except ConfigError as error:
            return msgspec.structs.replace(facts, route_problem=str(error))
        try:
            facts = self._overheard(self._listed(facts, transport, deadline), deadline)
            if _leads_elsewhere(facts):
                facts = msgspec.structs.replace(facts, better_url=self._better_url(config, deadline))
            if self._completion and _is_worth_asking(facts):
                facts = msgspec.structs.replace(facts, completion=self._complete(facts, transport, deadline))
        finally:
            transport.close()
        return facts

    def _overheard(self, facts: ProviderFacts, deadline: Deadline) -> ProviderFacts:
        """Where a TLS server hung up on the request: what it says by itself after the handshake."""
        first = next(iter(facts.exchanges), None)
        failure = first.failure if first is not None else None
        if failure is None or failure.fault is not Fault.DISCONNECTED or facts.handshake is None:
            return facts
        config = facts.config
        server = Server(host=facts.address.host, port=facts.port, proxy=facts.route.proxy)
        bundle = tls.choose_bundle(config.ca_bundle, self._environ)
        made = self._inspector(config, deadline).shake_hands(server, bundle, config.client_cert, listen=True)
        return msgspec.structs.replace(facts, handshake=made) if made.reason else facts

    def _transport(self, config: ProviderConfig, base_url: str) -> RequestsTransport:
        return RequestsTransport(
            base_url,
            headers=config.headers,
            query=config.query,
            auth_header=config.auth_header,
            auth_prefix=config.auth_prefix,
            pool_size=1,
            ca_bundle=config.ca_bundle,
            client_cert=config.client_cert,
            proxy=config.proxy,
            clock=self._clock,
            environ=self._environ,
        )

    def _limits(self, config: ProviderConfig, deadline: Deadline) -> Limits:
        return Limits(
            deadline=deadline.sooner(self._timeout),
            connect_timeout=min(config.connect_timeout, self._timeout),
            max_bytes=min(config.max_answer_bytes, _MOST_BYTES),
            cancel=self._cancel,
        )

    def _listed(self, facts: ProviderFacts, transport: RequestsTransport, deadline: Deadline) -> ProviderFacts:
        config = facts.config
        path = whole_list(config.models_path)
        if not path:
            return facts
        exchanges, listing = [], Listing((), all=False, retiring={})
        for key in config.keys[:_MOST_KEYS] or (None,):
            exchanged, found = self._get(config, transport, path, key, deadline)
            exchanges.append(exchanged)
            listing = found or listing
        if path == "/key":  # OpenRouter's, which proves the key; its list is public
            _, found = self._get(config, transport, "/models", None, deadline)
            listing = found or listing
        return msgspec.structs.replace(
            facts,
            exchanges=tuple(exchanges),
            models=listing.models,
            all_models=listing.all and bool(listing.models),
            retiring=listing.retiring,
        )

    def _get(
        self, config: ProviderConfig, transport: RequestsTransport, path: str, key: Secret | None, deadline: Deadline
    ) -> tuple[Exchanged, Listing | None]:
        began = self._clock.monotonic()
        outcome = transport.send("GET", path, None, key, self._limits(config, deadline))
        exchanged = Exchanged(
            asked=f"GET {path.partition('?')[0]}",
            key=key,
            seconds=self._clock.monotonic() - began,
            at=self._clock.time(),
        )
        if isinstance(outcome, Failure):
            return msgspec.structs.replace(exchanged, failure=outcome, status=outcome.status), None
        read = read_answer(
            outcome, _target(config, ""), key, config=config, dialect=_ListReader(config), now=exchanged.at
        )
        if isinstance(read, Failure):
            return _refused(exchanged, outcome, read, config), None
        return _good(exchanged, outcome, config), read.answer

    def _better_url(self, config: ProviderConfig, deadline: Deadline) -> str | None:
        """A base URL on the same host at which the API answers, if only to refuse the key."""
        key = config.keys[0] if config.keys else None
        for url in other_urls(config)[:_MOST_URLS]:
            if deadline.expired:
                return None
            transport = self._transport(config, url)
            try:
                exchanged, listing = self._get(config, transport, whole_list(config.models_path), key, deadline)
            finally:
                transport.close()
            refused = exchanged.failure is not None and exchanged.failure.fault in _API_ANSWERS
            if listing is not None or (refused and exchanged.said is not None and exchanged.said.kind == "json"):
                return url
        return None

    def _complete(self, facts: ProviderFacts, transport: RequestsTransport, deadline: Deadline) -> Exchanged | None:
        model = model_to_try(facts.config, facts.models)
        if model is None:
            return None
        key = next((each.key for each in facts.exchanges if each.failure is None), None)
        key = key or next(iter(facts.config.keys), None)
        asked = self._ask(facts.config, transport, model, key, {"max_tokens": 16}, deadline)
        if asked.failure is not None and asked.failure.fault is Fault.UNSUPPORTED_PARAMETER:
            asked = self._ask(facts.config, transport, model, key, {}, deadline)
        return asked

    def _ask(
        self,
        config: ProviderConfig,
        transport: RequestsTransport,
        model: str,
        key: Secret | None,
        parameters: Mapping[str, Any],
        deadline: Deadline,
    ) -> Exchanged:
        dialect, target = dialect_named(config.dialect), _target(config, model)
        question = ChatRequest(
            model=model, messages=[{"role": "user", "content": "Reply with: OK"}], parameters=parameters
        )
        built = dialect.build(question, target)
        began = self._clock.monotonic()
        outcome = transport.send("POST", built.path, built.body, key, self._limits(config, deadline))
        exchanged = Exchanged(
            asked=f"a short answer of {model}",
            key=key,
            model=model,
            seconds=self._clock.monotonic() - began,
            at=self._clock.time(),
        )
        if isinstance(outcome, Failure):
            return msgspec.structs.replace(exchanged, failure=outcome, status=outcome.status)
        read = read_answer(outcome, target, key, config=config, dialect=dialect, now=exchanged.at)
        if isinstance(read, Failure):
            return _refused(exchanged, outcome, read, config)
        return _good(exchanged, outcome, config)


def whole_list(path: str) -> str:
    """The path that lists all models, where *path* asks for one of them."""
    return path.replace("limit=1", "limit=1000").replace("pageSize=1", "pageSize=1000") if path[-2:] == "=1" else path


def _target(config: ProviderConfig, model: str) -> Target:
    if not model:
        return msgspec.structs.replace(_UNKNOWN, provider=config.name, vendor=config.vendor)
    return Target(
        provider=config.name,
        vendor=config.vendor,
        model=model,
        info=config.model_info(model),
        quirks=config.quirks,
        extra=config.extra,
    )


def _good(exchanged: Exchanged, raw: RawAnswer, config: ProviderConfig) -> Exchanged:
    return msgspec.structs.replace(exchanged, status=raw.status, headers=_kept(raw, config.keys))


def _refused(exchanged: Exchanged, raw: RawAnswer, failure: Failure, config: ProviderConfig) -> Exchanged:
    said = parse_error(raw.body, lower(raw.headers).get("content-type", ""), config.keys)
    return msgspec.structs.replace(
        exchanged, status=raw.status, headers=_kept(raw, config.keys), failure=failure, said=said
    )


def _kept(raw: RawAnswer, secrets: Sequence[Secret]) -> Mapping[str, str]:
    return {name: mask(value, secrets) for name, value in lower(raw.headers).items() if name in _KEPT_HEADERS}


def _first_hop(facts: ProviderFacts, way: Route) -> tuple[str, int]:
    """Host and port of what is connected to: the proxy, else the server."""
    if way.proxy is None:
        return facts.address.host, facts.port
    parts = urlsplit(way.proxy)
    return parts.hostname or "", parts.port or (443 if parts.scheme.lower() == "https" else 80)


def _is_open(facts: ProviderFacts) -> bool:
    """Whether there is a way to go on."""
    if not any(not each.problem for each in facts.connections):
        return False
    return facts.handshake is None or not facts.handshake.problem


def _can_tunnel(way: Route) -> bool:
    return way == STRAIGHT or way.proxy is None or way.proxy.lower().startswith("http://")


def _of_tls(way: Route, problem: str) -> bool:
    return way.proxy is None or problem != "the proxy opened no tunnel"


def _is_worth_asking(facts: ProviderFacts) -> bool:
    """Whether a short answer would tell more than the list of models did."""
    if facts.better_url is not None:
        return False
    failures = [each.failure for each in facts.exchanges if each.failure is not None]
    settled = all(failure.status is None or failure.fault is Fault.AUTH for failure in failures)
    return len(failures) < len(facts.exchanges) or not facts.exchanges or not settled


def _leads_elsewhere(facts: ProviderFacts) -> bool:
    first = next(iter(facts.exchanges), None)
    if first is None or first.failure is None or first.status is None:
        return False
    html = first.said is not None and first.said.kind == "html" and first.status < 500 and first.status != 403
    return html or first.failure.fault in _WRONG_PLACE
