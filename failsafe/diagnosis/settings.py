"""What is wrong with the settings and the variables. Pure functions: facts in, findings out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date

from failsafe import checks
from failsafe.catalog import catalog
from failsafe.config import RouterConfig
from failsafe.diagnosis import keys, models
from failsafe.diagnosis.finding import Finding, error, good, note, warning

_SUFFIXES = ("_KEY", "_APIKEY", "_API_TOKEN", "_TOKEN", "_SECRET")
_CLOSE_ENOUGH = 0.85
_OF_A_KEY = re.compile(
    r"providers\.[^:]*\.api_key(?:\[\d+\])?(?: \((?:env:)?(?P<variable>\w+)\))?: the key (?P<said>.*)", re.DOTALL
)
"""What is said of a key that cannot be one."""

_OTHER_NAMES = {
    "CLAUDE_API_KEY": "ANTHROPIC_API_KEY",
    "CLAUDE_KEY": "ANTHROPIC_API_KEY",
    "GOOGLE_AI_API_KEY": "GEMINI_API_KEY",
    "GOOGLE_GENERATIVE_AI_API_KEY": "GEMINI_API_KEY",
    "GROK_API_KEY": "XAI_API_KEY",
    "TOGETHERAI_API_KEY": "TOGETHER_API_KEY",
    "AZURE_API_KEY": "AZURE_OPENAI_API_KEY",
    "AZURE_OPENAI_KEY": "AZURE_OPENAI_API_KEY",
}
"""Names that other programs read a key from, each with the one that its vendor's own programs read."""


def inspect(config: RouterConfig, today: date) -> Iterator[Finding]:
    """What can be said of *config* without sending anything; models are dead or alive as of *today*."""
    for provider in config.providers:
        if provider.enabled:
            yield from keys.inspect(provider)
            yield from models.inspect(provider, today)
        else:
            yield good("disabled", provider.name, "is switched off (enabled = false), and not looked at")
    for alias in config.aliases:
        yield from models.inspect_alias(config, alias, today)
    enabled = [provider.name for provider in config.providers if provider.enabled]
    if len(enabled) == 1:
        yield warning(
            "alone", enabled[0], "is the only provider: when it fails, nobody is left to ask", "",
            "export the key of a second one, or add it to the settings",
        )  # fmt: skip


def unreadable(problem: str, origin: str) -> Finding:
    """
    The settings as a whole cannot be read.

    Args:
        problem: The error's text, which names the setting, the value and what is allowed.
        origin: Where they come from: a path, or ``the environment``.
    """
    steps = [f"correct {origin}"]
    if "chmod" in problem:
        steps = [f"$ {problem[problem.index('chmod') :].partition(',')[0].strip()}"]
    return error(
        "settings-unreadable", "settings", problem, "every program that reads them stops with this error", *steps
    )


def of_provider(name: str, problem: str) -> Finding:
    """The settings of the one provider *name* are wrong."""
    about_key = _OF_A_KEY.fullmatch(problem)
    if about_key:
        variable, said = about_key["variable"], about_key["said"]
        preset = catalog().presets.get(name)
        page = (f"its keys are made here: {preset.keys_page}",) if preset is not None and preset.keys_page else ()
        found = f"the key in {variable or 'the settings'} {said}"
        steps = (*page, f"$ export {variable}='...'" if variable else "correct api_key in the settings")
    else:
        found = f"its settings are wrong: {problem.removeprefix(f'providers.{name}.')}"
        steps = _steps_for(problem)
    return error(
        "provider-settings", name, found, "no router can be made with it, so all providers are out of use", *steps
    )


def _steps_for(problem: str) -> tuple[str, ...]:
    """What to do about a wrong setting, where its error does not say so itself."""
    if "the environment variable" in problem or "needs a key" in problem:
        return ("export the variable in the shell that starts the program (and see that its name is right)",)
    if "keyring" in problem and "pip install" in problem:
        return ("$ pip install 'failsafe-llm[keyring]'",)
    return ("correct it as said, then: $ failsafe check",)


