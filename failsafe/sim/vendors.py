"""
What each vendor's errors and headers look like.

Sources: the vendors' error references and SDKs, gathered in ``docs/faults.md``. A fault that a vendor has no words
for is said in the words of the OpenAI dialect's common form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from failsafe.faults import Fault

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Row:
    """
    One error of one vendor.

    Attributes:
        status: The HTTP status.
        type: The body's ``type`` (Gemini: ``status``; xAI: the sentence in ``code``).
        code: The body's ``code``, or None.
        message: The text; ``{model}``, ``{key}``, ``{path}`` and ``{parameter}`` are filled in.
        param: The body's ``param``; may hold ``{parameter}``.
    """

    status: int
    type: str | None
    code: str | None
    message: str
    param: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Complaint:
    """
    What is to be said about one request.

    Attributes:
        fault: What is wrong.
        message: The text; None: the vendor's usual one.
        code: Replaces the usual code.
        status: Replaces the usual status.
        parameter: The field complained of.
        model: The model asked for.
        key: The key as the message may show it.
        path: The path asked for.
        retry_after: Seconds to stay away, where the body says so.
        request_id: The id of the request.
    """

    fault: Fault
    message: str | None = None
    code: str | None = None
    status: int | None = None
    parameter: str = ""
    model: str = ""
    key: str = ""
    path: str = ""
    retry_after: float | None = None
    request_id: str = ""

    def text(self, row: Row) -> str:
        """The message, filled in."""
        template = row.message if self.message is None else self.message
        for name, value in (
            ("{model}", self.model),
            ("{key}", self.key),
            ("{path}", self.path),
            ("{parameter}", self.parameter),
        ):
            template = template.replace(name, value)
        return template


_INVALID = "invalid_request_error"

_COMMON: Mapping[Fault, Row] = {
    Fault.SERVER: Row(500, "server_error", None, "The server had an error while processing your request. Sorry!"),
    Fault.OVERLOADED: Row(503, "service_unavailable_error", "server_is_overloaded", "The engine is overloaded now."),
    Fault.CONFLICT: Row(409, _INVALID, "conflict", "The resource was changed by another request."),
    Fault.RATE_LIMIT: Row(429, "requests", "rate_limit_exceeded", "Rate limit reached for {model}."),
    Fault.QUOTA: Row(
        429,
        "insufficient_quota",
        "insufficient_quota",
        "You exceeded your current quota, please check your plan and billing details.",
    ),
    Fault.AUTH: Row(401, _INVALID, "invalid_api_key", "Incorrect API key provided: {key}."),
    Fault.PERMISSION: Row(403, _INVALID, "permission_denied", "This key may not use {model}."),
    Fault.MODEL: Row(
        404, _INVALID, "model_not_found", "The model `{model}` does not exist or you do not have access to it.", "model"
    ),
    Fault.MISCONFIGURED: Row(404, _INVALID, "unknown_url", "Invalid URL ({path})."),
    Fault.CONTEXT: Row(
        400,
        _INVALID,
        "context_length_exceeded",
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
        "messages",
    ),
    Fault.UNSUPPORTED_PARAMETER: Row(
        400,
        _INVALID,
        "unsupported_parameter",
        "Unsupported parameter: '{parameter}' is not supported with this model.",
        "{parameter}",
    ),
    Fault.BAD_REQUEST: Row(400, _INVALID, None, "Invalid value for '{parameter}'.", "{parameter}"),
    Fault.CONTENT_FILTER: Row(
        400, _INVALID, "content_filter", "The prompt was rejected by the content policy.", "messages"
    ),
}

_OPENAI = {
    Fault.PERMISSION: Row(
        403,
        "request_forbidden",
        "unsupported_country_region_territory",
        "Country, region, or territory not supported",
    ),
}

_AZURE = {
    Fault.AUTH: Row(
        401, None, "401", "Access denied due to invalid subscription key or wrong API endpoint for your resource."
    ),
    Fault.PERMISSION: Row(403, None, "403", "Public access is disabled. Please configure private endpoint."),
    Fault.MODEL: Row(404, None, "DeploymentNotFound", "The API deployment for this resource does not exist."),
    Fault.MISCONFIGURED: Row(404, None, "404", "Resource not found"),
    Fault.RATE_LIMIT: Row(429, None, "429", "Requests to the ChatCompletions operation have exceeded the call limit."),
    Fault.OVERLOADED: Row(503, None, "503", "The service is temporarily unable to process your request."),
    Fault.SERVER: Row(500, None, "500", "The server had an error while processing your request. Sorry!"),
    Fault.CONTENT_FILTER: Row(
        400,
        None,
        "content_filter",
        "The response was filtered due to the prompt triggering the content management policy.",
        "prompt",
    ),
}

_ANTHROPIC = {
    Fault.SERVER: Row(500, "api_error", None, "Internal server error"),
    Fault.OVERLOADED: Row(529, "overloaded_error", None, "Overloaded"),
    Fault.CONFLICT: Row(409, "conflict_error", None, "The resource was changed by another request."),
    Fault.RATE_LIMIT: Row(
        429, "rate_limit_error", None, "This request would exceed your organization's rate limit of 50 requests."
    ),
    Fault.QUOTA: Row(
        400, _INVALID, None, "Your credit balance is too low to access the Anthropic API. Please purchase credits."
    ),
    Fault.AUTH: Row(401, "authentication_error", None, "invalid x-api-key"),
    Fault.PERMISSION: Row(403, "permission_error", None, "Your API key does not have permission to use {model}."),
    Fault.MODEL: Row(404, "not_found_error", None, "model: {model}"),
    Fault.MISCONFIGURED: Row(404, "not_found_error", None, "Not found"),
    Fault.CONTEXT: Row(400, _INVALID, None, "prompt is too long: 209000 tokens > 200000 maximum"),
    Fault.UNSUPPORTED_PARAMETER: Row(400, _INVALID, None, "`{parameter}` is deprecated for this model."),
    Fault.BAD_REQUEST: Row(400, _INVALID, None, "{parameter}: Input should be valid"),
    Fault.CONTENT_FILTER: Row(400, _INVALID, None, "Output blocked by content filtering policy"),
}

_GEMINI = {
    Fault.SERVER: Row(500, "INTERNAL", None, "An internal error has occurred. Please retry."),
    Fault.OVERLOADED: Row(503, "UNAVAILABLE", None, "The model is overloaded. Please try again later."),
    Fault.CONFLICT: Row(409, "ABORTED", None, "The operation was aborted."),
    Fault.RATE_LIMIT: Row(429, "RESOURCE_EXHAUSTED", None, "Resource has been exhausted (e.g. check quota)."),
    Fault.QUOTA: Row(402, "RESOURCE_EXHAUSTED", None, "Your prepayment credits are depleted."),
    Fault.AUTH: Row(400, "INVALID_ARGUMENT", "API_KEY_INVALID", "API key not valid. Please pass a valid API key."),
    Fault.PERMISSION: Row(403, "PERMISSION_DENIED", None, "The caller does not have permission"),
    Fault.MODEL: Row(
        404, "NOT_FOUND", None, "models/{model} is not found for API version v1beta, or is not supported."
    ),
    Fault.MISCONFIGURED: Row(404, "NOT_FOUND", None, "Requested entity was not found: {path}"),
    Fault.CONTEXT: Row(
        400,
        "INVALID_ARGUMENT",
        None,
        "The input token count (1100000) exceeds the maximum number of tokens allowed (1048576).",
    ),
    Fault.UNSUPPORTED_PARAMETER: Row(
        400, "INVALID_ARGUMENT", None, 'Invalid JSON payload received. Unknown name "{parameter}": Cannot find field.'
    ),
    Fault.BAD_REQUEST: Row(400, "INVALID_ARGUMENT", None, "Invalid value at '{parameter}'"),
    Fault.CONTENT_FILTER: Row(400, "INVALID_ARGUMENT", None, "The prompt was blocked by the content policy."),
}

_DEEPSEEK = {
    Fault.QUOTA: Row(402, "unknown_error", _INVALID, "Insufficient Balance"),
    Fault.AUTH: Row(401, "authentication_error", _INVALID, "Authentication Fails, Your api key: {key} is invalid"),
    Fault.RATE_LIMIT: Row(429, "rate_limit_error", None, "Too many concurrent requests for this account."),
    Fault.OVERLOADED: Row(503, "service_unavailable_error", None, "The server is overloaded due to high traffic."),
}

_OPENROUTER = {
    Fault.SERVER: Row(502, "provider_unavailable", None, "Provider returned error"),
    Fault.OVERLOADED: Row(529, "provider_overloaded", None, "Provider is overloaded"),
    Fault.RATE_LIMIT: Row(429, "rate_limit_exceeded", None, "Rate limit exceeded: {model}"),
    Fault.QUOTA: Row(402, "payment_required", None, "Insufficient credits. Add more on the credits page."),
    Fault.AUTH: Row(401, "authentication", None, "No auth credentials found"),
    Fault.CONTENT_FILTER: Row(403, "content_policy_violation", None, "Input was flagged by moderation"),
    Fault.MODEL: Row(404, "not_found", None, "No endpoints found for {model}."),
}

_GROQ = {
    Fault.OVERLOADED: Row(498, "capacity_exceeded", "capacity_exceeded", "The flex tier is at capacity now."),
    Fault.RATE_LIMIT: Row(429, "tokens", "rate_limit_exceeded", "Rate limit reached for model `{model}` on tokens."),
    Fault.AUTH: Row(401, _INVALID, "invalid_api_key", "Invalid API Key"),
}

_MISTRAL = {
    Fault.SERVER: Row(500, "internal_server_error", "1000", "Internal server error"),
    Fault.OVERLOADED: Row(503, "service_unavailable", "3700", "Service unavailable."),
    Fault.RATE_LIMIT: Row(429, "rate_limited", "1300", "Rate limit exceeded"),
    Fault.QUOTA: Row(402, "payment_required", "1400", "Payment required: the workspace has no credit left."),
    Fault.AUTH: Row(401, "unauthorized", "1600", "Unauthorized"),
    Fault.MODEL: Row(404, "invalid_model", "1500", "Invalid model: {model}"),
    Fault.CONTEXT: Row(
        400, "invalid_request_prompt", "3051", "Prompt contains 40000 tokens, too large for model with 32768."
    ),
}

_XAI = {
    Fault.SERVER: Row(500, "Internal server error", None, "Something went wrong on our side."),
    Fault.OVERLOADED: Row(503, "The service is currently unavailable", None, "The model is at capacity."),
    Fault.RATE_LIMIT: Row(429, "Some resource has been exhausted", None, "Too many requests for {model}."),
    Fault.QUOTA: Row(
        429,
        "Some resource has been exhausted",
        None,
        "Your team has either used all available credits or reached its monthly spending limit.",
    ),
    Fault.CONTENT_FILTER: Row(
        403, "The caller does not have permission", None, "Content violates usage guidelines: the content policy."
    ),
    Fault.AUTH: Row(400, "Client specified an invalid argument", None, "Incorrect API key provided: {key}."),
    Fault.MODEL: Row(
        404, "Some requested entity was not found", None, "The model {model} does not exist or you have no access."
    ),
}

_TOGETHER = {
    Fault.QUOTA: Row(402, "insufficient_funds", "spending_limit", "You have reached your spending limit."),
    Fault.CONTEXT: Row(
        403, _INVALID, None, "Input validation error: `inputs tokens + max_new_tokens` must be <= 8193."
    ),
    Fault.OVERLOADED: Row(503, "service_unavailable", "overloaded", "The model is overloaded."),
    Fault.AUTH: Row(401, _INVALID, "invalid_api_key", "Invalid API key provided."),
}

_ROWS: Mapping[str, Mapping[Fault, Row]] = {
    "openai": _OPENAI,
    "anthropic": _ANTHROPIC,
    "gemini": _GEMINI,
    "deepseek": _DEEPSEEK,
    "holysheep": {},
    "generic": {},
    "azure": _AZURE,
    "openrouter": _OPENROUTER,
    "groq": _GROQ,
    "mistral": _MISTRAL,
    "xai": _XAI,
    "together": _TOGETHER,
}

VENDORS = tuple(_ROWS)
"""The vendors whose errors are known; ``generic`` is any other server of the OpenAI dialect."""

_FAULT_OF_STATUS = {
    400: Fault.BAD_REQUEST,
    401: Fault.AUTH,
    402: Fault.QUOTA,
    403: Fault.PERMISSION,
    404: Fault.MODEL,
    405: Fault.MISCONFIGURED,
    408: Fault.SERVER,
    409: Fault.CONFLICT,
    413: Fault.BAD_REQUEST,
    422: Fault.BAD_REQUEST,
    429: Fault.RATE_LIMIT,
    498: Fault.OVERLOADED,
    503: Fault.OVERLOADED,
    529: Fault.OVERLOADED,
}


def fault_of(status: int) -> Fault:
    """What a bare *status* usually means."""
    return _FAULT_OF_STATUS.get(status, Fault.SERVER if status >= 500 else Fault.BAD_REQUEST)


def error_row(vendor: str, fault: Fault) -> Row:
    """What *vendor* says for *fault*; a fault without words of its own is a server error."""
    return _ROWS[vendor].get(fault) or _COMMON.get(fault) or error_row(vendor, Fault.SERVER)


def complain(vendor: str, complaint: Complaint) -> tuple[int, Any]:
    """The status and JSON body with which *vendor* answers."""
    row = error_row(vendor, complaint.fault)
    if complaint.status is not None:
        row = replace(row, status=complaint.status)
    if complaint.code is not None:
        row = replace(row, code=complaint.code)
    return row.status, _SHAPES.get(vendor, _openai_shape)(row, complaint)


def _openai_shape(row: Row, complaint: Complaint) -> Any:
    param = row.param.replace("{parameter}", complaint.parameter) if row.param else None
    return {"error": {"message": complaint.text(row), "type": row.type, "param": param or None, "code": row.code}}


def _azure_shape(row: Row, complaint: Complaint) -> Any:
    body = _openai_shape(row, complaint)
    if row.code == "content_filter":
        verdict = {"hate": {"filtered": True, "severity": "high"}}
        body["error"]["status"] = row.status
        body["error"]["innererror"] = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": verdict}
    return body


def _anthropic_shape(row: Row, complaint: Complaint) -> Any:
    error = {"type": row.type, "message": complaint.text(row)}
    return {"type": "error", "error": error, "request_id": complaint.request_id}


def _gemini_shape(row: Row, complaint: Complaint) -> Any:
    details: list[Any] = []
    if row.code:
        details.append(
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": row.code,
                "domain": "googleapis.com",
                "metadata": {"service": "generativelanguage.googleapis.com"},
            }
        )
    if complaint.retry_after is not None:
        details.append(
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{complaint.retry_after:g}s"}
        )
    error = {"code": row.status, "message": complaint.text(row), "status": row.type}
    return {"error": error | ({"details": details} if details else {})}


def _openrouter_shape(row: Row, complaint: Complaint) -> Any:
    metadata = {"error_type": row.type, "provider_name": "Simulated"}
    return {"error": {"code": row.status, "message": complaint.text(row), "metadata": metadata}}


def _mistral_shape(row: Row, complaint: Complaint) -> Any:
    if row.status == 422:
        detail = {"type": "extra_forbidden", "msg": complaint.text(row), "loc": ["body", complaint.parameter]}
        return {"detail": [detail]}
    text = complaint.text(row)
    return {"object": "error", "message": text, "type": row.type, "param": None, "code": row.code}


def _xai_shape(row: Row, complaint: Complaint) -> Any:
    return {"code": row.type, "error": complaint.text(row)}


_SHAPES: Mapping[str, Callable[[Row, Complaint], Any]] = {
    "azure": _azure_shape,
    "anthropic": _anthropic_shape,
    "gemini": _gemini_shape,
    "openrouter": _openrouter_shape,
    "mistral": _mistral_shape,
    "xai": _xai_shape,
}


_BASE_PATHS = {"openai": "/v1", "anthropic": "", "gemini": "/v1beta"}
_BASE_PATHS_OF_VENDORS = {"azure": "/openai/v1", "groq": "/openai/v1", "openrouter": "/api/v1", "deepseek": ""}


def base_path(vendor: str, dialect: str) -> str:
    """The path of the base URL under which *vendor* speaks *dialect*."""
    return _BASE_PATHS_OF_VENDORS.get(vendor, _BASE_PATHS[dialect])


def masked(key: str) -> str:
    """A key as OpenAI's message shows it: the ends, and stars between; a short one is all stars."""
    return "*" * len(key) if len(key) < 20 else f"{key[:8]}{'*' * (len(key) - 12)}{key[-4:]}"
