"""API keys that cannot leak by accident."""

from __future__ import annotations

import hashlib
import hmac
import os
from typing import Any, NoReturn

from failsafe.errors import ConfigError


class Secret:
    """
    An API key that shows itself only to :meth:`reveal`.

    ``repr``, ``str``, formatting, comparison and hashing never give the value away; pickling a
    key that was given by value is refused, and one that came from the environment or the
    keyring travels as the name of that place and is looked up again on arrival. Immutable and
    thread-safe.

    Args:
        value: The key itself.
        source: Where it came from (``"env:OPENAI_API_KEY"``), or None when given by value.
    """

    __slots__ = ("_value", "fingerprint", "source")

    _value: str
    source: str | None
    fingerprint: str
    """Eight hex digits that tell two keys apart and give neither away."""

    def __init__(self, value: str, source: str | None = None) -> None:
        if not isinstance(value, str):
            raise ConfigError(f"an API key must be a text, not {type(value).__name__}")
        put = object.__setattr__
        put(self, "_value", value)
        put(self, "source", source)
        put(self, "fingerprint", hashlib.sha256(_encoded(value)).hexdigest()[:8])

    def reveal(self) -> str:
        """The key itself; only the code that checks its shape or builds the header may call this."""
        return self._value

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a Secret does not change; {name} cannot be set")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a Secret does not change; {name} cannot be deleted")

    def __repr__(self) -> str:
        where = f" from {self.source}" if self.source else ""
        return f"<Secret {self.fingerprint}{where}>"

    __str__ = __repr__

    def __format__(self, specification: str) -> str:
        return format(repr(self), specification)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(_encoded(self.reveal()), _encoded(other.reveal()))

    def __hash__(self) -> int:
        return hash((Secret, self.fingerprint))

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the place it came from, never as the value."""
        if self.source is None:
            self._refuse_to_pickle()
        return resolve, (self.source,)

    def __getstate__(self) -> NoReturn:
        """Refuse the state that ``object`` would hand out, which holds the value."""
        raise TypeError(f"the state of {self!r} is not handed out")

    def _refuse_to_pickle(self) -> NoReturn:
        raise TypeError(
            f"{self!r} was given by value and is not pickled; configure it as 'env:NAME' or 'keyring:NAME', "
            "so that the other process can look it up itself"
        )


def _encoded(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")  # a broken environment may hold lone surrogates


def resolve(reference: str, setting: str = "api_key") -> Secret:
    """
    Turn a configured key into a :class:`Secret`.

    Args:
        reference: ``"env:NAME"`` (an environment variable), ``"keyring:NAME"`` (the system's
            keyring, service ``failsafe``), or the key itself.
        setting: What to call the setting in an error.

    Raises:
        ConfigError: The variable is not set, the keyring has no such entry or cannot be read, or the
            ``keyring`` extra is not installed.
    """
    place, _, name = reference.partition(":")
    if place == "env":
        return Secret(_from_environment(name, setting), source=reference)
    if place == "keyring":
        return Secret(_from_keyring(name, setting), source=reference)
    return Secret(reference)


def _from_environment(name: str, setting: str) -> str:
    if not name:
        raise ConfigError(f"{setting} = 'env:': the name of an environment variable is needed after it")
    value = os.environ.get(name)
    if not value:
        state = "is empty" if value == "" else "is not set"
        raise ConfigError(
            f"{setting} = 'env:{name}': the environment variable {name} {state}; export it, or name another"
        )
    return value


def _from_keyring(name: str, setting: str) -> str:
    said = f"{setting} = 'keyring:{name}'"
    try:
        import keyring
    except ImportError:
        raise ConfigError(
            f"{said}: the keyring package is not installed; pip install 'failsafe-llm[keyring]'"
        ) from None
    value, problem = None, ""
    try:
        value = keyring.get_password("failsafe", name)
    except Exception as error:  # noqa: BLE001  # a backend is a plug-in and may raise anything
        problem = type(error).__name__
    if problem:
        raise ConfigError(f"{said}: the system's keyring cannot be read ({problem}); unlock it, or use env:NAME")
    if not value:
        raise ConfigError(f"{said}: the system's keyring has no such entry; run `keyring set failsafe {name}`")
    return str(value)
