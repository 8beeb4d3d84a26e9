"""A provider's key reaches that provider and nothing else, whatever happens."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from failsafe.config import ProviderConfig, RouterConfig
from failsafe.errors import AllProvidersFailed, ConfigError, FailsafeError
from failsafe.events import Event
from failsafe.faults import Fault
from failsafe.policy_config import RetryConfig
from failsafe.router import Router
from failsafe.sim import BEHAVIOURS, Behaviour, Error, FakeCloud, FakeProvider, Redirect, Verbatim
from failsafe.transport import connections
from tests.acceptance import leaks
from tests.acceptance.routers import PATIENCE, VENDORS, config, in_background

MARK = "Zq9Wm4Kx"
KEYS = {
    "openai": f"sk-proj-{MARK}openai7f3a9c52e1d84b60",
    "anthropic": f"sk-ant-api03-{MARK}anthropic7f3a9c52e1d8",
    "gemini": f"AIzaSy{MARK}gemini7f3a9c52e1d84b60ab",
}
PLAIN = [name for name in BEHAVIOURS if not name.startswith("stream-")]

pytestmark = pytest.mark.usefixtures("expect_logs")


class Findings:
    """Everything that a router says and leaves behind while it is used."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.events: list[Event] = []
        self.errors: list[FailsafeError] = []
        self.values: list[Any] = []
        self.texts: list[tuple[str, str]] = []
        self._caplog = caplog
        caplog.set_level(logging.DEBUG)

    def use(self, router: Router) -> None:
        """Make a call and keep what comes of it."""
        router.on_event(self.events.append, sync=True)
        try:
            reply = router.chat("hello", model="fast", timeout=5)
        except FailsafeError as error:
            self.errors.append(error)
            self.values += getattr(error, "attempts", ())
            self.values += getattr(error, "skipped", ())
        else:
            self.values += [reply, *reply.attempts, *reply.skipped]
        for name, thing in (("router", router), ("config", router.config), ("stats", router.stats())):
            self.texts += [(f"repr of the {name}", repr(thing)), (f"str of the {name}", str(thing))]
        self.texts += [("a breaker", repr(stats)) for stats in router.breakers.stats().values()]
        self.texts += [("a status", repr(router.status()))]

    def all_texts(self) -> Iterator[tuple[str, str]]:
        yield from self.texts
        for error in self.errors:
            yield from leaks.texts_of(error)
        for value in (*self.values, *self.events):
            yield from leaks.texts_in(value)
        for record in self._caplog.records:
            yield f"a log record of {record.name}", f"{record.getMessage()} {vars(record)!r}"
        yield "the log", self._caplog.text

    def leaks(self) -> list[str]:
        """Where a marked key shows."""
        return sorted({where for where, text in self.all_texts() if MARK in text})


@contextmanager
def marked_cloud() -> Iterator[FakeCloud]:
    with FakeCloud([FakeProvider(vendor, key=KEYS[vendor]) for vendor in VENDORS]) as cloud:
        yield cloud


def settings(cloud: FakeCloud, name: str) -> RouterConfig:
    """Three providers whose attempts are short; over TLS where the fault is one of TLS."""
    of: dict[str, dict[str, Any]] = {vendor: {"timeout": 0.06} for vendor in VENDORS}
    if name.startswith("tls-"):
        of = {vendor: {"timeout": 0.06, "base_url": cloud[vendor].https_base_url} for vendor in VENDORS}
    return config(cloud, of=of, retry=RetryConfig(max_retries=0))


def wrongly_delivered(cloud: FakeCloud, trap: FakeProvider) -> list[str]:
    """Which key reached whom besides its own provider."""
    return [
        f"the key of {vendor} reached {provider.name}"
        for vendor in VENDORS
        for provider in (*cloud, trap)
        if provider.name != vendor and KEYS[vendor].encode() in provider.bytes_received
    ]


def foreign_exceptions(errors: Sequence[BaseException]) -> set[str]:
    """What *errors* hold that is not failsafe's own: such exceptions carry the request, and so the key."""
    held = {f"{place}: {value!r}" for error in errors for place, value in leaks.held_in(error) if is_foreign(value)}
    return held | {repr(each) for error in errors for each in leaks.chain(error) if is_foreign(each)}


def is_foreign(value: object) -> bool:
    return isinstance(value, BaseException) and not type(value).__module__.startswith("failsafe.")


def revealing_variables(errors: Sequence[BaseException]) -> set[str]:
    """Local variables, kept alive by the tracebacks of *errors*, that show a key."""
    return {place for error in errors for place, value in leaks.held_in(error) if MARK in repr(value)}


@pytest.mark.parametrize("sick", [VENDORS, ("openai",)], ids=["all sick", "the first sick"])
def test_no_fault_lets_a_key_out(trap: FakeProvider, caplog: pytest.LogCaptureFixture, sick: tuple[str, ...]) -> None:
    found = Findings(caplog)
    with marked_cloud() as cloud:
        for name in PLAIN:
            behaviour = BEHAVIOURS[name]
            if name == "redirect":
                behaviour = Behaviour(Redirect(location=f"{trap.base_url}/chat/completions"))
            for vendor in sick:
                cloud[vendor].behave(behaviour)
            with Router(settings(cloud, name)) as router:
                found.use(router)
        assert wrongly_delivered(cloud, trap) == []
        assert all(KEYS[vendor].encode() in cloud[vendor].bytes_received for vendor in sick), "the mark is no mark"
    assert trap.connections == 0
    assert len(found.values) > len(PLAIN)
    assert len(found.errors) > len(PLAIN) / 2 or len(sick) == 1
    assert found.leaks() == []
    assert foreign_exceptions(found.errors) == set()
    assert revealing_variables(found.errors) == set()


