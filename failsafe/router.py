"""Sends each chat request to the best provider that works right now."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

import msgspec

from failsafe.admission import Admission
from failsafe.attempts import CallLabel, Opened, Shared
from failsafe.breaker import CircuitBreakerRegistry
from failsafe.checks import close_names
from failsafe.chunks import ON_INTERRUPT, OnInterrupt
from failsafe.clock import SYSTEM_CLOCK, Clock, Random, new_random
from failsafe.config import ProviderConfig, Route, RouterConfig
from failsafe.constraints import CallParameters, Constraints, RoutingOptions, checked, split
from failsafe.course import Candidate
from failsafe.deadline import CancelToken, Deadline, current_deadline
from failsafe.embedding import Embed, VectorLengths, as_chat
from failsafe.embeddings import EmbedReply, EmbedRequest, build_embed_request
from failsafe.encoding import refuse, shown
from failsafe.endpoint import Endpoint
from failsafe.errors import CallFailed, ConfigError, ModelNotFound
from failsafe.events import CallFinished, CallStarted, CircuitState, Event, ProbeFinished, StateChanged
from failsafe.failover import Failover
from failsafe.fallback_reply import fallback_reply
from failsafe.gate import Gate
from failsafe.health import ProviderStatus
from failsafe.hedge import hedge_budget
from failsafe.manner import PLAIN, Manner, Progress, Streamed
from failsafe.models import ChatRequest, Message, Reply
from failsafe.ordering import Ordering, Serving
from failsafe.outcome import may_fall_back
from failsafe.policy_config import HedgeConfig
from failsafe.price_lookup import LookUp
from failsafe.pricing import Rates
from failsafe.race import Hedges
from failsafe.recording import Recording, recording
from failsafe.replies import AnyReply
from failsafe.request import build_request
from failsafe.request_size import RequestSize
from failsafe.stream import LeftBehind, Passage, Stream, called_amid_our_own_code
from failsafe.telemetry.bus import EventBus, Listener
from failsafe.telemetry.reporter import Reporter
from failsafe.transport.base import Transport
from failsafe.workers import Workers

if TYPE_CHECKING:
    from os import PathLike

    from failsafe.ledger import Ledger
    from failsafe.probing import Prober
    from failsafe.spending import Spending, SpendStatus
    from failsafe.telemetry.store import Store
    from failsafe.telemetry.views import CostRow

_AS_CONFIGURED: Any = object()
_REMEMBERED_MODELS = 1024

_HEDGE_THREADS = 32
"""Most hedges of one router under way at once; those due beyond that begin late, or not at all."""

_CLOSING = 1.0
"""Seconds to wait for hedges that are being called off, and for calls whose deadline has passed."""

_LOOK_AGAIN = 0.5
"""Seconds between two looks at what the garbage collector has left behind, while the last calls are waited for."""

_router_numbers = itertools.count(1)


class Router:
    """
    Sends chat requests to the first provider that can answer, within the caller's deadline.

    Thread-safe: one router serves all threads of a process, and a forked child may go on using
    its copy. Routers share nothing with each other. Close it with :meth:`close` or ``with``.

    Args:
        config: The settings, or just the providers in the order in which to ask them.
        clock: The source of time.
        random: The source of chance.
        transport: Makes the connection to one provider; tests put a scripted one here.

    Raises:
        ConfigError: A setting is wrong.
    """

    def __init__(
        self,
        config: RouterConfig | Sequence[ProviderConfig],
        *,
        clock: Clock = SYSTEM_CLOCK,
        random: Random | None = None,
        transport: Callable[[ProviderConfig], Transport] | None = None,
    ) -> None:
        self.config = config if isinstance(config, RouterConfig) else RouterConfig(providers=config)
        self._clock = clock
        random = random or new_random()
        self.breakers = CircuitBreakerRegistry(self.config.breaker, clock=clock, random=random)
        """One breaker a provider, by the provider's name."""
        self._reporter = Reporter(EventBus())
        self._spending = _spending(self.config, clock)
        self._shared = Shared(self.config, clock, random, self._reporter, self._spending)
        self._endpoints = self._make_endpoints(transport or _over_requests())
        self._ordering = Ordering(self.config.selection, random, self._spending)
        self._hedges = _hedges(self.config.hedge)
        self._left_behind: deque[LeftBehind] = deque()  # single operations, atomic under the GIL
        self._serving: dict[str, Serving] = {}  # single operations, atomic under the GIL; values never change
        self._embedding: dict[str, Serving] = {}  # likewise
        self._vector_lengths = VectorLengths()
        self._gate = Gate()
        self._probers: dict[str, Prober] = {}  # single operations, atomic under the GIL
        self._no_probes = CancelToken()
        self._number = next(_router_numbers)
        # What is scripted or has a time of its own is a test, and would tell lies to whoever looks into the store.
        real = transport is None and clock is SYSTEM_CLOCK
        self._recording = self._record() if real or self.config.store.path else None
        self._bookkeepers = self._share_caps()
        self._ledgers: dict[str, Ledger] = {}  # single operations, atomic under the GIL
        self._calls = itertools.count(1)
        self.breakers.on_state_change(self._reporter.emit)
        self.breakers.on_state_change(self._notice_recovery)

    def _make_endpoints(self, transport: Callable[[ProviderConfig], Transport]) -> tuple[Endpoint, ...]:
        look_up_price = _price_lookup() if self.config.price_lookup else None
        return tuple(
            Endpoint(
                provider,
                rank=rank,
                admission=Admission(provider, self.config, self.breakers, self._clock),
                transport=transport(provider),
                clock=self._clock,
                random=self._shared.random,
                hedge=self.config.hedge,
                stream=self.config.stream,
                attempt_limit=self.config.attempt_limit,
                look_up_price=look_up_price,
            )
            for rank, provider in enumerate(self.config.providers)
            if provider.enabled
        )

    def _record(self) -> Recording | None:
        """Begin to record, if the settings say so."""
        return recording(self.config, self._endpoints, self._number, self._reporter, self._clock)

    def _share_caps(self) -> Workers | None:
        """Count against the caps what all programs spend that share the store; who looks it up now and then."""
        if self._spending is None or self._recording is None:
            return None
        from failsafe.shared_spending import SharedTotals  # only where there are caps

        addresses = {endpoint.name: endpoint.config.base_url for endpoint in self._endpoints}
        workers = Workers("failsafe-spend", 1)
        self._spending.read_from(SharedTotals(self._recording.store, addresses), partial(workers.later, 0.0))
        return workers

    def _notice_recovery(self, event: StateChanged) -> None:
        if event.old is CircuitState.HALF_OPEN and event.new is CircuitState.CLOSED:
            provider = event.name.partition(":")[0]  # the breaker of one model is called provider:model
            for endpoint in self._endpoints:
                if endpoint.name == provider:
                    endpoint.availability.came_back()

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """
        A router over every known provider whose key variable is set, in the catalogue's order.

        Args:
            environ: The variables; the process's own by default.

        Raises:
            ConfigError: No key was found; the message says which variables were looked for.
        """
        from failsafe import loader  # only those who load need TOML and folders

        return cls(loader.from_env(environ))

    @classmethod
    def from_file(cls, path: str | PathLike[str]) -> Self:
        """
        A router as ``failsafe.toml`` at *path* describes it (``docs/configuration.md``).

        Raises:
            ConfigError: The file cannot be read safely or holds a wrong setting.
        """
        from failsafe import loader

        return cls(loader.load_file(path))

    def chat(
        self,
        prompt: str | Sequence[Message],
        *,
        model: str,
        timeout: float | Deadline = _AS_CONFIGURED,
        cancel: CancelToken | None = None,
        extra: Mapping[str, Any] | None = None,
        **parameters: Unpack[CallParameters],
    ) -> Reply:
        """
        Ask one question and return the whole answer.

        Args:
            prompt: One user message, or a conversation in OpenAI's chat form.
            model: A model's name, an alias from the settings, or ``provider:model``.
            timeout: Seconds for the whole call, failovers and waits included; the router's
                setting (60) by default. ``Deadline.unlimited()`` waits for ever. Where a deadline is in force
                (:func:`failsafe.current_deadline`) that ends sooner, it holds.
            cancel: Ends the call from another thread.
            extra: Body fields of the provider's own, passed to every provider as they are.
            **parameters: :class:`failsafe.models.ChatParameters`, in OpenAI's names, and
                :class:`failsafe.constraints.RoutingOptions`, which say who may answer.

        Raises:
            InvalidRequest: The request is wrong; nothing, or nothing more, was sent.
            AllProvidersFailed: Nobody answered; the message lists every attempt.
            DeadlineExceeded: The time was up first.
            Cancelled: *cancel* was cancelled.
            ContentFiltered: A content policy stopped the prompt or the answer.
            ModelNotFound: No configured provider serves *model*.
            RouterClosed: The router is closed.
        """
        deadline = self._deadline(timeout)
        options, sent = split(parameters)
        return self._run(build_request(prompt, model, sent, extra), deadline, cancel, options)  # type: ignore[return-value] # a chat's

    def chat_completion(
        self,
        messages: Sequence[Message],
        *,
        model: str,
        timeout: float | Deadline = _AS_CONFIGURED,
        cancel: CancelToken | None = None,
        extra: Mapping[str, Any] | None = None,
        **parameters: Unpack[CallParameters],
    ) -> Reply:
        """Ask with a whole conversation; the same as :meth:`chat`, which also takes a plain text."""
        deadline = self._deadline(timeout)
        options, sent = split(parameters)
        return self._run(build_request(messages, model, sent, extra), deadline, cancel, options)  # type: ignore[return-value] # a chat's

    def stream(
        self,
        prompt: str | Sequence[Message],
        *,
        model: str,
        timeout: float | Deadline = _AS_CONFIGURED,
        cancel: CancelToken | None = None,
        extra: Mapping[str, Any] | None = None,
        on_interrupt: OnInterrupt = "raise",
        **parameters: Unpack[CallParameters],
    ) -> Stream:
        """
        Ask one question and return the answer piece by piece, once its first content is there.

        Whatever fails before the first content is failed over as in :meth:`chat`, and nobody notices. Streams are not
        hedged.

        Args:
            prompt: One user message, or a conversation in OpenAI's chat form.
            model: A model's name, an alias from the settings, or ``provider:model``.
            timeout: Seconds for the whole answer, its last piece included; as in :meth:`chat`.
            cancel: Ends the call from another thread.
            extra: Body fields of the provider's own, passed to every provider as they are.
            on_interrupt: What happens when the answer breaks off after that. ``raise``:
                :class:`failsafe.StreamInterrupted` has what was received. ``restart``: a chunk with the event
                ``restarted`` says to drop it, and the next provider begins again. ``continue``: the next provider is
                given it to go on with, after a chunk with the event ``continued``.
            **parameters: As in :meth:`chat`.

        Raises:
            InvalidRequest: The request is wrong; nothing, or nothing more, was sent.
            AllProvidersFailed: Nobody answered; the message lists every attempt.
            DeadlineExceeded: The time was up before the first content.
            Cancelled: *cancel* was cancelled.
            ContentFiltered: A content policy stopped the prompt.
            ModelNotFound: No configured provider serves *model*.
            RouterClosed: The router is closed.
        """
        options, sent = split(parameters)
        request = build_request(prompt, model, sent, extra)
        return self.ask_stream(request, timeout=timeout, cancel=cancel, on_interrupt=on_interrupt, options=options)

    def embed(
        self,
        texts: str | Sequence[str],
        *,
        model: str,
        dimensions: int | None = None,
        user: str | None = None,
        timeout: float | Deadline = _AS_CONFIGURED,
        cancel: CancelToken | None = None,
        extra: Mapping[str, Any] | None = None,
        **options: Unpack[RoutingOptions],
    ) -> EmbedReply:
        """
        Turn texts into vectors, by whoever serves this very model.

        Vectors of different models cannot be compared, so a different model never answers: not through an alias, and
        not under another name, unless the settings say that it gives the same vectors (``embeddings``). An answer
        whose vectors have another length than those before is refused.

        Args:
            texts: 1 to 2048 texts, or one.
            model: An embedding model, a name from the table ``embeddings`` of the settings, or ``provider:model``.
            dimensions: How many numbers each vector is to have; None: as many as the model gives.
            user: Your own id of the end user.
            timeout: Seconds for the whole call, as in :meth:`chat`.
            cancel: Ends the call from another thread.
            extra: Body fields of the provider's own, passed to every provider as they are.
            **options: :class:`failsafe.constraints.RoutingOptions`.

        Raises:
            InvalidRequest: The request is wrong, or *model* is an alias of chat models; nothing was sent.
            AllProvidersFailed: Nobody answered; the message lists every attempt.
            DeadlineExceeded: The time was up first.
            Cancelled: *cancel* was cancelled.
            ModelNotFound: No configured provider serves *model*.
            RouterClosed: The router is closed.
        """
        request = build_embed_request(texts, model, dimensions, user, extra)
        return self.ask_embed(request, timeout=timeout, cancel=cancel, options=options)

    def ask(
        self,
        request: ChatRequest,
        *,
        timeout: float | Deadline = _AS_CONFIGURED,
        cancel: CancelToken | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Reply:
        """
        As :meth:`chat`, for a request that :func:`failsafe.request.build_request` has made.

        Args:
            request: The request.
            timeout: Seconds for the whole call.
            cancel: Ends the call from another thread.
            options: Of :class:`failsafe.constraints.RoutingOptions`.
        """
        return self._run(request, self._deadline(timeout), cancel, options)  # type: ignore[return-value] # a chat's

    def ask_stream(
        self,
        request: ChatRequest,
        *,
        timeout: float | Deadline = _AS_CONFIGURED,
        cancel: CancelToken | None = None,
        on_interrupt: OnInterrupt = "raise",
        options: Mapping[str, Any] | None = None,
    ) -> Stream:
        """As :meth:`stream`, for a request that :func:`failsafe.request.build_request` has made; see :meth:`ask`."""
        if on_interrupt not in ON_INTERRUPT:
            refuse("on_interrupt", on_interrupt, f"one of {', '.join(ON_INTERRUPT)} is needed")
        deadline = self._deadline(timeout)
        request = msgspec.structs.replace(request, stream=True)
        manner, token = Streamed(deadline), (cancel or CancelToken()).child()
        try:
            call, label = self._call(request, deadline, token, options, manner, None)
            ended = partial(self._ended, call, label)
            passage = Passage(call, manner, request, on_interrupt, token, ended, self._left_behind)
            return self._open(passage, label)
        except BaseException:
            token.close()
            raise

    def ask_embed(
        self,
        request: EmbedRequest,
        *,
        timeout: float | Deadline = _AS_CONFIGURED,
        cancel: CancelToken | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> EmbedReply:
        """As :meth:`embed`, for a request that :func:`failsafe.embeddings.build_embed_request` has made."""
        manner = Embed(request, self._vector_lengths)
        reply = self._run(as_chat(request), self._deadline(timeout), cancel, options or None, manner)
        assert isinstance(reply, EmbedReply)  # noqa: S101 -- as its manner makes it
        return reply

    def _open(self, passage: Passage, label: CallLabel) -> Stream:
        """Wait for the first content; without any, for the router's last answer."""
        call = passage.call
        try:
            self._gate.enter(call)
            try:
                if self._reporter.bus.starts:
                    self._tell_start(label, passage.request.model, stream=True)
                opened = call.run()
                assert isinstance(opened, Opened)  # noqa: S101 -- a call that asks for streams is given streams
                return Stream(passage, opened)
            except BaseException as error:
                call.tell(call.abandon())
                last = None
                try:
                    last = self._last_answer(passage.request, error, call)
                finally:
                    passage.ended(last, type(error).__name__)
                if last is None:
                    raise
        except BaseException:  # the caller's own last answer may raise, too
            self._gate.leave(call)
            raise
        passage.token.close()
        return Stream(passage, last)

    def _ended(self, call: Failover, label: CallLabel, reply: Reply | None, why: str | None) -> None:
        """A stream is over: let the router close, and tell who listens."""
        if self._gate.leave(call):
            tell = self._reporter.for_successes() if why is None else self._reporter.emit
            if tell is not None:
                tell(self._finished(call, label, reply, why))

    def _tell_start(self, label: CallLabel, model: str, operation: str = "chat", *, stream: bool = False) -> None:
        started = CallStarted(
            at=self._clock.time(),
            call_id=label.id,
            asked_model=model,
            operation=operation,
            stream=stream,
            tag=label.tag,
        )
        self._reporter.bus.emit_start(started)

    def _deadline(self, timeout: float | Deadline) -> Deadline:
        if timeout is _AS_CONFIGURED:
            timeout = self.config.timeout
        own = timeout if isinstance(timeout, Deadline) else Deadline.after(timeout, self._clock)
        outer = current_deadline()
        return own if outer is None or own.left <= outer.left else outer

    def _run(
        self,
        request: ChatRequest,
        deadline: Deadline,
        cancel: CancelToken | None,
        options: Mapping[str, Any] | None,
        manner: Manner | None = None,
    ) -> AnyReply:
        if manner is None:
            manner = PLAIN
            if self.config.progress if options is None else self._wants_progress(options):
                manner, request = Progress(deadline), msgspec.structs.replace(request, stream=True)
        call, label = self._call(request, deadline, cancel, options, manner, self._hedges)
        try:
            self._gate.enter(call)
            try:
                if self._reporter.bus.starts:
                    self._tell_start(label, request.model, "embeddings" if isinstance(manner, Embed) else "chat")
                reply = call.run()
            except BaseException as error:
                last = None
                try:
                    last = None if isinstance(manner, Embed) else self._last_answer(request, error, call)
                finally:  # the caller's own last answer may raise, too
                    self._reporter.emit(self._finished(call, label, last, type(error).__name__))
                if last is None:
                    raise
                return last
            assert not isinstance(reply, Opened)  # noqa: S101 -- streams are given to those alone who ask for them
            tell = self._reporter.for_successes()
            if tell is not None:
                tell(self._finished(call, label, reply, None))
            return reply
        finally:
            self._gate.leave(call)

    def _call(
        self,
        request: ChatRequest,
        deadline: Deadline,
        cancel: CancelToken | None,
        options: Mapping[str, Any] | None,
        manner: Manner,
        hedges: Hedges | None,
    ) -> tuple[Failover, CallLabel]:
        """The call that *request* makes, and its name."""
        if self._left_behind:
            self._settle_left_behind()
        if isinstance(manner, Embed):
            serving = self._embedding.get(request.model) or self._resolve_embedding(request.model)
        else:
            serving = self._serving.get(request.model) or self._resolve(request.model)
        size = RequestSize(request, self._clock)
        constraints = self._constraints(options, serving)
        arranged = self._ordering.arrange(serving, size, constraints)
        label = CallLabel(f"call-{self._number}-{next(self._calls)}", constraints.tag if constraints else "")
        return Failover(size, arranged, deadline, cancel, label, self._shared, hedges, manner), label

    def _settle_left_behind(self) -> None:
        """Return what is still held for streams that were collected, or interrupted, where that could not be done."""
        while self._left_behind:
            held: LeftBehind | None = None
            with suppress(IndexError):  # another thread was quicker
                held = self._left_behind.popleft()
            if held is not None:
                self._settle(held)

    def _settle(self, held: LeftBehind) -> None:
        try:
            held.settle()
        except BaseException:  # interrupted
            self._left_behind.append(held)
            raise

    def _wants_progress(self, options: Mapping[str, Any]) -> bool:
        wanted = options.get("progress")
        return self.config.progress if wanted is None else wanted is True

    def _constraints(self, options: Mapping[str, Any] | None, serving: Serving) -> Constraints | None:
        if not options:
            return None
        return checked(options, [each.endpoint.config for each in serving.candidates], self.config.providers)

    def _last_answer(self, request: ChatRequest, error: BaseException, call: Failover) -> Reply | None:
        fallback = self.config.fallback
        if fallback is None or not isinstance(error, CallFailed) or not may_fall_back(error):
            return None
        return fallback_reply(fallback, request, error, call.latency_ms)

    def _finished(self, call: Failover, label: CallLabel, reply: AnyReply | None, error: str | None) -> CallFinished:
        at = self._clock.time()
        if self._recording is not None and self._recording.keeps_texts:
            self._recording.keep_texts(at, label.id, call.request, reply)
        attempts, maybe_billed = call.tally
        return CallFinished(
            at=at,
            call_id=label.id,
            asked_model=call.request.model,
            provider=reply.provider if reply else None,
            model=reply.model if reply else None,
            error=error,
            attempts=attempts,
            latency_ms=call.latency_ms,
            tag=label.tag,
            maybe_billed=maybe_billed,
        )

    def _resolve(self, model: str) -> Serving:
        """Who serves *model*, and under which ids; remembered."""
        return self._remembered(self._serving, model, self.config.targets(model))

    def _resolve_embedding(self, model: str) -> Serving:
        """Who serves the embedding model *model*; remembered."""
        if model in self.config.aliases and model not in self.config.embeddings:
            refuse(
                "model", model,
                "this is an alias of chat models, and vectors of different models cannot be compared; name an "
                "embedding model, or declare in the table embeddings which of them give the same vectors",
            )  # fmt: skip
        return self._remembered(self._embedding, model, self.config.embedding_targets(model))

    def _remembered(self, known: dict[str, Serving], model: str, routes: Iterable[Route]) -> Serving:
        ids = {route.provider.name: route.models for route in routes}
        candidates = [Candidate(endpoint, ids[endpoint.name]) for endpoint in self._endpoints if endpoint.name in ids]
        if not candidates:
            raise ModelNotFound(self._nobody_serves(model))
        serving = Serving(candidates)
        if len(known) < _REMEMBERED_MODELS:
            known[model] = serving
        return serving

    def _nobody_serves(self, model: str) -> str:
        known = [*self.config.aliases, *(name for each in self._endpoints for name in each.config.known_models)]
        close = close_names(model, known, most=3)
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        names = ", ".join(endpoint.name for endpoint in self._endpoints)
        return (
            f"no configured provider serves model {shown(model)} (configured: {names}); {hint}"
            "list it under the provider's models, or write an alias for it"
        )

    def on_event(self, listener: Listener, *, sync: bool = False, starts: bool = False) -> Callable[[], None]:
        """
        Call *listener* with every event of this router from now on.

        Args:
            listener: Called with one :mod:`failsafe.events` value. It runs on the router's own
                thread, off a bounded queue; what it raises is logged and reaches no call.
            sync: Run it in the thread of the call instead; its time then counts as the caller's.
            starts: Call it with :class:`failsafe.CallStarted`, too.

        Returns:
            A function that ends the subscription.
        """
        return self._reporter.bus.subscribe(listener, sync=sync, starts=starts)

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called: every further call is refused."""
        return self._gate.closed

    @property
    def dropped_events(self) -> int:
        """Events that no listener saw, because the listeners could not keep up or the router was closed."""
        return self._reporter.bus.dropped

    @property
    def store(self) -> Store | None:
        """Where what happens is recorded; None: nothing is."""
        return None if self._recording is None else self._recording.store

    @property
    def ledger(self) -> Ledger:
        """
        What this router's calls cost, in memory; it counts from the moment in which it is first asked for.

        What all programs have spent, since they record, is in the store: see :meth:`costs`.
        """
        ledger = self._ledgers.get("")
        return self._begin_ledger() if ledger is None else ledger

    def _begin_ledger(self) -> Ledger:
        from failsafe.ledger import Ledger  # most routers have none

        made = Ledger(self._rates)
        ledger = self._ledgers.setdefault("", made)
        if ledger is made:
            self._reporter.bus.subscribe(ledger.take, sync=True)
        return ledger

    def _rates(self, provider: str, model: str, at: float, prompt_tokens: int) -> Rates | None:
        return next((each.rates(model, at, prompt_tokens) for each in self._endpoints if each.name == provider), None)

    def costs(self, window: float | None = None, by: Sequence[str] = ("provider",)) -> list[CostRow]:
        """
        What was spent, the most expensive first.

        Out of the store, with what every program that shares it has recorded; of a router that records nothing, out of
        its :attr:`ledger`.

        Args:
            window: Seconds up to now; whole days of UTC are counted, that in which it begins included. None: all.
            by: What the rows are grouped by: of ``day``, ``provider``, ``model`` and ``tag``. None of them: one row.

        Raises:
            ConfigError: There is no such group, or *window* is not above 0.
            StoreUnavailable: The store cannot be read.
        """
        from failsafe.ledger import days_of, grouped_by

        first, last = days_of(window, self._clock.time())
        grouped_by(by)
        if self._recording is None:
            return self.ledger.rows(by, first_day=first, last_day=last)
        store = self._recording.store
        store.flush()
        with store.reader() as reader:
            return reader.costs(first, last, by)

    def spend(self) -> tuple[SpendStatus, ...]:
        """How much of each cap (``spend`` in the settings) is used up, all providers together first; () without any."""
        return () if self._spending is None else self._spending.status()

    @property
    def providers(self) -> tuple[str, ...]:
        """The names of the enabled providers, in the order of the settings."""
        return tuple(endpoint.name for endpoint in self._endpoints)

    def status(self) -> dict[str, ProviderStatus]:
        """How each provider is doing, by name."""
        self._settle_left_behind()
        return {endpoint.name: endpoint.status() for endpoint in self._endpoints}

    def stats(self) -> dict[str, dict[str, Any]]:
        """Counts, latency, breaker and cooldowns of each provider, by name (``docs/router.md`` lists the keys)."""
        self._settle_left_behind()
        return {endpoint.name: endpoint.stats() for endpoint in self._endpoints}

    def probe(
        self,
        provider: str,
        kind: str | None = None,
        timeout: float | None = None,
        *,
        cancel: CancelToken | None = None,
    ) -> ProbeFinished:
        """
        Find out whether *provider* works, now and without a call; listeners and the store hear of it, too.

        Args:
            provider: Its name.
            kind: ``models`` (the free list of models), ``completion`` (one token of an answer) or ``connect``; None:
                as configured, see :class:`failsafe.ProbeConfig`.
            timeout: Seconds, whatever the network does; None: as configured.
            cancel: Ends it from another thread.

        Raises:
            ConfigError: There is no such provider, or it cannot be probed like this.
            BulkheadFull: As many calls are under way to it as it may have, so that no completion was asked.
            RateLimitReached: A rate limit, or the provider itself, allows no completion now.
            RouterClosed: The router is closed.
        """
        probed = self._probe(provider, kind, timeout, cancel)
        self._report(probed)
        return probed

    def _probe(
        self, provider: str, kind: str | None, timeout: float | None, cancel: CancelToken | None
    ) -> ProbeFinished:
        """As :meth:`probe`, and tell nobody."""
        prober = self._prober(provider)
        visit = object()
        with (cancel or self._no_probes).child() as token:
            forget = self._no_probes.on_cancel(token.cancel)
            try:
                self._gate.enter(visit)
                return prober.probe(kind, timeout, token)
            finally:
                self._gate.leave(visit)
                forget()

    def _prober(self, provider: str) -> Prober:
        """What probes *provider*; raises ``ConfigError`` if there is none of that name."""
        prober = self._probers.get(provider)
        if prober is None:
            from failsafe.probing import Prober  # most routers never probe

            (endpoint,) = self._named(provider)
            prober = self._probers.setdefault(provider, Prober(endpoint, self.config, self._clock))
        return prober

    def _report(self, event: Event) -> None:
        """Tell the log, the store and the listeners."""
        if isinstance(event, ProbeFinished) and event.fault is None:
            tell = self._reporter.for_successes()
        else:
            tell = self._reporter.emit
        if tell is not None:
            tell(event)

    def reset(self, provider: str | None = None) -> None:
        """
        Forget what was learnt against *provider* (or all).

        That is its breaker's state, every cooldown, rejected keys, parameters it refused, and what is
        missing from its retry budget; for all of them also the length of each model's vectors.

        Raises:
            ConfigError: There is no such provider.
        """
        for endpoint in self._named(provider):
            endpoint.reset()
        if provider is None:
            self._vector_lengths.clear()

    def drain(self, provider: str) -> None:
        """
        Send *provider* no new calls until :meth:`resume`; those under way go on.

        Raises:
            ConfigError: There is no such provider.
        """
        for endpoint in self._named(provider):
            endpoint.availability.drain()

    def resume(self, provider: str) -> None:
        """
        End :meth:`drain`: *provider* takes calls again, its share growing over ``selection.slow_start`` seconds.

        Raises:
            ConfigError: There is no such provider.
        """
        for endpoint in self._named(provider):
            endpoint.availability.resume()

    def _named(self, provider: str | None) -> list[Endpoint]:
        chosen = [endpoint for endpoint in self._endpoints if provider in (None, endpoint.name)]
        if not chosen:
            raise ConfigError(f"provider = {provider!r}: one of {', '.join(self.providers)} is needed")
        return chosen

    def close(self, timeout: float | None = None) -> bool:
        """
        Refuse new calls, wait for those under way, then close every connection. Idempotent.

        A call of the same thread (closing from a signal handler, or from a ``sync`` listener) is not
        waited for, nor is a stream that this thread has opened, or one that was dropped.

        Args:
            timeout: Seconds to wait; None waits for the last call, which its own deadline bounds; a stream that nobody
                reads is waited for until its deadline.

        Returns:
            True when all calls had ended.
        """
        # What is closed by a signal handler may be in the middle of a step that holds a lock.
        forget = self._let_left_behind_go if called_amid_our_own_code() else self._settle_left_behind
        forget()
        self._no_probes.cancel()
        with ExitStack() as stack:  # one connection that fails to close keeps no other open
            if self._recording is not None:
                stack.callback(self._recording.close)
            stack.callback(self._reporter.bus.close)
            if self._hedges is not None:
                stack.callback(self._hedges.workers.close, _CLOSING)
            if self._bookkeepers is not None:
                stack.callback(self._bookkeepers.close, _CLOSING)
            for endpoint in self._endpoints:
                stack.callback(endpoint.transport.close)
            return self._wait_for_all(self._until_the_last_deadline() if timeout is None else timeout, forget)

    def _wait_for_all(self, left: float, forget: Callable[[], None]) -> bool:
        """Let nobody in any more, and wait for the others; what is left behind meanwhile is not waited for."""
        while not self._gate.close(min(left, _LOOK_AGAIN)):
            forget()
            if left <= _LOOK_AGAIN:
                return self._gate.close(0)
            left -= _LOOK_AGAIN
        return True

    def _let_left_behind_go(self) -> None:
        """Count those calls out, which takes no lock that this thread may hold; all else is left as it is."""
        for held in list(self._left_behind):
            self._gate.leave(held.passage.call)

    def _until_the_last_deadline(self) -> float:
        """Seconds until every call under way must have ended; infinite if one has no deadline."""
        return max((call.time_left for call in self._gate.calls if isinstance(call, Failover)), default=0.0) + _CLOSING

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the configuration: what was learnt stays behind, keys travel by the name of their place."""
        return type(self), (self.config,)

    def __repr__(self) -> str:
        if not hasattr(self, "_endpoints"):  # refused; a debugger or a report with local variables may still show it
            return "<Router, refused>"
        states = ", ".join(f"{name} {status}" for name, status in self.status().items())
        return f"<Router [{states}]>"


def _over_requests() -> Callable[[ProviderConfig], Transport]:
    from failsafe.transport.requests_transport import RequestsTransport  # what imports requests waits for a router

    return RequestsTransport.for_provider


def _price_lookup() -> LookUp:
    from failsafe.price_lookup import genai_prices  # only those who ask for it

    return genai_prices()


def _spending(config: RouterConfig, clock: Clock) -> Spending | None:
    if config.spend is None and not any(provider.spend for provider in config.providers):
        return None
    from failsafe.spending import Spending  # only where there are caps

    return Spending.of(config, clock)


def _hedges(config: HedgeConfig | None) -> Hedges | None:
    return None if config is None else Hedges(config, hedge_budget(config), Workers("failsafe-hedge", _HEDGE_THREADS))
