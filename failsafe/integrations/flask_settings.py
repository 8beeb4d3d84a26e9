"""What a Flask app's configuration says about failsafe."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from failsafe import checks, loader
from failsafe.config import RouterConfig
from failsafe.errors import ConfigError
from failsafe.router import Router

_SOURCES = ("FAILSAFE_CONFIG", "FAILSAFE_FROM_ENV", "FAILSAFE_ROUTER")
_HELP = (
    "FAILSAFE_CONFIG (the path of a failsafe.toml, a RouterConfig, or a table as such a file has it), "
    "FAILSAFE_FROM_ENV = True (providers whose keys are in the environment), or FAILSAFE_ROUTER (a Router of your own)"
)
_DAY = 86_400.0


@dataclass(frozen=True, kw_only=True, slots=True)
class FlaskSettings:
    """
    The settings of one app, from its ``app.config``.

    Attributes:
        router: A ready router of the user's, who closes it; or the settings to make one of.
        url_prefix: What the paths of the views begin with, "" or such as ``/_failsafe``.
        metrics: Whether ``/metrics`` is served.
        status: Whether ``/status`` is served.
        request_timeout: Seconds for all calls of one request together. None: the router's ``timeout``.
        timeout_header: The header in which a request may ask for less. None: none.

    Raises:
        ConfigError: A setting is missing or wrong; the message begins with its name.
    """

    router: Router | RouterConfig
    url_prefix: str = ""
    metrics: bool = False
    status: bool = False
    request_timeout: float | None = None
    timeout_header: str | None = "X-Request-Timeout"

    def __post_init__(self) -> None:
        prefix = checks.text("FAILSAFE_URL_PREFIX", self.url_prefix, empty=True)
        if prefix and (not prefix.startswith("/") or prefix.endswith("/")):
            checks.refuse("FAILSAFE_URL_PREFIX", prefix, "a path such as '/_failsafe', or '', is needed")
        checks.flag("FAILSAFE_METRICS", self.metrics)
        checks.flag("FAILSAFE_STATUS", self.status)
        if self.request_timeout is not None:
            checks.number("FAILSAFE_REQUEST_TIMEOUT", self.request_timeout, above=0, most=_DAY)
        if self.timeout_header is not None:
            checks.header_name("FAILSAFE_TIMEOUT_HEADER", self.timeout_header)

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> FlaskSettings:
        """The settings in *config*, which is an app's own."""
        names = ("url_prefix", "metrics", "status", "request_timeout", "timeout_header")
        given = {name: config[f"FAILSAFE_{name.upper()}"] for name in names if f"FAILSAFE_{name.upper()}" in config}
        return cls(router=_router(config), **given)


def _router(config: Mapping[str, Any]) -> Router | RouterConfig:
    """The one source that is set; one that is None or False is not."""
    given = [name for name in _SOURCES if config.get(name) is not None and config.get(name) is not False]
    if not given:
        raise ConfigError(f"nothing in app.config says which providers to ask; set {_HELP}")
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)} are both set; keep one of them: {_HELP}")
    if given == ["FAILSAFE_ROUTER"]:
        checks.instance("FAILSAFE_ROUTER", config["FAILSAFE_ROUTER"], Router)
        router: Router = config["FAILSAFE_ROUTER"]
        return router
    if given == ["FAILSAFE_FROM_ENV"]:
        checks.flag("FAILSAFE_FROM_ENV", config["FAILSAFE_FROM_ENV"])
        return loader.from_env()
    return _from_config(config["FAILSAFE_CONFIG"])


def _from_config(value: object) -> RouterConfig:
    if isinstance(value, RouterConfig):
        return value
    if isinstance(value, Mapping):
        return loader.parse(value)
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        checks.refuse("FAILSAFE_CONFIG", value, "the path of a failsafe.toml, a RouterConfig or a table is needed")
    return loader.load_file(value)