ECHOES = {
    "the key": "{key}",
    "its beginning": "{key:.24}",
    "its end": "...{end}",
    "a header": "Authorization: Bearer {key} was rejected",
    "in quotes": "'{key}'",
    "percent-encoded, in an address": "https://host.example/?key={key}&x=1",
    "on two lines": "bad\n{key}\nkey",
}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 429, 500, 529])
def test_a_provider_that_echoes_the_key_in_any_error_is_masked(
    trap: FakeProvider, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    found = Findings(caplog)
    with marked_cloud() as cloud:
        for echo in ECHOES.values():
            for vendor in VENDORS:
                key = KEYS[vendor]
                said = echo.format(key=key, end=key[-16:])
                headers = (("x-request-id", key), ("request-id", key), ("retry-after", key), ("location", key))
                cloud[vendor].behave(Behaviour(Error(status=status, message=said, code=key, headers=headers)))
            with Router(settings(cloud, "echo")) as router:
                found.use(router)
        assert wrongly_delivered(cloud, trap) == []
    assert found.errors
    assert found.leaks() == []
    shown = " ".join(text for _, text in found.all_texts())
    assert not [vendor for vendor, key in KEYS.items() if key[-16:] in shown or key[:24] in shown]


@pytest.mark.parametrize("body", ["{key}", "<html>{key}</html>", '{{"error": "{key}"}}', '{{"{key}": 1}}', '["{key}"]'])
def test_a_success_that_echoes_the_key_instead_of_answering_is_masked(
    caplog: pytest.LogCaptureFixture, body: str
) -> None:
    found = Findings(caplog)
    with marked_cloud() as cloud:
        for vendor in VENDORS:
            said = Verbatim(body=body.format(key=KEYS[vendor]).encode(), headers=(("x-request-id", KEYS[vendor]),))
            cloud[vendor].behave(Behaviour(said))
        with Router(settings(cloud, "echo")) as router:
            found.use(router)
    assert isinstance(found.errors[0], AllProvidersFailed)
    assert found.leaks() == []


@pytest.mark.parametrize(
    "key", [f"{KEYS['openai']}\n", f" {KEYS['openai']}", f"Bearer {KEYS['openai']}", f"{MARK}\x00ü"]
)
def test_a_key_that_is_refused_is_not_shown(cloud: FakeCloud, key: str) -> None:
    with pytest.raises(ConfigError) as raised:
        ProviderConfig(name="openai", base_url=cloud["openai"].base_url, api_key=key)
    # Local variables are another matter: the arguments of the call itself are among them.
    assert [where for where, text in leaks.texts_of(raised.value) if MARK in text and "locals" not in where] == []


@pytest.mark.parametrize(("name", "megabytes"), [("hang", 0), ("drip-body", 0), ("never-read", 10)])
def test_an_interrupted_call_leaves_no_key_in_the_traceback(
    monkeypatch: pytest.MonkeyPatch, name: str, megabytes: int
) -> None:
    sending, send = threading.Event(), connections.DeadlineConnection._flush

    def flush(connection: Any, parts: list[bytes]) -> None:
        sending.set()
        send(connection, parts)

    monkeypatch.setattr(connections.DeadlineConnection, "_flush", flush)
    with marked_cloud() as cloud, Router(config(cloud, "openai")) as router:
        openai = cloud["openai"]
        openai.behave(BEHAVIOURS[name])

        def interrupt() -> None:
            begun = sending.wait(PATIENCE) if megabytes else openai.wait_for_requests(1)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            assert begun

        with in_background(interrupt) as interrupting, pytest.raises(KeyboardInterrupt) as raised:
            router.chat("hello" + "x" * megabytes * 1_000_000, model="fast", timeout=30)
        assert interrupting.exception() is None
    assert revealing_variables([raised.value]) == set()
    assert foreign_exceptions([error for error in leaks.chain(raised.value) if error is not raised.value]) == set()


def test_a_config_that_was_refused_can_still_be_shown(cloud: FakeCloud) -> None:
    with pytest.raises(ConfigError) as raised:
        ProviderConfig(name="openai", base_url=cloud["openai"].base_url, api_key=f"{KEYS['openai']}\n", preset="none")
    shown = [repr(value) for place, value in leaks.held_in(raised.value) if isinstance(value, ProviderConfig)]
    assert set(shown) == {"<ProviderConfig, refused>"}


def test_two_keys_of_one_provider_both_stay_in(caplog: pytest.LogCaptureFixture) -> None:
    found, keys = Findings(caplog), [KEYS["openai"], f"sk-proj-{MARK}second2b71c"]
    with FakeCloud([FakeProvider("openai", key=keys)]) as cloud:
        provider = cloud["openai"]
        provider.behave(Behaviour(Error(fault=Fault.AUTH, echo_key=True)))
        one = config(cloud, of={"openai": {"api_key": keys}}, retry=RetryConfig(max_retries=0))
        with Router(one) as router:
            found.use(router)
        assert all(key.encode() in provider.bytes_received for key in keys)
    assert [value.fault for value in found.values] == [Fault.AUTH, Fault.AUTH]
    assert found.leaks() == []
