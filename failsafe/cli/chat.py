"""``failsafe chat``: one question, answered by whoever can."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from failsafe.cli.numbers import SECONDS, Finite
from failsafe.cli.settings import chosen_model, config_option, load
from failsafe.model_names import same_model
from failsafe.models import ChatParameters, Reply
from failsafe.receipt import report
from failsafe.router import Router


@click.command(short_help="Ask one question and print the answer.")
@click.argument("prompt", required=False)
@config_option
@click.option("-m", "--model", metavar="MODEL", help="A model, an alias, or provider:model.")
@click.option("-s", "--system", metavar="TEXT", help="A system prompt.")
@click.option(
    "-t", "--timeout", type=SECONDS, metavar="SECONDS",
    help="For the whole call, failovers included; else what the settings say, else 60.",
)  # fmt: skip
@click.option("--max-tokens", type=click.IntRange(min=1), metavar="N", help="The longest answer.")
@click.option("--temperature", type=Finite(0, 2), help="How freely to choose words.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole reply with its receipt as one JSON object.")
@click.option("-v", "--verbose", is_flag=True, help="Show the receipt of every call, not only of troubled ones.")
def chat(
    prompt: str | None,
    path: Path | None,
    model: str | None,
    system: str | None,
    timeout: float | None,
    max_tokens: int | None,
    temperature: float | None,
    as_json: bool,
    verbose: bool,
) -> None:
    """
    Ask PROMPT and print the answer.

    Without PROMPT, or with "-", the question is read from standard input. The answer goes to
    standard output; what happened on the way, if anything did, to standard error.
    """
    config = load(path)
    messages = [{"role": "system", "content": _utf8("--system", system)}] if system else []
    messages.append({"role": "user", "content": _question(prompt, config.max_request_bytes)})
    parameters = ChatParameters()
    if max_tokens is not None:
        parameters["max_tokens"] = max_tokens
    if temperature is not None:
        parameters["temperature"] = temperature
    with Router(config) as router:
        reply = router.chat(
            messages, model=chosen_model(config, model), timeout=timeout or config.timeout, **parameters
        )
    click.echo(_as_json(reply) if as_json else _said(reply))
    if verbose or (_eventful(reply) and not as_json):
        click.echo(receipt(reply), err=True)


def _question(prompt: str | None, limit: int) -> str:
    if prompt is not None and prompt != "-":
        text = _utf8("PROMPT", prompt)
    elif sys.stdin is None or (prompt is None and sys.stdin.isatty()):
        raise click.UsageError('a PROMPT is needed, e.g. failsafe chat "Say hi"; or pipe one in')
    else:
        text = _standard_input(limit)
    if not text.strip():
        raise click.UsageError("the prompt is empty")
    return text


def _standard_input(limit: int) -> str:
    piped = sys.stdin.buffer.read(limit + 1)  # no more: it may have no end
    if len(piped) > limit:
        raise click.UsageError(f"standard input has more than {limit:,} bytes (max_request_bytes in the settings)")
    try:
        return piped.decode("utf-8-sig")  # PowerShell pipes a byte order mark
    except UnicodeDecodeError as error:
        raise click.UsageError(f"standard input is not UTF-8 (byte {error.start + 1})") from None


def _utf8(what: str, given: str) -> str:
    """The argument *given*, whatever the locale took its bytes for."""
    try:
        return given.encode("utf-8", "surrogateescape").decode()
    except (UnicodeEncodeError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{what} is not UTF-8 (byte {error.start + 1})") from None


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


def _eventful(reply: Reply) -> bool:
    """Whether more happened than that the first one asked answered what was asked."""
    changed = any(each.action in ("dropped", "clamped") for each in reply.adjustments)
    cut = reply.finish_reason in ("length", "content_filter")
    return len(reply.attempts) > 1 or changed or cut or not same_model(reply.asked_model, reply.model)


def receipt(reply: Reply) -> str:
    """The way to *reply* in lines: every attempt, who was left alone, every change to the request, the tokens."""
    usage = reply.usage
    headline = (
        f"answered by {reply.provider} ({reply.model}) in {reply.latency_ms:.0f} ms, "
        f"{usage.prompt_tokens:,} + {usage.completion_tokens:,} tokens"
    )
    lines = [report(headline, reply.attempts, reply.skipped)]
    lines += [f"  {each.parameter} was {each.action}: {each.detail}" for each in reply.adjustments]
    if not same_model(reply.asked_model, reply.model):
        lines.append(f"  {reply.asked_model} was asked for, and {reply.model} answered")
    if reply.finish_reason == "length":
        lines.append("  the answer ends where the limit on its length was reached")
    if reply.finish_reason == "content_filter":
        lines.append("  the answer ends where the provider's content policy stopped it")
    return "\n".join(lines)
