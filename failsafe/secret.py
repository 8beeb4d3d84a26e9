"""API keys that cannot leak by accident."""

from __future__ import annotations

import hashlib
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

    def __init__(self, value: str, source: str | None = None) -> None:
        self._value = value
        self.source = source
        self.fingerprint = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        """Eight hex digits that tell two keys apart and give neither away."""

    def reveal(self) -> str:
        """The key itself; only the code that builds the header may call this."""
        return self._value

    def __repr__(self) -> str:
        where = f" from {self.source}" if self.source else ""
        return f"<Secret {self.fingerprint}{where}>"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

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

    def _refuse_to_pickle(self) -> NoReturn:
        raise TypeError(
            f"{self!r} was given by value and is not pickled; configure it as 'env:NAME' or 'keyring:NAME', "
            "so that the other process can look it up itself"
        )


def resolve(reference: str) -> Secret:
    """
    Turn a configured key into a :class:`Secret`.

    Args:
        reference: ``"env:NAME"`` (an environment variable), ``"keyring:NAME"`` (the system's
            keyring, service ``failsafe``), or the key itself.

    Raises:
        ConfigError: The variable is not set, the keyring has no such entry, or the ``keyring``
            extra is not installed.
    """
    place, _, name = reference.partition(":")
    if place == "env":
        return Secret(_from_environment(name), source=reference)
    if place == "keyring":
        return Secret(_from_keyring(name), source=reference)
    return Secret(reference)


def _from_environment(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise ConfigError(
            f"api_key = 'env:{name}': the environment variable {name} is not set; export it, or name another"
        )
    return value


def _from_keyring(name: str) -> str:
    try:
        import keyring
    except ImportError:
        raise ConfigError(
            f"api_key = 'keyring:{name}': the keyring package is not installed; pip install 'failsafe-llm[keyring]'"
        ) from None
    value = keyring.get_password("failsafe", name)
    if not value:
        raise ConfigError(
            f"api_key = 'keyring:{name}': the system's keyring has no such entry; run `keyring set failsafe {name}`"
        )
    return str(value)
