"""Which parameter a refusal is about."""

from __future__ import annotations

import pytest

from failsafe.providers.error_body import ErrorBody
from failsafe.providers.refusals import refused_parameter


def saying(message: str, parameter: str | None = None) -> str | None:
    return refused_parameter(ErrorBody(kind="json", message=message, parameter=parameter))


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ("top_k: Extra inputs are not permitted", "top_k"),
        ("generation_config.top_k: Extra inputs are not permitted", "top_k"),
        ("messages.0.content.1.name: Extra inputs are not permitted", "messages.0.content.1.name"),
        ("Invalid JSON payload received. Unknown name \"topP\" at 'generation_config': Cannot find field.", "top_p"),
        ("Unrecognized request argument supplied: foo", "foo"),
        ("Unrecognized request arguments supplied: foo, bar", "foo"),
        ("Argument not supported on this model: frequencyPenalty", "frequency_penalty"),
        ("Model grok-4 does not support parameter stop.", "stop"),
        ("`temperature` is deprecated for this model.", "temperature"),
        ("Unsupported value: 'messages[0].role' does not support 'system' with this model.", "messages[0].role"),
        ("max_tokens is too large: 9", "max_tokens"),
        ("This is not supported with this model", None),
        ("", None),
    ],
)
def test_the_name_is_found_in_the_message(message: str, name: str | None) -> None:
    assert saying(message) == name


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("temperature", "temperature"),
        ("maxOutputTokens", "max_tokens"),
        ("max_completion_tokens", "max_completion_tokens"),
        ("generation_config.stopSequences", "stop"),
        ("stop_sequences", "stop"),
        ("random_seed", "seed"),
        ("responseSchema", "response_format"),
        ("thinking.budget_tokens", "reasoning_effort"),
        ("thinkingConfig", "reasoning_effort"),
        ("output_config.effort", "reasoning_effort"),
        ("metadata.user_id", "user"),
        ("responseLogprobs", "logprobs"),
    ],
)
def test_the_bodys_own_field_wins_and_is_given_in_our_names(theirs: str, ours: str) -> None:
    assert saying("'something' else", theirs) == ours
