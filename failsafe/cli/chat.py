"""``failsafe chat``: one question, answered by whoever can."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from failsafe.cli.settings import chosen_model, config_option, load
from failsafe.models import Attempt, ChatParameters, Reply
from failsafe.router import Router


@click.command()
@click.argument("prompt", required=False)
@config_option
@click.option("-m", "--model", help="A model, an alias, or provider:model.")
@click.option("-s", "--system", help="A system prompt.")
@click.option("-t", "--timeout", type=float, default=60.0, show_default=True, help="Seconds for the whole call.")
@click.option("--max-tokens", type=int, help="The longest answer.")
@click.option("--temperature", type=float, help="0 to 2.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole reply with its receipt as JSON.")
@click.option("-v", "--verbose", is_flag=True, help="Show the receipt of every call, not only of troubled ones.")
def chat(
    prompt: str | None,
    path: Path | None,
    model: str | None,
    system: str | None,
    timeout: float,
    max_tokens: int | None,
    temperature: float | None,
    as_json: bool,
    verbose: bool,
) -> None:
    """
    Ask PROMPT (or what comes on standard input) and print the answer.

    The answer goes to standard output; what happened on the way goes to standard error.
    """
    text = _prompt(prompt)
    config = load(path)
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": text})
    parameters = ChatParameters()
    if max_tokens is not None:
        parameters["max_tokens"] = max_tokens
    if temperature is not None:
        parameters["temperature"] = temperature
    with Router(config) as router:
        reply = router.chat(messages, model=chosen_model(config, model), timeout=timeout, **parameters)
    click.echo(_as_json(reply) if as_json else _said(reply))
    if verbose or (len(reply.attempts) > 1 and not as_json):
        click.echo(receipt(reply), err=True)


def _prompt(prompt: str | None) -> str:
    if prompt is None or prompt == "-":
        if prompt is None and sys.stdin.isatty():
            raise click.UsageError('a PROMPT is needed, e.g. failsafe chat "Say hi"; or pipe one in')
        prompt = _standard_input()
    if not prompt.strip():
        raise click.UsageError("the prompt is empty")
    return prompt


def _standard_input() -> str:
    piped = sys.stdin.buffer.read()
    try:
        return piped.decode()
    except UnicodeDecodeError as error:
        raise click.UsageError(f"standard input is not UTF-8 (byte {error.start + 1})") from None


def _as_json(reply: Reply) -> bytes:
    fields = msgspec.structs.asdict(reply)
    del fields["raw"]  # the provider's own body, of which everything else here is made
    return msgspec.json.encode(fields)


def _said(reply: Reply) -> str:
    if reply.content:
        return reply.content
    if reply.refusal:
        return reply.refusal
    return "\n".join(f"{call.name}({call.arguments})" for call in reply.tool_calls)


def receipt(reply: Reply) -> str:
    """The way to *reply* in lines: every attempt, every change to the request, the tokens."""
    lines = [_line(attempt) for attempt in reply.attempts]
    lines += [f"  {each.parameter} {each.action}: {each.detail}" for each in reply.adjustments]
    usage = reply.usage
    lines.append(
        f"[{reply.provider} {reply.model}, {reply.latency_ms:.0f} ms, "
        f"{usage.prompt_tokens} + {usage.completion_tokens} tokens]"
    )
    return "\n".join(lines)


def _line(attempt: Attempt) -> str:
    outcome = "answered" if attempt.fault is None else f"{attempt.fault}: {attempt.message}"
    return f"  {attempt.provider} ({attempt.model}): {outcome} [{attempt.latency_ms:.0f} ms]"