def nothing_configured(environ: Mapping[str, str], usual_file: str) -> Finding:
    """There are no settings at all: how to begin."""
    meant = [f"{wrong} is set, but {right} is what is read" for wrong, right in misnamed(environ)]
    return error(
        "nothing-configured", "settings", "no provider is configured yet: there is no key, and no settings file",
        "; ".join(meant),
        "to try it out, without a key and without a network: $ failsafe demo",
        "with a key: $ export OPENAI_API_KEY='...' (or ANTHROPIC_API_KEY, GEMINI_API_KEY, ...)",
        "with a model on this machine: $ export OLLAMA_HOST=127.0.0.1:11434",
        f"or write the settings into {usual_file}",
        "then look again: $ failsafe doctor",
    )  # fmt: skip


def variables(environ: Mapping[str, str], sources: frozenset[str]) -> Iterator[Finding]:
    """
    Variables that are set and do not do what whoever set them meant.

    Args:
        environ: The variables.
        sources: The variables that the keys in use came from.
    """
    for name in _known_variables():
        value = environ.get(name)
        if value is not None and not value.strip() and name not in sources:
            yield warning(
                "variable-empty", "environment", f"{name} is set and empty, which counts as not set",
                "a secret that the shell, CI or container was to fill in is missing",
                f"$ export {name}='...'", f"or, if it is not needed: $ unset {name}",
            )  # fmt: skip
    for preset in catalog().presets.values():
        held = next((name for name in (*preset.key_env, *preset.bearer_env) if environ.get(name)), None)
        if held and "{" in preset.base_url and not environ.get(preset.base_url_env or "") and held not in sources:
            yield warning(
                "address-missing", "environment", f"{held} is set without {preset.base_url_env}",
                f"{preset.title} has an address of your own, and is left out without it",
                f"$ export {preset.base_url_env}={preset.base_url}",
            )  # fmt: skip
    for wrong, right in misnamed(environ):
        if right not in environ:
            yield warning(
                "variable-name", "environment", f"{wrong} is set, but {right} is what is read", "",
                f'$ export {right}="${wrong}"',
            )  # fmt: skip


def misnamed(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Variables whose names are nearly those of keys, each with the right name."""
    known = _known_variables()
    found = []
    for name, value in environ.items():
        right = _OTHER_NAMES.get(name) or _right_name(name, known)
        if value.strip() and name not in known and right is not None:
            found.append((name, right))
    return sorted(found)


def _right_name(name: str, known: tuple[str, ...]) -> str | None:
    if not name.endswith(_SUFFIXES) or name.startswith("FAILSAFE_"):
        return None
    for suffix in _SUFFIXES:  # OPENAI_KEY, OPENAI_TOKEN
        right = f"{name.removesuffix(suffix)}_API_KEY"
        if name.endswith(suffix) and right in known:
            return right
    plain = {each.replace("_", ""): each for each in known}
    close = checks.close_names(name.replace("_", ""), plain)
    return plain[close[0]] if close and _alike(name.replace("_", ""), close[0]) else None


def _alike(one: str, other: str) -> bool:
    from difflib import SequenceMatcher

    return SequenceMatcher(None, one, other).ratio() >= _CLOSE_ENOUGH


def _known_variables() -> tuple[str, ...]:
    presets = catalog().presets.values()
    return tuple(name for preset in presets for name in (*preset.key_env, *preset.bearer_env, *preset.other_key_env))


def readable_by_others(path: str) -> Finding:
    """Other users of this machine can read the settings file, which holds no key by value."""
    return note(
        "settings-readable", "settings", f"{path} can be read by other users of this machine",
        "it holds no key by value, or it would be refused; it still tells where requests go", f"$ chmod 600 {path}",
    )  # fmt: skip
