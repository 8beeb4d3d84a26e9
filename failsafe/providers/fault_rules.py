"""
How an HTTP answer is recognised as a fault: one ordered table, and the table of statuses under it.

The same status means different things with different providers (429 may mean that there is no
money, 400 that the key is wrong, 403 that the prompt is too long), so a rule looks at provider,
status, the body's words for programs and its message together. The most specific rules come
first; the first that fits decides. What no rule fits is decided by its status alone.

Sources: the error references of the vendors and their SDKs; ``docs/faults.md`` shows the table for reading, and a
test compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

import msgspec

from failsafe.faults import Fault
from failsafe.providers.error_body import ErrorBody


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """
    What is looked at.

    Attributes:
        names: The vendor, and the dialect it speaks, which stands in for an unknown vendor.
        status: The HTTP status; None for an error inside a success that does not tell one.
        body: What the body says.
        model: The model asked for.
    """

    names: frozenset[str]
    status: int | None
    body: ErrorBody
    model: str


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """
    One row: what is given must hold together, what is not given does not matter.

    Attributes:
        fault: What it is.
        why: The case in words.
        vendors: Any of these vendors or dialects.
        statuses: Any of these statuses. An error without a status fits if ``words`` or ``text`` do.
        words: The body's code, type, status word or a reason is like one of these (``*`` stands for anything).
        text: The message holds this.
        own_answer: True: the body is an error of an API. False: it is a page, plain text or empty, so that
            somebody else than the provider's API may have written it.
        page: The body is a page of markup.
        names_model: The message names the model asked for.
        capability: What is refused is no parameter but something the target cannot do.
    """

    fault: Fault
    why: str
    vendors: frozenset[str] = frozenset()
    statuses: frozenset[int] = frozenset()
    words: tuple[str, ...] = ()
    text: re.Pattern[str] | None = None
    own_answer: bool | None = None
    page: bool = False
    names_model: bool = False
    capability: bool = False

    def fits(self, answered: Answered) -> bool:
        """Whether every condition that is given holds."""
        return (
            (not self.vendors or bool(self.vendors & answered.names))
            and self._fits_status(answered.status)
            and (not self.words or _alike(self.words, answered.body.words))
            and (self.text is None or self.text.search(answered.body.message) is not None)
            and (self.own_answer is None or self.own_answer is (answered.body.kind == "json"))
            and (not self.page or answered.body.kind == "html")
            and (not self.names_model or (answered.model != "" and answered.model in answered.body.message))
        )

    def _fits_status(self, status: int | None) -> bool:
        if not self.statuses or status in self.statuses:
            return True
        return status is None and bool(self.words or self.text)


def _alike(patterns: Iterable[str], words: Iterable[str]) -> bool:
    return any(fnmatchcase(word, pattern) for word in words for pattern in patterns)


def _text(*alternatives: str) -> re.Pattern[str]:
    return re.compile("|".join(alternatives), re.IGNORECASE)


def _of(*values: str) -> frozenset[str]:
    return frozenset(values)


def _on(*statuses: int) -> frozenset[int]:
    return frozenset(statuses)


RULES: tuple[Rule, ...] = (
    # Somebody else than the provider's API answered.
    Rule(
        fault=Fault.MISCONFIGURED,
        why="a page instead of an API's answer: base_url leads somewhere else",
        statuses=_on(400, 422),
        page=True,
    ),
    # The content policy.
    Rule(
        fault=Fault.CONTENT_FILTER,
        why="the provider's code for its content policy",
        words=("content_filter", "content_policy_violation", "responsibleaipolicyviolation", "moderation_blocked"),
    ),
    Rule(
        fault=Fault.CONTENT_FILTER,
        why="the provider's words for its content policy",
        statuses=_on(400, 403, 422),
        text=_text(
            r"content management policy", r"blocked by content filtering", r"flagged as potentially violating",
            r"content violates usage guidelines", r"content exists risk",
            r"violates? (?:our|the) usage polic", r"content polic(?:y|ies)\b",
        ),
    ),
    # No money, whatever the status.
    Rule(
        fault=Fault.QUOTA,
        why="the provider's code for no credit, a reached spending limit, or an account on hold",
        words=(
            "insufficient_quota", "insufficient_credits", "insufficient_balance", "credit_balance_exhausted",
            "*_spend_limit_exceeded", "*_spend_limit_reached", "*_usage_limit_exceeded", "billing_error",
            "billing_not_active", "billing_hard_limit_reached", "linked_organization_*", "organization_on_hold",
            "organization_restricted",
        ),
    ),
    Rule(
        fault=Fault.QUOTA,
        why="the provider's words for no credit or a reached spending limit",
        statuses=_on(400, 402, 403, 429),
        text=_text(
            r"credit balance is too low", r"reached your specified (?:workspace )?api usage limits",
            r"workspace api usage limits", r"insufficient (?:balance|credits|funds)", r"used all available credits",
            r"monthly spending (?:limit|cap)", r"prepayment credits", r"key limit exceeded",
            r"(?:not|n't) have any credits",
        ),
    ),
    Rule(
        fault=Fault.PERMISSION,
        why="the caller's region is not served",
        vendors=_of("gemini"),
        statuses=_on(400),
        words=("failed_precondition",),
        text=_text(r"location is not supported"),
    ),
    Rule(
        fault=Fault.BAD_REQUEST,
        why="a file that is not ready",
        vendors=_of("gemini"),
        statuses=_on(400),
        words=("failed_precondition",),
        text=_text(r"not in an active state"),
    ),
    Rule(
        fault=Fault.QUOTA,
        why="billing is not switched on",
        vendors=_of("gemini"),
        statuses=_on(400),
        words=("failed_precondition",),
    ),
    # A rejected key, whatever the status.
    Rule(
        fault=Fault.PERMISSION,
        why="the key is valid and lacks a right",
        statuses=_on(401, 403),
        words=("insufficient_permissions", "missing_scope"),
    ),
    Rule(
        fault=Fault.PERMISSION,
        why="the key is valid and lacks a right",
        statuses=_on(401),
        text=_text(r"insufficient permissions", r"missing scopes?"),
    ),
    Rule(
        fault=Fault.AUTH,
        why="the provider's code for a rejected key",
        words=(
            "invalid_api_key", "api_key_invalid", "api_key_expired", "access_token_type_unsupported",
            "authentication_error", "unauthenticated", "account_deactivated",
        ),
    ),
    Rule(
        fault=Fault.AUTH,
        why="the provider's words for a rejected key",
        statuses=_on(400, 403),
        text=_text(
            r"incorrect api key", r"invalid api key", r"api key not valid", r"invalid x-api-key",
            r"authentication fails", r"multiple authentication credentials",
            r"credential is only authorized for use with",
            r"api key\b.{0,60}\b(?:blocked|disabled|revoked|leaked|deactivated|expired|suspended)",
        ),
    ),
    # Codes for the pace and for no capacity hold at any status.
    Rule(
        fault=Fault.CONTEXT,
        why="a request larger than the server or the plan takes, which no waiting makes smaller",
        statuses=_on(413),
    ),
    Rule(
        fault=Fault.RATE_LIMIT,
        why="the provider's code for too fast",
        words=(
            "rate_limit_exceeded", "rate_limit_error", "rate_limit_reached", "slow_down", "ramp_limit_exceeded",
            "too_many_requests", "resource_exhausted",
        ),
        statuses=_on(429, 503),
    ),
    Rule(
        fault=Fault.OVERLOADED,
        why="the provider's code for no capacity",
        words=(
            "overloaded_error", "server_is_overloaded", "service_unavailable_error", "unavailable_error", "unavailable",
            "capacity_exceeded", "insufficient_system_resource",
        ),
        statuses=_on(498, 500, 502, 503, 504, 529),
    ),
    # What this target does not take.
    Rule(
        fault=Fault.UNSUPPORTED_PARAMETER,
        why="an answer longer than the model can write was allowed",
        statuses=_on(400, 422),
        text=_text(
            r"max_(?:completion_)?tokens['\"`]?(?: is)? too large", r"maximum allowed number of output tokens",
        ),
    ),
    # The prompt is too long.
    Rule(
        fault=Fault.CONTEXT,
        why="the provider's code for a prompt that is too long",
        words=(
            "context_length_exceeded", "exceed_context_size_error", "request_too_large", "string_above_max_length",
        ),
    ),
    Rule(
        fault=Fault.CONTEXT,
        why="the provider's words for a prompt that is too long",
        statuses=_on(400, 403, 422, 500),
        text=_text(
            r"maximum context length", r"prompt is too long", r"exceeds the maximum number of tokens",
            r"input token count", r"inputs` tokens \+ `max_new_tokens", r"inputs tokens \+ max_new_tokens",
            r"too large for model", r"exceeds? (?:the )?(?:available )?context (?:limit|size|window|length)",
            r"longer than the maximum model length", r"greater than the context length",
        ),
    ),
    Rule(
        fault=Fault.PERMISSION,
        why="the provider's code for a key that may not do this",
        statuses=_on(403),
        words=("permission_denied", "permission_error", "permissions_error"),
    ),
    Rule(
        fault=Fault.PERMISSION,
        why="a refusal that speaks of the key",
        vendors=_of("openrouter", "together"),
        statuses=_on(403),
        text=_text(r"\bkey\b"),
        own_answer=True,
    ),
    Rule(
        fault=Fault.CONTEXT,
        why="prompt and answer together are too long",
        vendors=_of("together"),
        statuses=_on(403),
        own_answer=True,
    ),
    # One parameter, or one thing the target cannot do.
    Rule(
        fault=Fault.UNSUPPORTED_PARAMETER,
        why="the target cannot do what the request needs",
        statuses=_on(400, 404, 422, 500, 501),
        text=_text(
            r"does not support (?:tools|tool use|function|images?|vision|image input|multimodal)",
            r"(?:image|audio) input is not supported", r"image_url is only supported", r"\bmmproj\b",
            r"requires? --jinja", r"no endpoints found that support",
        ),
        capability=True,
    ),
    Rule(
        fault=Fault.UNSUPPORTED_PARAMETER,
        why="history in a form that only this target refuses",
        statuses=_on(400, 422),
        text=_text(r"thought_?\s?signature", r"tool call id was .* must be", r"`?reasoning_content`?"),
        capability=True,
    ),
    Rule(
        fault=Fault.UNSUPPORTED_PARAMETER,
        why="the provider's code for a parameter that it does not take",
        statuses=_on(400, 422),
        words=("unsupported_parameter", "unsupported_value", "unknown_parameter", "extra_forbidden"),
    ),
    Rule(
        fault=Fault.UNSUPPORTED_PARAMETER,
        why="the provider's words for a parameter that it does not take",
        statuses=_on(400, 422),
        text=_text(
            r"is deprecated for this model", r"extra inputs are not permitted", r"unknown name \"",
            r"unrecognized request argument", r"unsupported (?:parameter|value)", r"cannot both be specified",
            r"does not support (?:the )?parameter", r"argument not supported", r"parameter\b.{0,60}\bnot supported",
            r"is not supported (?:with|for|by|on) this model",
        ),
    ),
    # The model.
    Rule(
        fault=Fault.PERMISSION,
        why="the model exists and the key's project may not use it",
        statuses=_on(401, 403),
        words=("model_not_found",),
    ),
    Rule(
        fault=Fault.MODEL,
        why="the provider's code for an unknown or retired model",
        words=(
            "model_not_found", "model_not_available", "model_decommissioned", "invalid_model", "deploymentnotfound",
            "deployment_not_found",
        ),
    ),
    Rule(
        fault=Fault.MODEL,
        why="the provider's words for an unknown or retired model",
        statuses=_on(400, 404, 410),
        text=_text(
            r"\bmodels?\b.{0,120}\b(?:not found|not exist|no longer|been (?:retired|decommissioned)|deprecated)",
            r"is not a valid model", r"invalid model", r"unknown model", r"unable to access (?:non-serverless )?model",
            r"no endpoints found for", r"try pulling it", r"^model: ",
            r"not a chat model", r"not work with the specified model",
        ),
    ),
    Rule(
        fault=Fault.MODEL,
        why="nothing is found, and the message names the model asked for",
        statuses=_on(404, 410),
        names_model=True,
    ),
    Rule(
        fault=Fault.MODEL,
        why="Google's answer for an unknown or retired model",
        vendors=_of("gemini"),
        statuses=_on(404),
        words=("not_found",),
    ),
    # Statuses that lie.
    Rule(
        fault=Fault.SERVER,
        why="a page, plain text or nothing instead of the provider's own refusal: a CDN, firewall or proxy answered",
        statuses=_on(403),
        own_answer=False,
    ),
    Rule(
        fault=Fault.BAD_REQUEST,
        why="a body that the API's own parser cannot read, answered in plain text",
        vendors=_of("xai"),
        statuses=_on(400, 422),
        text=_text(r"failed to deserialize"),
    ),
    Rule(
        fault=Fault.MALFORMED,
        why="plain text or nothing instead of the provider's own refusal: it proves no mistake of the caller's",
        statuses=_on(400, 422),
        own_answer=False,
    ),
    Rule(
        fault=Fault.CONTENT_FILTER,
        why="moderation or a guardrail of the router's",
        vendors=_of("openrouter"),
        statuses=_on(403),
    ),
    Rule(
        fault=Fault.BAD_REQUEST,
        why="a body that fails validation, answered as the server's fault",
        statuses=_on(500),
        text=_text(r"'loc': \('body'", r"\bvalidation errors? for\b"),
    ),
    Rule(
        fault=Fault.CONFLICT,
        why="the model itself wrote an invalid tool call or JSON; another try may pass",
        vendors=_of("groq"),
        statuses=_on(400, 422),
        words=("tool_use_failed", "json_validate_failed"),
    ),
)  # fmt: skip
"""The rules, most specific first; the first that fits decides."""


STATUSES: dict[int, Fault] = {
    400: Fault.BAD_REQUEST,
    401: Fault.AUTH,
    402: Fault.QUOTA,
    403: Fault.PERMISSION,
    404: Fault.MISCONFIGURED,
    405: Fault.MISCONFIGURED,
    407: Fault.NETWORK,
    408: Fault.SERVER,
    409: Fault.CONFLICT,
    410: Fault.MISCONFIGURED,
    413: Fault.CONTEXT,
    415: Fault.MISCONFIGURED,
    421: Fault.MISCONFIGURED,
    422: Fault.BAD_REQUEST,
    424: Fault.SERVER,
    425: Fault.SERVER,
    426: Fault.MISCONFIGURED,
    429: Fault.RATE_LIMIT,
    498: Fault.OVERLOADED,
    499: Fault.SERVER,
    501: Fault.MISCONFIGURED,
    503: Fault.OVERLOADED,
    511: Fault.NETWORK,
    529: Fault.OVERLOADED,
}
"""What a status means by itself; :func:`by_status` says what the others mean."""


def by_status(status: int) -> Fault:
    """What *status* means when nothing else tells."""
    known = STATUSES.get(status)
    if known is not None:
        return known
    if 300 <= status < 400:
        return Fault.MISCONFIGURED
    return Fault.MALFORMED if status < 500 else Fault.SERVER


IMPLIED_STATUSES: dict[str, int] = {
    "invalid_request_error": 400,
    "invalid_argument": 400,
    "authentication_error": 401,
    "unauthenticated": 401,
    "unauthorized": 401,
    "billing_error": 402,
    "insufficient_funds": 402,
    "payment_required": 402,
    "permission_error": 403,
    "permission_denied": 403,
    "not_found_error": 404,
    "not_found": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "rate_limited": 429,
    "resource_exhausted": 429,
    "api_error": 500,
    "server_error": 500,
    "internal": 500,
    "internal_server_error": 500,
    "overloaded": 503,
    "overloaded_error": 529,
    "service_unavailable": 503,
    "service_unavailable_error": 503,
    "unavailable": 503,
    "timeout_error": 504,
    "deadline_exceeded": 504,
}
"""The status that a type or status word stands for, where an error comes inside a success."""


def fault_of(answered: Answered) -> tuple[Fault, Rule | None]:
    """What *answered* means, and the rule that says so; None for its status alone. Never raises."""
    for rule in RULES:
        if rule.fits(answered):
            return rule.fault, rule
    return (Fault.SERVER if answered.status is None else by_status(answered.status)), None
