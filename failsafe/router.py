"""Sends each chat request to the best provider that works right now."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Self, Unpack

import msgspec

from failsafe.attempts import CallLabel, Opened
from failsafe.checks import did_you_mean
from failsafe.chunks import ON_INTERRUPT, OnInterrupt
from failsafe.clock import SYSTEM_CLOCK, Clock, Random, new_random
from failsafe.config import ProviderConfig, Route, RouterConfig
from failsafe.constraints import CallParameters, Constraints, RoutingOptions, checked, split
from failsafe.course import Candidate
from failsafe.deadline import CancelToken, Deadline, current_deadline
from failsafe.embedding import Embed, as_chat
from failsafe.embeddings import EmbedReply, EmbedRequest, build_embed_request
from failsafe.encoding import refuse, shown
from failsafe.errors import CallFailed, ModelNotFound
from failsafe.events import CallFinished, CallStarted
from failsafe.failover import Failover
from failsafe.fallback_reply import fallback_reply
from failsafe.manner import PLAIN, Manner, Progress, Streamed
from failsafe.models import ChatRequest, Message, Reply
from failsafe.operations import Operations
from failsafe.ordering import Ordering, Serving
from failsafe.outcome import may_fall_back
from failsafe.race import Hedges
from failsafe.replies import AnyReply
from failsafe.request import build_request
from failsafe.request_size import RequestSize
from failsafe.stream import Passage, Stream
from failsafe.telemetry.bus import EventBus
from failsafe.transport.base import Transport

if TYPE_CHECKING:
    from os import PathLike

_AS_CONFIGURED: Any = object()
_REMEMBERED_MODELS = 1024


class Router(Operations):
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
        config = config if isinstance(config, RouterConfig) else RouterConfig(providers=config)
        random = random or new_random()
        super().__init__(config, clock, random, transport, EventBus())
        self._ordering = Ordering(config.selection, random, self._spending)
        self._serving: dict[str, Serving] = {}  # single operations, atomic under the GIL; values never change
        self._embedding: dict[str, Serving] = {}  # likewise
        self._calls = itertools.count(1)

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
        names = ", ".join(endpoint.name for endpoint in self._endpoints)
        return (
            f"no configured provider serves model {shown(model)} (configured: {names}); "
            f"{did_you_mean(model, known)}list it under the provider's models, or write an alias for it"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the configuration: what was learnt stays behind, keys travel by the name of their place."""
        return type(self), (self.config,)

    def __repr__(self) -> str:
        if not hasattr(self, "_endpoints"):  # refused; a debugger or a report with local variables may still show it
            return "<Router, refused>"
        states = ", ".join(f"{name} {status}" for name, status in self.status().items())
        return f"<Router [{states}]>"
