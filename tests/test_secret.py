"""Keys that show themselves to nobody but the code that sends them."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import sys
import traceback
from types import ModuleType

import msgspec
import pytest

from failsafe.errors import ConfigError
from failsafe.secret import Secret, resolve

KEY = "sk-marked-4711-do-not-show"


def shown_forms(secret: Secret) -> list[str]:
    return [repr(secret), str(secret), f"{secret}", f"{secret:>40}", f"{secret!r}", "%s" % secret, ascii(secret)]  # noqa: UP031


@pytest.mark.parametrize("source", [None, "env:OPENAI_API_KEY"])
def test_no_way_of_showing_a_secret_shows_the_key(source: str | None) -> None:
    assert [form for form in shown_forms(Secret(KEY, source)) if KEY in form or "4711" in form] == []


def test_containers_log_records_and_tracebacks_do_not_show_the_key(caplog: pytest.LogCaptureFixture) -> None:
    secret = Secret(KEY)
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("test").debug("using %s of %r", secret, {"keys": [secret]})
    with pytest.raises(ValueError, match="<Secret ") as caught:
        int(f"not a number: {[secret]}")
    text = "".join(traceback.format_exception(caught.value, chain=True))
    assert KEY not in caplog.text + text


def test_the_fingerprint_is_stable_short_and_tells_keys_apart() -> None:
    assert Secret(KEY).fingerprint == Secret(KEY, "env:X").fingerprint
    assert Secret(KEY).fingerprint != Secret(KEY + "x").fingerprint
    assert len(Secret(KEY).fingerprint) == 8


def test_equality_and_hash_go_by_the_key() -> None:
    assert Secret(KEY) == Secret(KEY, "env:X")
    assert hash(Secret(KEY)) == hash(Secret(KEY, "env:X"))
    assert Secret(KEY) != Secret("another")
    assert Secret(KEY) != KEY
    assert len({Secret(KEY), Secret(KEY), Secret("another")}) == 2


def test_keys_with_lone_surrogates_can_be_compared_and_fingerprinted() -> None:
    assert Secret("a\udc80") == Secret("a\udc80")
    assert Secret("a\udc80").fingerprint != Secret("a\udc81").fingerprint


@pytest.mark.parametrize("name", ["_value", "source", "fingerprint", "other"])
def test_a_secret_does_not_change(name: str) -> None:
    secret = Secret(KEY)
    with pytest.raises(AttributeError, match=name):
        setattr(secret, name, "x")
    with pytest.raises(AttributeError, match=name):
        delattr(secret, name)
    assert secret.reveal() == KEY


def test_copies_are_the_secret_itself() -> None:
    secret = Secret(KEY)
    assert copy.copy(secret) is secret
    assert copy.deepcopy([secret])[0] is secret


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_key_given_by_value_is_not_pickled(protocol: int) -> None:
    with pytest.raises(TypeError, match="env:NAME") as caught:
        pickle.dumps(Secret(KEY), protocol)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_reference_travels_as_its_name_and_is_looked_up_on_arrival(
    protocol: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARKED_API_KEY", KEY)
    data = pickle.dumps(resolve("env:MARKED_API_KEY"), protocol)
    assert KEY.encode() not in data
    monkeypatch.setenv("MARKED_API_KEY", "the other machine's")
    assert pickle.loads(data).reveal() == "the other machine's"


def test_neither_state_nor_attributes_nor_encoders_hand_the_key_out() -> None:
    secret = Secret(KEY)
    with pytest.raises(TypeError):
        secret.__getstate__()
    with pytest.raises(TypeError):
        vars(secret)
    for encode in (json.dumps, msgspec.json.encode, msgspec.to_builtins):
        with pytest.raises(TypeError) as caught:
            encode(secret)
        assert KEY not in str(caught.value)


@pytest.mark.parametrize("value", [b"sk-marked-4711", None, 4711])
def test_what_is_not_a_text_is_refused_without_being_shown(value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        Secret(value)  # type: ignore[arg-type]
    assert "4711" not in str(caught.value)


def test_an_environment_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MARKED_API_KEY", raising=False)
    with pytest.raises(ConfigError, match=r"api_key = 'env:MARKED_API_KEY': .* is not set"):
        resolve("env:MARKED_API_KEY")
    monkeypatch.setenv("MARKED_API_KEY", "")
    with pytest.raises(ConfigError, match=r"providers\.x\.api_key .* is empty"):
        resolve("env:MARKED_API_KEY", setting="providers.x.api_key")


def test_anything_else_is_the_key_itself() -> None:
    secret = resolve(KEY)
    assert secret.reveal() == KEY
    assert secret.source is None


def keyring_that(monkeypatch: pytest.MonkeyPatch, answer: object) -> None:
    """Put a keyring in place whose ``get_password`` returns or raises *answer*."""

    def get_password(service: str, name: str) -> object:
        assert (service, name) == ("failsafe", "openai")
        if isinstance(answer, Exception):
            raise answer
        return answer

    module = ModuleType("keyring")
    module.get_password = get_password  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keyring", module)


def test_a_key_comes_from_the_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    keyring_that(monkeypatch, KEY)
    secret = resolve("keyring:openai")
    assert secret.reveal() == KEY
    assert secret.source == "keyring:openai"


def test_a_missing_entry_says_how_to_make_one(monkeypatch: pytest.MonkeyPatch) -> None:
    keyring_that(monkeypatch, None)
    with pytest.raises(ConfigError, match="keyring set failsafe openai"):
        resolve("keyring:openai")


def test_a_keyring_that_breaks_is_reported_without_its_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    keyring_that(monkeypatch, RuntimeError(f"locked: {KEY}"))
    with pytest.raises(ConfigError, match=r"cannot be read \(RuntimeError\)") as caught:
        resolve("keyring:openai")
    assert KEY not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_without_the_keyring_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(ConfigError, match=r"failsafe-llm\[keyring\]"):
        resolve("keyring:openai")
