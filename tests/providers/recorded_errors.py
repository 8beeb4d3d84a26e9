# ruff: noqa: E501  # a recorded answer is easier to compare with its source in one line
"""
The providers' own error answers, one a line, and what each means.

Bodies are in the form and words of the vendors' documentation, SDKs and issue threads, as of November 2026.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from failsafe.faults import Fault


class Row(NamedTuple):
    """One answer of a provider and what it means."""

    vendor: str
    status: int
    body: Any
    fault: Fault
    expected: Mapping[str, Any] = {}
    headers: Mapping[str, str] = {}
    model: str = "some-model"


def openai(message: str, type: str | None = None, code: Any = None, param: str | None = None) -> dict[str, Any]:  # noqa: A002
    return {"error": {"message": message, "type": type, "param": param, "code": code}}


def anthropic(type: str, message: str, **details: str) -> dict[str, Any]:  # noqa: A002
    error = {"type": type, "message": message, **({"details": details} if details else {})}
    return {"type": "error", "error": error, "request_id": "req_011"}


def gemini(code: int, status: str, message: str, *details: Mapping[str, Any]) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "status": status, "details": list(details)}}


def google_reason(reason: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com"}


def google_quota(quota_id: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": quota_id}]}


def google_retry(delay: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}


def mistral(message: Any, type: str, code: str | None = None) -> dict[str, Any]:  # noqa: A002
    return {"object": "error", "message": message, "type": type, "param": None, "code": code}


def xai(code: str, error: str) -> dict[str, Any]:
    return {"code": code, "error": error}


def page(title: str) -> str:
    return f"<!DOCTYPE html>\n<html>\n<head><title>{title}</title></head>\n<body><h1>{title}</h1></body></html>"


OPENAI = [
    Row("openai", 400, openai("Missing required parameter: 'messages'.", "invalid_request_error", "missing_required_parameter", "messages"), Fault.BAD_REQUEST, {"code": "missing_required_parameter", "parameter": None}),
    Row("openai", 400, openai("This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens.", "invalid_request_error", "context_length_exceeded", "messages"), Fault.CONTEXT),
    Row("openai", 400, openai("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.", "invalid_request_error", "unsupported_parameter", "max_tokens"), Fault.UNSUPPORTED_PARAMETER, {"parameter": "max_tokens"}),
    Row("openai", 400, openai("Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1) value is supported.", "invalid_request_error", "unsupported_value", "temperature"), Fault.UNSUPPORTED_PARAMETER, {"parameter": "temperature"}),
    Row("openai", 400, openai("Unknown parameter: 'top_k'.", "invalid_request_error", "unknown_parameter", "top_k"), Fault.UNSUPPORTED_PARAMETER, {"parameter": "top_k"}),
    Row("openai", 400, openai("Unrecognized request argument supplied: failsafe_id", "invalid_request_error"), Fault.UNSUPPORTED_PARAMETER, {"parameter": "failsafe_id"}),
    Row("openai", 400, openai("max_tokens is too large: 200000. This model supports at most 16384 completion tokens.", "invalid_request_error", "invalid_value", "max_tokens"), Fault.UNSUPPORTED_PARAMETER, {"parameter": "max_tokens"}),
    Row("openai", 400, "", Fault.MALFORMED),
    Row("openai", 400, "Bad Request", Fault.MALFORMED),
    Row("openai", 422, "", Fault.MALFORMED),
    Row("openai", 422, "Unprocessable Entity", Fault.MALFORMED),
    Row("openai", 400, '{"error": {"message": "Missing required param', Fault.MALFORMED),
    Row("openai", 431, "", Fault.MALFORMED),
    Row("openai", 451, openai("Unavailable.", None), Fault.MALFORMED),
    Row("openai", 400, openai("Invalid service_tier argument.", "invalid_request_error", None, "service_tier"), Fault.BAD_REQUEST),
    Row("openai", 400, openai("Invalid prompt: your prompt was flagged as potentially violating our usage policy.", "invalid_request_error", "invalid_prompt"), Fault.CONTENT_FILTER),
    Row("openai", 401, openai("Incorrect API key provided: sk-proj-********************************wxyz. You can find your API key at https://platform.openai.com/account/api-keys.", "invalid_request_error", "invalid_api_key"), Fault.AUTH, {"whole_key": True, "code": "invalid_api_key"}),
    Row("openai", 401, openai("You must be a member of an organization to use the API", "invalid_request_error"), Fault.AUTH),
    Row("openai", 401, openai("Your IP is not authorized to access this project; it is not on the allow list", "invalid_request_error", "ip_not_authorized"), Fault.AUTH),
    Row("openai", 401, openai("You have insufficient permissions for this operation. Missing scopes: model.request.", "invalid_request_error"), Fault.PERMISSION),
    Row("openai", 401, openai("You may not run models", "invalid_request_error", "missing_scope"), Fault.PERMISSION),
    Row("openai", 403, openai("Country, region, or territory not supported", "request_forbidden", "unsupported_country_region_territory"), Fault.PERMISSION),
    Row("openai", 403, openai("Project `proj_1` does not have access to model `gpt-6`", "invalid_request_error", "model_not_found"), Fault.PERMISSION),
    Row("openai", 404, openai("The model `gpt-0` does not exist or you do not have access to it.", "invalid_request_error", "model_not_found"), Fault.MODEL),
    Row("openai", 404, openai("Invalid URL (POST /v1/v1/chat/completions)", "invalid_request_error"), Fault.MISCONFIGURED),
    Row("openai", 404, openai("This is not a chat model and thus not supported in the v1/chat/completions endpoint.", "invalid_request_error", None, "model"), Fault.MODEL),
    Row("openai", 400, openai("Your prompt was blocked by our content policy.", "invalid_request_error"), Fault.CONTENT_FILTER),
    Row("openai", 405, openai("Not allowed to GET on /v1/chat/completions.", "invalid_request_error", "method_not_supported"), Fault.MISCONFIGURED),
    Row("openai", 408, openai("Request timeout", "timeout"), Fault.SERVER),
    Row("openai", 409, openai("Conflict", "conflict_error"), Fault.CONFLICT),
    Row("openai", 413, openai("Maximum content size limit exceeded"), Fault.CONTEXT),
    Row("openai", 415, openai("Unsupported media type"), Fault.MISCONFIGURED),
    Row("openai", 422, openai("Unprocessable entity", "invalid_request_error"), Fault.BAD_REQUEST),
    Row("openai", 429, openai("Rate limit reached for gpt-4.1 in organization org-1 on tokens per min (TPM): Limit 10000, Used 9000, Requested 2000. Please try again in 6.5s.", "tokens", "rate_limit_exceeded"), Fault.RATE_LIMIT, {"retry_after": 6.5, "whole_key": False}),
    Row("openai", 429, openai("Rate limit reached", "requests", "rate_limit_exceeded"), Fault.RATE_LIMIT, {"retry_after": 20.0}, {"Retry-After": "20"}),
    Row("openai", 429, openai("Rate limit reached", "requests", "rate_limit_exceeded"), Fault.RATE_LIMIT, {"retry_after": 360.0}, {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s", "x-ratelimit-remaining-tokens": "99", "x-ratelimit-reset-tokens": "9h"}),
    Row("openai", 429, openai("You are ramping up too fast.", "rate_limit_error", "slow_down"), Fault.RATE_LIMIT),
    Row("openai", 503, openai("Slow down", "server_error", "slow_down"), Fault.RATE_LIMIT),
    Row("openai", 429, openai("You exceeded your current quota, please check your plan and billing details.", "insufficient_quota", "insufficient_quota"), Fault.QUOTA, {"retry_after": None, "whole_key": True}),
    Row("openai", 429, openai("No credit left", "insufficient_quota", "credit_balance_exhausted"), Fault.QUOTA),
    Row("openai", 429, openai("Limit", "insufficient_quota", "organization_spend_limit_exceeded"), Fault.QUOTA),
    Row("openai", 429, openai("Limit", None, "project_spend_limit_exceeded"), Fault.QUOTA),
    Row("openai", 429, openai("Limit", None, "organization_usage_limit_exceeded"), Fault.QUOTA),
    Row("openai", 429, openai("Your account is not active, please check your billing details on our website.", "billing_not_active", "billing_not_active"), Fault.QUOTA),
    Row("openai", 429, openai("Something else", None, "brand_new_code"), Fault.RATE_LIMIT, {"retry_after": None}),
    Row("openai", 500, openai("The server had an error while processing your request. Sorry about that!", "server_error"), Fault.SERVER),
    Row("openai", 503, openai("The server is overloaded", "service_unavailable_error", "server_is_overloaded"), Fault.OVERLOADED, {"retry_after": 7.0}, {"retry-after": "7"}),
]  # fmt: skip

ANTHROPIC = [
    Row("anthropic", 400, anthropic("invalid_request_error", "messages: at least one message is required"), Fault.BAD_REQUEST, {"request_id": "req_011"}),
    Row("anthropic", 400, anthropic("invalid_request_error", "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits."), Fault.QUOTA),
    Row("anthropic", 400, anthropic("invalid_request_error", "You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC."), Fault.QUOTA, {"retry_after": None}),
    Row("anthropic", 400, anthropic("invalid_request_error", "You have reached your specified workspace API usage limits."), Fault.QUOTA),
    Row("anthropic", 400, anthropic("invalid_request_error", "This organization is on hold.", error_code="organization_on_hold"), Fault.QUOTA, {"whole_key": True}),
    Row("anthropic", 400, anthropic("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"), Fault.CONTEXT),
    Row("anthropic", 400, anthropic("invalid_request_error", "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000, decrease input length or `max_tokens` and try again"), Fault.CONTEXT),
    Row("anthropic", 400, anthropic("invalid_request_error", "max_tokens: 100000 > 8192, which is the maximum allowed number of output tokens for claude-3-haiku"), Fault.UNSUPPORTED_PARAMETER, {"parameter": "max_tokens"}),
    Row("anthropic", 400, anthropic("invalid_request_error", "`temperature` is deprecated for this model."), Fault.UNSUPPORTED_PARAMETER, {"parameter": "temperature"}),
    Row("anthropic", 400, anthropic("invalid_request_error", "seed: Extra inputs are not permitted"), Fault.UNSUPPORTED_PARAMETER, {"parameter": "seed"}),
    Row("anthropic", 400, anthropic("invalid_request_error", "messages.0.name: Extra inputs are not permitted"), Fault.UNSUPPORTED_PARAMETER, {"parameter": "messages.0.name"}),
    Row("anthropic", 400, anthropic("invalid_request_error", "`temperature` and `top_p` cannot both be specified for this model. Please use only one."), Fault.UNSUPPORTED_PARAMETER, {"parameter": "temperature"}),
    Row("anthropic", 400, anthropic("invalid_request_error", "Output blocked by content filtering policy"), Fault.CONTENT_FILTER),
    Row("anthropic", 400, anthropic("invalid_request_error", "This credential is only authorized for use with Claude Code and cannot be used for other API requests."), Fault.AUTH),
    Row("anthropic", 401, anthropic("authentication_error", "invalid x-api-key"), Fault.AUTH, {"code": "authentication_error"}),
    Row("anthropic", 402, anthropic("billing_error", "There is an issue with your billing"), Fault.QUOTA),
    Row("anthropic", 402, anthropic("billing_error", "Linked organization", error_code="linked_organization_suspended"), Fault.QUOTA),
    Row("anthropic", 403, anthropic("permission_error", "Your API key does not have permission to use the specified resource."), Fault.PERMISSION),
    Row("anthropic", 404, anthropic("not_found_error", "model: claude-0"), Fault.MODEL, {}, {}, "claude-0"),
    Row("anthropic", 404, anthropic("not_found_error", "Not found"), Fault.MISCONFIGURED),
    Row("anthropic", 409, anthropic("conflict_error", "Conflict"), Fault.CONFLICT),
    Row("anthropic", 413, anthropic("request_too_large", "Request exceeds the maximum size"), Fault.CONTEXT),
    Row("anthropic", 413, page("413 Request Entity Too Large"), Fault.CONTEXT),
    Row("anthropic", 429, anthropic("rate_limit_error", "This request would exceed your organization's rate limit of 50,000 input tokens per minute."), Fault.RATE_LIMIT, {"retry_after": 12.0, "whole_key": True}, {"retry-after": "12"}),
    Row("anthropic", 429, anthropic("rate_limit_error", "Too fast"), Fault.RATE_LIMIT, {"retry_after": 30.0}, {"anthropic-ratelimit-input-tokens-remaining": "0", "anthropic-ratelimit-input-tokens-reset": "2027-01-15T08:00:30Z"}),
    Row("anthropic", 429, anthropic("rate_limit_error", "Ramping too fast", error_code="ramp_limit_exceeded"), Fault.RATE_LIMIT),
    Row("anthropic", 429, anthropic("rate_limit_error", "Spend limit", error_code="enforced_spend_limit_reached"), Fault.QUOTA),
    Row("anthropic", 429, anthropic("rate_limit_error", "Spend limit", error_code="contract_spend_limit_reached"), Fault.QUOTA),
    Row("anthropic", 429, anthropic("rate_limit_error", "New", error_code="never_seen_before"), Fault.RATE_LIMIT),
    Row("anthropic", 500, anthropic("api_error", "Internal server error"), Fault.SERVER),
    Row("anthropic", 503, anthropic("overloaded_error", "Key service unavailable", error_code="cmek_unavailable"), Fault.OVERLOADED),
    Row("anthropic", 504, anthropic("timeout_error", "Request timed out"), Fault.SERVER),
    Row("anthropic", 529, anthropic("overloaded_error", "Overloaded"), Fault.OVERLOADED),
]  # fmt: skip

GEMINI = [
    Row("gemini", 400, gemini(400, "INVALID_ARGUMENT", "Please use a valid role: user, model."), Fault.BAD_REQUEST, {"code": "INVALID_ARGUMENT"}),
    Row("gemini", 400, gemini(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", google_reason("API_KEY_INVALID")), Fault.AUTH),
    Row("gemini", 400, [gemini(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.")], Fault.AUTH),
    Row("gemini", 400, gemini(400, "INVALID_ARGUMENT", "API key expired. Please renew the API key.", google_reason("API_KEY_INVALID")), Fault.AUTH),
    Row("gemini", 400, gemini(400, "INVALID_ARGUMENT", "Multiple authentication credentials received. Please pass only one."), Fault.AUTH),
    Row("gemini", 400, gemini(400, "INVALID_ARGUMENT", 'Invalid JSON payload received. Unknown name "presencePenalty" at \'generation_config\': Cannot find field.'), Fault.UNSUPPORTED_PARAMETER, {"parameter": "presence_penalty"}),
    Row("gemini", 400, gemini(400, "INVALID_ARGUMENT", "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."), Fault.CONTEXT),
    Row("gemini", 400, gemini(400, "INVALID_ARGUMENT", "Function call is missing a thought_signature in functionCall parts."), Fault.UNSUPPORTED_PARAMETER, {"parameter": None}),
    Row("gemini", 400, gemini(400, "FAILED_PRECONDITION", "User location is not supported for the API use."), Fault.PERMISSION),
    Row("gemini", 400, gemini(400, "FAILED_PRECONDITION", "Gemini API free tier is not available in your country. Please enable billing on your project."), Fault.QUOTA),
    Row("gemini", 400, gemini(400, "FAILED_PRECONDITION", "The File abc is not in an ACTIVE state and usage is not allowed."), Fault.BAD_REQUEST),
    Row("gemini", 401, gemini(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.", google_reason("ACCESS_TOKEN_TYPE_UNSUPPORTED")), Fault.AUTH),
    Row("gemini", 402, gemini(402, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted."), Fault.QUOTA),
    Row("gemini", 403, gemini(403, "PERMISSION_DENIED", "The caller does not have permission"), Fault.PERMISSION),
    Row("gemini", 403, gemini(403, "PERMISSION_DENIED", "Your API key was reported as leaked. Please use another API key."), Fault.AUTH),
    Row("gemini", 404, gemini(404, "NOT_FOUND", "models/gemini-0 is not found for API version v1beta, or is not supported for generateContent."), Fault.MODEL, {}, {}, "gemini-0"),
    Row("gemini", 404, gemini(404, "NOT_FOUND", "Requested entity was not found."), Fault.MODEL),
    Row("gemini", 404, page("Error 404 (Not Found)!!1"), Fault.MISCONFIGURED),
    Row("gemini", 429, gemini(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota, please check your plan and billing details.", google_quota("GenerateRequestsPerMinutePerProjectPerModel"), google_retry("36s")), Fault.RATE_LIMIT, {"retry_after": 36.0, "whole_key": False}),
    Row("gemini", 429, gemini(429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."), Fault.RATE_LIMIT, {"retry_after": None}),
    Row("gemini", 429, gemini(429, "RESOURCE_EXHAUSTED", "Quota exceeded. Please retry in 36.4s."), Fault.RATE_LIMIT, {"retry_after": 36.4}),
    Row("gemini", 429, gemini(429, "RESOURCE_EXHAUSTED", "Quota exceeded.", google_quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier"), google_retry("0.5s")), Fault.RATE_LIMIT, {"retry_after": 0.5, "whole_key": False}),
    # 2027-01-15T08:00:00Z is midnight in California.
    Row("gemini", 429, gemini(429, "RESOURCE_EXHAUSTED", "Quota exceeded.", google_quota("GenerateRequestsPerDayPerProject")), Fault.RATE_LIMIT, {"retry_after": 86_400.0, "whole_key": True}),
    Row("gemini", 499, gemini(499, "CANCELLED", "The operation was cancelled."), Fault.SERVER),
    Row("gemini", 500, gemini(500, "INTERNAL", "An internal error has occurred."), Fault.SERVER),
    Row("gemini", 503, gemini(503, "UNAVAILABLE", "The model is overloaded. Please try again later."), Fault.OVERLOADED),
    Row("gemini", 504, gemini(504, "DEADLINE_EXCEEDED", "The request timed out."), Fault.SERVER),
]  # fmt: skip

DEEPSEEK = [
    Row("deepseek", 400, openai("Invalid request format", "invalid_request_error", "invalid_request_error"), Fault.BAD_REQUEST),
    Row("deepseek", 400, openai("Model Not Exist", "invalid_request_error", "invalid_request_error"), Fault.MODEL),
    Row("deepseek", 400, openai("Content Exists Risk", "invalid_request_error", "invalid_request_error"), Fault.CONTENT_FILTER),
    Row("deepseek", 400, openai("Missing `reasoning_content` field in the assistant message at message index 1.", "invalid_request_error"), Fault.UNSUPPORTED_PARAMETER, {"parameter": None}),
    Row("deepseek", 401, openai("Authentication Fails, Your api key: ****7890 is invalid", "authentication_error", "invalid_request_error"), Fault.AUTH),
    Row("deepseek", 402, openai("Insufficient Balance", "unknown_error", "invalid_request_error"), Fault.QUOTA),
    Row("deepseek", 422, openai("Invalid parameters", "invalid_request_error"), Fault.BAD_REQUEST),
    Row("deepseek", 429, openai("Too many concurrent requests", "rate_limit_error"), Fault.RATE_LIMIT),
    Row("deepseek", 500, openai("Server error", "server_error"), Fault.SERVER),
    Row("deepseek", 503, openai("Server overloaded", "service_unavailable_error"), Fault.OVERLOADED),
]  # fmt: skip

HOLYSHEEP = [
    Row("holysheep", 401, openai("Invalid API key", "invalid_request_error", "invalid_api_key"), Fault.AUTH),
    Row("holysheep", 402, openai("No balance"), Fault.QUOTA),
    Row("holysheep", 403, openai("Insufficient balance on this account"), Fault.QUOTA),
    Row("holysheep", 403, openai("This model is not in your plan"), Fault.PERMISSION),
    Row("holysheep", 429, openai("Too many requests"), Fault.RATE_LIMIT),
    Row("holysheep", 502, page("502 Bad Gateway"), Fault.SERVER),
]  # fmt: skip

AZURE = [
    Row("azure", 400, {"error": {"code": "content_filter", "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.", "param": "prompt", "type": None, "status": 400, "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {"hate": {"filtered": True, "severity": "high"}}}}}, Fault.CONTENT_FILTER, {"code": "content_filter"}),
    Row("azure", 400, {"error": {"code": None, "message": "filtered", "innererror": {"code": "ResponsibleAIPolicyViolation"}}}, Fault.CONTENT_FILTER),
    Row("azure", 401, {"error": {"code": "401", "message": "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an active subscription and use a correct regional API endpoint for your resource."}}, Fault.AUTH, {"code": None}),
    Row("azure", 401, {"error": {"code": "PermissionDenied", "message": "The principal lacks the required data action."}}, Fault.AUTH),
    Row("azure", 403, {"error": {"code": "403", "message": "Access denied due to Virtual Network/Firewall rules."}}, Fault.PERMISSION),
    Row("azure", 404, {"error": {"code": "DeploymentNotFound", "message": "The API deployment for this resource does not exist."}}, Fault.MODEL),
    Row("azure", 404, {"error": {"code": "404", "message": "Resource not found"}}, Fault.MISCONFIGURED),
    Row("azure", 400, {"error": {"code": "OperationNotSupported", "message": "The chatCompletion operation does not work with the specified model, text-embedding-3."}}, Fault.MODEL),
    Row("azure", 408, {"error": {"code": "Timeout", "message": "The operation was timeout."}}, Fault.SERVER),
    Row("azure", 429, {"error": {"code": "429", "message": "Requests have exceeded call rate limit. Please retry after 23 seconds."}}, Fault.RATE_LIMIT, {"retry_after": 1.25}, {"retry-after-ms": "1250", "retry-after": "2"}),
    Row("azure", 429, {"error": {"code": "429", "message": "Please retry after 23 seconds."}}, Fault.RATE_LIMIT, {"retry_after": 23.0}, {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1s"}),
    Row("azure", 429, {"error": {"code": "429", "message": "Too fast."}}, Fault.RATE_LIMIT, {"retry_after": None}, {"x-ratelimit-remaining-tokens": "-1", "x-ratelimit-reset-tokens": "0"}),
    Row("azure", 500, {"error": {"code": "InternalServerError", "message": "Backend returned unexpected response."}}, Fault.SERVER),
    Row("azure", 503, {"error": {"code": "ServiceUnavailable", "message": "The service is temporarily unable to process your request."}}, Fault.OVERLOADED),
]  # fmt: skip

OPENROUTER = [
    Row("openrouter", 400, {"error": {"code": 400, "message": "Invalid input"}}, Fault.BAD_REQUEST, {"code": None}),
    Row("openrouter", 400, {"error": {"code": 400, "message": "nobody/nothing is not a valid model ID"}}, Fault.MODEL),
    Row("openrouter", 401, {"error": {"code": 401, "message": "No auth credentials found"}}, Fault.AUTH),
    Row("openrouter", 402, {"error": {"code": 402, "message": "This request requires more credits, or fewer max_tokens."}}, Fault.QUOTA),
    Row("openrouter", 403, {"error": {"code": 403, "message": "Your chosen model requires moderation and your input was flagged", "metadata": {"reasons": ["harassment"], "flagged_input": "the prompt"}}}, Fault.CONTENT_FILTER),
    Row("openrouter", 403, {"error": {"code": 403, "message": "Key limit exceeded (total limit)."}}, Fault.QUOTA),
    Row("openrouter", 403, {"error": {"code": 403, "message": "This key may not use the model."}}, Fault.PERMISSION),
    Row("openrouter", 404, {"error": {"code": 404, "message": "No endpoints found for nobody/nothing."}}, Fault.MODEL),
    Row("openrouter", 404, {"error": {"code": 404, "message": "No endpoints found that support tool use."}}, Fault.UNSUPPORTED_PARAMETER, {"parameter": None}),
    Row("openrouter", 408, {"error": {"code": 408, "message": "Timed out"}}, Fault.SERVER),
    Row("openrouter", 413, {"error": {"code": 413, "message": "Too large"}}, Fault.CONTEXT),
    Row("openrouter", 429, {"error": {"code": 429, "message": "Rate limit exceeded: free-models-per-day"}}, Fault.RATE_LIMIT, {"whole_key": True}),
    Row("openrouter", 429, {"error": {"code": 429, "message": "Provider returned error", "metadata": {"provider_name": "X", "raw": "upstream is rate-limited, retry shortly"}}}, Fault.RATE_LIMIT, {"retry_after": 5.0}, {"Retry-After": "5"}),
    Row("openrouter", 502, {"error": {"code": 502, "message": "Provider returned an invalid reply"}}, Fault.SERVER),
    Row("openrouter", 503, {"error": {"code": 503, "message": "No available model provider that meets your routing requirements", "availability": {"code": "no_capacity", "retryable": True, "retry_after": 9}}}, Fault.OVERLOADED, {"retry_after": 9.0, "should_retry": True}),
    Row("openrouter", 524, {"error": {"code": 524, "message": "Upstream timeout"}}, Fault.SERVER),
    Row("openrouter", 529, {"error": {"code": 529, "message": "Upstream overloaded"}}, Fault.OVERLOADED),
]  # fmt: skip

GROQ = [
    Row("groq", 400, openai("'messages' : minimum number of items is 1", "invalid_request_error"), Fault.BAD_REQUEST),
    Row("groq", 400, openai("The model `llama-1` has been decommissioned and is no longer supported.", "invalid_request_error", "model_decommissioned"), Fault.MODEL),
    Row("groq", 400, openai("Organization has been restricted.", "invalid_request_error", "organization_restricted"), Fault.QUOTA),
    Row("groq", 400, openai("Failed to call a function. Please adjust your prompt.", "invalid_request_error", "tool_use_failed"), Fault.CONFLICT),
    Row("groq", 401, openai("Invalid API Key", "invalid_request_error", "invalid_api_key"), Fault.AUTH),
    Row("groq", 403, openai("Forbidden", "permissions_error"), Fault.PERMISSION),
    Row("groq", 404, openai("The model `nothing` does not exist or you do not have access to it.", "invalid_request_error", "model_not_found"), Fault.MODEL),
    Row("groq", 404, openai("Unknown request URL: POST /openai/chat/completions.", "invalid_request_error", "unknown_url"), Fault.MISCONFIGURED),
    Row("groq", 413, openai("Request too large for model `llama` on tokens per minute (TPM): Limit 6000, Requested 12000", "tokens", "rate_limit_exceeded"), Fault.CONTEXT),
    Row("groq", 422, openai("Semantic error", "invalid_request_error"), Fault.BAD_REQUEST),
    Row("groq", 422, openai("The model called a tool that does not exist", "invalid_request_error", "tool_use_failed"), Fault.CONFLICT),
    Row("groq", 424, openai("Failed dependency", "invalid_request_error"), Fault.SERVER),
    Row("groq", 429, openai("Rate limit reached for model `llama` in organization `org_1` on tokens per minute (TPM). Please try again in 9m38.4s.", "tokens", "rate_limit_exceeded"), Fault.RATE_LIMIT, {"retry_after": 578.4, "whole_key": False}),
    Row("groq", 429, openai("Rate limit reached", "requests", "rate_limit_exceeded"), Fault.RATE_LIMIT, {"retry_after": 1200.0}, {"retry-after": "1200"}),
    Row("groq", 498, openai("Flex tier capacity exceeded", "invalid_request_error", "capacity_exceeded"), Fault.OVERLOADED),
    Row("groq", 498, "", Fault.OVERLOADED),
    Row("groq", 499, openai("Request cancelled"), Fault.SERVER),
    Row("groq", 500, openai("Internal server error", "internal_server_error"), Fault.SERVER),
    Row("groq", 502, page("502 Bad Gateway"), Fault.SERVER),
    Row("groq", 503, openai("Service unavailable", "service_unavailable"), Fault.OVERLOADED),
]  # fmt: skip

MISTRAL = [
    Row("mistral", 400, mistral("Expected last role User or Tool", "invalid_request_message_order", "3230"), Fault.BAD_REQUEST, {"code": "3230"}),
    Row("mistral", 400, mistral("Tool call id was call_abcdef but must be a-z, A-Z, 0-9, with a length of 9.", "invalid_function_call", "3280"), Fault.UNSUPPORTED_PARAMETER, {"parameter": None}),
    Row("mistral", 400, mistral("Invalid model: mistral-zero", "invalid_model", "1500"), Fault.MODEL),
    Row("mistral", 400, mistral("Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length", "invalid_request_prompt", "3051"), Fault.CONTEXT),
    Row("mistral", 401, {"detail": "Unauthorized"}, Fault.AUTH),
    Row("mistral", 401, {"message": "Unauthorized", "request_id": "abc123"}, Fault.AUTH, {"request_id": "abc123"}),
    Row("mistral", 402, mistral("Payment required", "payment_required"), Fault.QUOTA),
    Row("mistral", 403, mistral("Forbidden", "forbidden"), Fault.PERMISSION),
    Row("mistral", 404, {"detail": "Not Found"}, Fault.MISCONFIGURED),
    Row("mistral", 422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted", "input": 1}]}, Fault.UNSUPPORTED_PARAMETER, {"parameter": "seed"}),
    Row("mistral", 422, {"object": "error", "message": {"detail": [{"type": "missing", "loc": ["body", "messages"], "msg": "Field required"}]}, "type": "invalid_request_error"}, Fault.BAD_REQUEST),
    Row("mistral", 422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "random_seed"], "msg": "Extra inputs are not permitted"}]}, Fault.UNSUPPORTED_PARAMETER, {"parameter": "seed"}),
    Row("mistral", 429, mistral("Requests rate limit exceeded", "rate_limited", "1300"), Fault.RATE_LIMIT),
    Row("mistral", 500, mistral("Internal error", "internal_server_error"), Fault.SERVER),
    Row("mistral", 502, "Bad Gateway", Fault.SERVER),
    Row("mistral", 503, "", Fault.OVERLOADED),
    Row("mistral", 504, page("504 Gateway Time-out"), Fault.SERVER),
]  # fmt: skip

XAI = [
    Row("xai", 400, xai("Client specified an invalid argument", "Incorrect API key provided: xa***ey. You can obtain an API key from https://console.x.ai."), Fault.AUTH, {"code": None}),
    Row("xai", 400, xai("Client specified an invalid argument", "Argument not supported on this model: presencePenalty"), Fault.UNSUPPORTED_PARAMETER, {"parameter": "presence_penalty"}),
    Row("xai", 400, xai("Client specified an invalid argument", "Model grok-4 does not support parameter stop."), Fault.UNSUPPORTED_PARAMETER, {"parameter": "stop"}),
    Row("xai", 400, xai("Client specified an invalid argument", "Each message must have at least one content element."), Fault.BAD_REQUEST),
    Row("xai", 401, xai("Unauthenticated", "No API key"), Fault.AUTH),
    Row("xai", 403, xai("The caller does not have permission to execute the specified operation", "The API key is blocked."), Fault.AUTH),
    Row("xai", 403, xai("The caller does not have permission to execute the specified operation", "Your newly created team doesn't have any credits or licenses yet."), Fault.QUOTA),
    Row("xai", 403, xai("The caller does not have permission to execute the specified operation", "Your team 1 has either used all available credits or reached its monthly spending limit."), Fault.QUOTA),
    Row("xai", 403, xai("Forbidden", "Content violates usage guidelines."), Fault.CONTENT_FILTER),
    Row("xai", 403, xai("The caller does not have permission to execute the specified operation", "This endpoint is not enabled for the key."), Fault.PERMISSION),
    Row("xai", 404, xai("Some requested entity was not found", "The model grok-0 does not exist or your team does not have access to it."), Fault.MODEL),
    Row("xai", 415, xai("Unsupported media type", "Expected request with `Content-Type: application/json`"), Fault.MISCONFIGURED),
    Row("xai", 422, "Failed to deserialize the JSON body into the target type: missing field `messages`", Fault.BAD_REQUEST),
    Row("xai", 429, xai("Some resource has been exhausted", "Your team 1 has either used all available credits or reached its monthly spending limit."), Fault.QUOTA),
    Row("xai", 429, xai("Some resource has been exhausted", "Too many requests for team 1 and model grok-4."), Fault.RATE_LIMIT),
]  # fmt: skip

TOGETHER = [
    Row("together", 400, openai("Invalid request", "invalid_request_error"), Fault.BAD_REQUEST),
    Row("together", 401, openai("Invalid API key provided", "invalid_request_error", "invalid_api_key"), Fault.AUTH),
    Row("together", 402, openai("You have reached your spending limit"), Fault.QUOTA),
    Row("together", 403, openai("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193.", "invalid_request_error"), Fault.CONTEXT),
    Row("together", 403, openai("Too long", "invalid_request_error"), Fault.CONTEXT),
    Row("together", 403, openai("Not allowed", "invalid_request_error", "permission_denied"), Fault.PERMISSION),
    Row("together", 404, openai("Unable to access model nobody/nothing. Please visit the list of models.", "invalid_request_error", "model_not_available"), Fault.MODEL),
    Row("together", 429, openai("Rate limited", "rate_limit"), Fault.RATE_LIMIT),
    Row("together", 500, openai("Internal server error", "server_error"), Fault.SERVER),
    Row("together", 503, openai("The server is overloaded", "service_unavailable"), Fault.OVERLOADED),
    Row("together", 504, "", Fault.SERVER),
    Row("together", 520, page("520: Web server is returning an unknown error"), Fault.SERVER),
    Row("together", 524, page("524: A timeout occurred"), Fault.SERVER),
    Row("together", 529, openai("Overloaded"), Fault.OVERLOADED),
]  # fmt: skip

LOCAL = [
    Row("ollama", 404, openai("model 'llama9' not found, try pulling it first", "api_error"), Fault.MODEL),
    Row("ollama", 404, {"error": "model 'llama9' not found"}, Fault.MODEL),
    Row("ollama", 404, "404 page not found", Fault.MISCONFIGURED),
    Row("ollama", 400, openai("registry.ollama.ai/library/gemma:2b does not support tools", "api_error"), Fault.UNSUPPORTED_PARAMETER, {"parameter": None}),
    Row("ollama", 400, openai("invalid message content type: <nil>", "invalid_request_error"), Fault.BAD_REQUEST),
    Row("ollama", 503, openai("server busy, please try again. maximum pending requests exceeded", "api_error"), Fault.OVERLOADED),
    Row("vllm", 401, {"error": "Unauthorized"}, Fault.AUTH),
    Row("vllm", 404, {"object": "error", "message": "The model `nothing` does not exist.", "type": "NotFoundError", "param": None, "code": 404}, Fault.MODEL),
    Row("vllm", 400, {"object": "error", "message": "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens.", "type": "BadRequestError", "param": None, "code": 400}, Fault.CONTEXT, {"code": "BadRequestError"}),
    Row("vllm", 400, {"error": {"message": "'max_tokens' or 'max_completion_tokens' is too large: 5000. This model's maximum context length is 4096 tokens and your request has 20 input tokens.", "type": "BadRequestError", "param": None, "code": 400}}, Fault.UNSUPPORTED_PARAMETER, {"parameter": "max_tokens"}),
    Row("vllm", 422, {"detail": [{"loc": ["body", "messages"], "msg": "field required", "type": "value_error.missing"}]}, Fault.BAD_REQUEST),
    Row("vllm", 503, "", Fault.OVERLOADED),
    Row("llamacpp", 503, {"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}}, Fault.OVERLOADED),
    Row("llamacpp", 401, {"error": {"code": 401, "message": "Invalid API Key", "type": "authentication_error"}}, Fault.AUTH),
    Row("llamacpp", 400, {"error": {"code": 400, "message": "the request exceeds the available context size, try increasing it", "type": "exceed_context_size_error", "n_prompt_tokens": 900, "n_ctx": 512}}, Fault.CONTEXT),
    Row("llamacpp", 500, {"error": {"code": 500, "message": "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj", "type": "server_error"}}, Fault.UNSUPPORTED_PARAMETER, {"parameter": None}),
    Row("llamacpp", 500, {"error": {"code": 500, "message": "tools param requires --jinja flag", "type": "server_error"}}, Fault.UNSUPPORTED_PARAMETER, {"parameter": None}),
    Row("llamacpp", 500, {"error": {"code": 500, "message": "Failed to decode", "type": "server_error"}}, Fault.SERVER),
    Row("llamacpp", 404, {"error": {"code": 404, "message": "File Not Found", "type": "not_found_error"}}, Fault.MISCONFIGURED),
    Row("llamacpp", 401, {"detail": "Invalid API key"}, Fault.AUTH),
    Row("llamacpp", 400, openai("This model's maximum context length is 512 tokens.", "invalid_request_error", "context_length_exceeded", "messages"), Fault.CONTEXT),
    Row("llamacpp", 500, openai("[{'type': 'missing', 'loc': ('body', 'messages'), 'msg': 'Field required', 'input': {}}]", "internal_server_error"), Fault.BAD_REQUEST),
    Row("lmstudio", 404, openai("Model not found", "invalid_request_error", "model_not_found"), Fault.MODEL),
    Row("lmstudio", 400, {"error": "Trying to keep the first 5000 tokens when context the overflows. The number of tokens to keep is greater than the context length."}, Fault.CONTEXT),
]  # fmt: skip

IN_BETWEEN = [
    Row("openai", 301, "", Fault.MISCONFIGURED, {}, {"Location": "https://elsewhere.example/v1?token=abc"}),
    Row("openai", 304, "", Fault.MISCONFIGURED),
    Row("openai", 400, page("400 The plain HTTP request was sent to HTTPS port"), Fault.MISCONFIGURED),
    Row("openai", 403, page("Attention Required! | Cloudflare"), Fault.SERVER),
    Row("openai", 403, "RBAC: access denied", Fault.SERVER),
    Row("openai", 403, "", Fault.SERVER),
    Row("together", 403, page("Just a moment..."), Fault.SERVER),
    Row("openrouter", 403, page("Just a moment..."), Fault.SERVER),
    Row("openai", 403, {"message": "Forbidden"}, Fault.PERMISSION),
    Row("openai", 404, page("404 Not Found"), Fault.MISCONFIGURED),
    Row("openai", 404, {"detail": "Not Found"}, Fault.MISCONFIGURED),
    Row("openai", 404, "", Fault.MISCONFIGURED),
    Row("openai", 404, {"error": {"message": "no route for gpt-4.1-mini"}}, Fault.MODEL, {}, {}, "gpt-4.1-mini"),
    Row("openai", 407, page("Proxy Authentication Required"), Fault.NETWORK),
    Row("openai", 410, "", Fault.MISCONFIGURED),
    Row("openai", 410, {"error": {"message": "This model has been retired"}}, Fault.MODEL),
    Row("openai", 418, "", Fault.MALFORMED),
    Row("openai", 421, "", Fault.MISCONFIGURED),
    Row("openai", 425, "", Fault.SERVER),
    Row("openai", 426, "", Fault.MISCONFIGURED),
    Row("openai", 429, page("Too Many Requests"), Fault.RATE_LIMIT, {"retry_after": None}),
    Row("openai", 500, {"errors": [{"message": "upstream"}]}, Fault.SERVER),
    Row("openai", 501, page("Unsupported method ('POST')"), Fault.MISCONFIGURED),
    Row("openai", 502, page("502 Bad Gateway"), Fault.SERVER),
    Row("openai", 503, page("503 Service Temporarily Unavailable"), Fault.OVERLOADED, {"retry_after": 120.0}, {"Retry-After": "120"}),
    Row("openai", 511, page("Sign in to the network"), Fault.NETWORK),
    Row("openai", 522, page("522: Connection timed out"), Fault.SERVER),
    Row("openai", 599, b"\xff\xfe\x00", Fault.SERVER),
    Row("nobody-knows-it", 429, openai("x", "insufficient_quota", "insufficient_quota"), Fault.QUOTA),
    Row("nobody-knows-it", 400, openai("x", None, "unsupported_parameter", "seed"), Fault.UNSUPPORTED_PARAMETER, {"parameter": "seed"}),
    Row("nobody-knows-it", 403, openai("Region not supported", None, "forbidden"), Fault.PERMISSION),
]  # fmt: skip

ROWS = [
    *OPENAI, *ANTHROPIC, *GEMINI, *DEEPSEEK, *HOLYSHEEP, *AZURE, *OPENROUTER, *GROQ, *MISTRAL, *XAI, *TOGETHER, *LOCAL,
    *IN_BETWEEN,
]  # fmt: skip
