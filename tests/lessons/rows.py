"""
What broke in other projects, what follows from it for us, and the tests that hold it: the table of ``docs/lessons.md``.

A test belongs to the row whose number its name begins with. ``PYTHONPATH=. python -m tests.lessons.rows`` prints
the table, to be pasted into the guide.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).resolve().parent


class Row(NamedTuple):
    """
    One lesson.

    Attributes:
        number: Its number; the names of its tests begin with it.
        where: The issues and pull requests, as repository#number.
        broke: What went wrong there.
        rule: What we do.
        not_here: What of it does not apply here (yet), and why; empty where all of it does.
    """

    number: int
    where: str
    broke: str
    rule: str
    not_here: str = ""


class Topic(NamedTuple):
    """Rows that belong together; their tests are in ``test_lessons_<file>.py``."""

    title: str
    file: str
    rows: tuple[Row, ...]


TOPICS = (
    Topic(
        "Half-open that never ends",
        "half_open",
        (
            Row(
                1,
                "resilience4j/resilience4j#544",
                "The last probe ended with an error that does not count. Nothing was recorded, its place was never "
                "given back, and the breaker stayed half-open.",
                "An outcome that does not count gives the permit back.",
            ),
            Row(
                2,
                "resilience4j/resilience4j#903, #935",
                "Probes that never answered held every place.",
                "Each probe has a lease, `half_open_max_wait`. When every place is taken and the oldest lease is over, "
                "the breaker opens, and later probes with fresh places.",
            ),
            Row(
                3,
                "resilience4j/resilience4j#1389",
                "Only one family of exceptions was caught; what belonged to another lost the permit.",
                "Every way out settles the permit, `BaseException` included.",
            ),
            Row(
                4,
                "svroonland/rezilience#521, BerriAI/litellm#39701, resilience4j/resilience4j#858, #1568",
                "A first probe that was interrupted, or a permit that was asked for and never used, shut the service "
                "out for ever.",
                "A permit is a context manager; interruption and cancellation release it, in a router too; one that "
                "nobody settles is taken back when its lease is over.",
            ),
            Row(
                5,
                "resilience4j/resilience4j#2028, #2289",
                "The verdict was a rate over so many probes. With little traffic, half-open lasted for hours.",
                "So many successes close it, however far apart; the first failed probe opens it.",
            ),
            Row(
                6,
                "App-vNext/Polly#311, #717, #1979",
                "An unforeseen exception or a cancellation in the probe left the breaker half-open; the repair counted "
                "it as a success and closed.",
                "Cancellation is neutral: it gives the place back, and is neither a success nor a failure.",
            ),
            Row(
                7,
                "Netflix/Hystrix#1621, #1633, #1723",
                "A probe that the thread pool refused, or that failed before it was sent, left the circuit open "
                "for ever.",
                "The permit is taken last, after whatever else may refuse, and released if something inside refuses "
                "after all: bulkhead, rate limiter, another breaker, retry budget.",
            ),
            Row(
                8,
                "monix/monix#1080",
                "A task that was cancelled in half-open left it half-open for ever.",
                "A call that a `CancelToken` ends gives its probe back.",
            ),
            Row(
                9,
                "diegosouzapw/OmniRoute#13836, getnora-io/nora#585, #607, DeliciousBuding/metapi-go#791, "
                "erpc/erpc#1118",
                "The only probe was never settled, or left by a path that recorded nothing (a 4xx, a broken body): a "
                "healthy provider was shut out for days. Elsewhere prompt refusals were ignored at such a price that a "
                "verdict took dozens of calls.",
                "The lease bounds what is lost; every kind of answer settles; an ignored outcome costs no place and "
                "no clock runs against it.",
            ),
        ),
    ),
    Topic(
        "Too many probes",
        "probes",
        (
            Row(
                10,
                "resilience4j/resilience4j#1432",
                "At the moment of reopening several threads got in beyond the limit.",
                "The transition and its first permit are one step under one lock.",
            ),
            Row(
                11,
                "resilience4j/resilience4j#1003, safe-global/safe-client-gateway#3442",
                "A decorator took two permits for a call; without a cap, a hanging upstream under half-open "
                "multiplied the traffic.",
                "One call takes one permit, and the cap is on probes in flight.",
            ),
            Row(
                12,
                "resilience4j/resilience4j#1090",
                "Calls admitted before the opening came back in half-open and counted as probes.",
                "A permit belongs to the period it was granted in, and to no other.",
            ),
            Row(
                13,
                "failsafe-lib/failsafe#391",
                "Late records freed places that they had never taken, without bound.",
                "Only a probe of the present period frees a place, and once.",
            ),
            Row(
                14,
                "failsafe-lib/failsafe#135, OpenLiberty/open-liberty#7080",
                "Asking whether a call is allowed took nothing, so that those who used the breaker by hand had no cap.",
                "`try_acquire()` takes the permit; `state`, `retry_after` and `stats()` change nothing.",
            ),
            Row(
                15,
                "App-vNext/Polly#216, #223, Skyscanner/pyfailsafe#31, smallrye/smallrye-fault-tolerance#319, #323, "
                "Llucs/backon#26, llm4s/llm4s#460, takapi327/ldbc#734",
                "A stampede of probes at the reopening; wrappers read the state instead of asking for a permit.",
                "Every shell, a retry and the router go through the permit; nobody decides by reading the state.",
            ),
            Row(
                16,
                "antflydb/termite#27",
                "A formal model found an order of events with more probes than the cap.",
                "Random orders of events are tried against the cap, and against a model of the whole breaker.",
            ),
            Row(
                17,
                "circuitbreaker 2.1.3, aiobreaker 1.2.0 (measured)",
                "In half-open, 20 of 20 calls made at once got through.",
                "`half_open_max_calls` of them do: three by default.",
            ),
        ),
    ),
    Topic(
        "Stale results",
        "stale",
        (
            Row(
                18,
                "App-vNext/Polly#217, #218",
                "A long call from before the opening came back in half-open and closed the circuit; late failures "
                "told of the opening again.",
                "A result of an earlier period does nothing, and is told to nobody.",
            ),
            Row(
                19,
                "denoland/std#7306, #7097",
                "A probe of an earlier half-open closed the next one and freed a place it did not have; the open time "
                "was counted from the probe's admission.",
                "Probes count in their own period only; the open time begins when the failure is recorded.",
            ),
            Row(
                20,
                "ray-project/ray#65068, cockroachdb/circuitbreaker#2",
                "A late success closed an open circuit (by accident in one, on purpose in the other).",
                "An open breaker ignores outcomes; only probes close it.",
            ),
            Row(
                21,
                "telekom/k8s-breakglass#981",
                "Late results took the count in flight below zero, which lifted the cap.",
                "What is in flight is a set of permits, not a number.",
            ),
            Row(
                22,
                "Abilityai/trinity#688",
                "Failures of calls under way kept beginning the open time anew; half-open never came.",
                "A failure while open moves no timer, whatever `Retry-After` it carries.",
            ),
            Row(
                23,
                "sony/gobreaker#91",
                "A burst already in flight overshoots the threshold. Reported as a bug, it is by design.",
                "The same here: a breaker bounds admissions. Put a `Bulkhead` beside it to bound what is in flight.",
            ),
        ),
    ),
    Topic(
        "Races inside the breaker",
        "races",
        (
            Row(
                24,
                "Netflix/Hystrix#1781, #1806, #2108, #1853, #1861",
                "State and time of opening were two variables; stopped between the two, the circuit was open for ever.",
                "The state is one object, replaced as a whole: interrupted before any line, a breaker finds back.",
                "#1853 and #1861 are races of a health stream's subscribers; there is no such stream here.",
            ),
            Row(
                25,
                "resilience4j/resilience4j#562, #674",
                "Two threads made the same transition; one caller got an exception about it.",
                "Transitions are idempotent under the lock, and raise nothing.",
            ),
            Row(
                26,
                "resilience4j/resilience4j#2038",
                "With a wait of nothing, open and half-open called each other until the stack was full.",
                "An open time of 0 is refused, and nothing in a transition calls itself.",
            ),
            Row(
                27,
                "resilience4j/resilience4j#991, #1039",
                "The timer of one open period survived a reset and ended the next period too soon.",
                "There is no timer: whoever asks compares the clock.",
            ),
            Row(
                28,
                "Netflix/concurrency-limits#140, #234, svroonland/rezilience#246, agentscope-ai/agentscope-java#2984, "
                "thomhurst/Kevlar#24",
                "Counting and deciding were two steps: limits were overrun, openings missed, or made for a streak that "
                "was already cleared. Events overtook each other.",
                "Both are one step under one lock; events are queued in it, and told by one thread at a time.",
            ),
        ),
    ),
    Topic(
        "Locks and callbacks",
        "locks",
        (
            Row(
                29,
                "danielfm/pybreaker#3, #40, #41, #55, #57, #77",
                "The lock was held over the protected call: every call waited for every other, nested ones for ever.",
                "Locks cover bookkeeping only; calls run side by side, and may use their own breaker.",
            ),
            Row(
                30,
                "sony/gobreaker#37, #39, #119",
                "Listeners ran under the lock; one that asked for the state deadlocked.",
                "Listeners are called after unlocking, in order; what they raise is logged, and goes no further.",
            ),
            Row(
                31,
                "fabfuel/circuitbreaker#61",
                "No lock at all: counts were lost.",
                "No outcome is lost, whatever the threads do.",
            ),
            Row(
                32,
                "danielfm/pybreaker 1.4.1 (measured)",
                "The call that trips the breaker raised the breaker's error in place of its own.",
                "The caller gets the very error; `CircuitOpenError` means that the call was not made.",
            ),
        ),
    ),
    Topic(
        "Clocks",
        "clocks",
        (
            Row(
                33,
                "resilience4j/resilience4j#734, #2234, #2241",
                "The open time went by the time of day: setting the clock stretched or collapsed it.",
                "Waits are measured on a monotonic clock; the time of day is only shown.",
            ),
            Row(
                34,
                "EtaCassiopeia/zio-openfeature#263",
                "A clock that went back left the circuit open.",
                "Nobody is told to wait longer than the whole open time.",
            ),
            Row(
                35,
                "danielfm/pybreaker#24, #26, #36, #107",
                "The time of opening was rounded to seconds, or written anew by later calls.",
                "Fractions count; a refused call changes nothing.",
                "The same in a shared store: arrives with the shared state.",
            ),
            Row(
                36,
                "aiobreaker 1.2.0 (measured)",
                "UTC was compared with local time: hours too long in one zone, no wait at all in another.",
                "No time of day, so no time zone.",
            ),
            Row(
                37,
                "akka/akka#20029",
                "A refusal did not say how long it would last.",
                "`CircuitOpenError.retry_after` says it, and so does the router's own error.",
            ),
        ),
    ),
    Topic(
        "Herds and flapping",
        "herd",
        (
            Row(
                38,
                "failsafe-lib/failsafe#70, failsafe-go/failsafe-go#142, connor4312/cockatiel#73, "
                "reddit/baseplate.go#697",
                "All clients came back at the same moment.",
                "`timeout_jitter` lengthens each open time by chance, drawn anew for each opening, at the longest "
                "too; it shortens none. Without it the open time is exact.",
            ),
            Row(
                39,
                "bolshakov/stoplight#364, #375, App-vNext/Polly#239, #2381, danielfm/pybreaker#96, "
                "fabfuel/circuitbreaker#71",
                "Flapping at fixed intervals; a single success closed it too easily.",
                "`timeout_multiplier` lengthens the pause with each failed half-open until it closes; "
                "`success_threshold` successes of one half-open close it.",
            ),
        ),
    ),
    Topic(
        "Slow calls",
        "slow_calls",
        (
            Row(
                40,
                "resilience4j/resilience4j#381, #667, #1477, #1597",
                "Calls that hang are not counted until they end; slow and failed calls do not add up; one limit cannot "
                "fit calls whose natural length varies a thousandfold.",
                "An attempt timeout makes an outcome of a hang. The two rates are apart, as there. No call is slow "
                "unless asked for, and `success(duration=...)` takes the time to the first token.",
            ),
        ),
    ),
    Topic(
        "Cancellation",
        "cancelling",
        (
            Row(
                41,
                "resilience4j/resilience4j#682, #1123",
                "Cancelled futures were recorded as failures, or not at all.",
                "Cancellation is released: neither success nor failure.",
            ),
            Row(
                42,
                "jd/tenacity#186, #529",
                "What ends a program (`KeyboardInterrupt`, `SystemExit`, `GeneratorExit`) was repeated or swallowed.",
                "It is never repeated, nor is a cancellation; `retry_on` refuses such classes.",
            ),
        ),
    ),
    Topic(
        "Backoff",
        "backoff",
        (
            Row(
                43,
                "App-vNext/Polly#530, #2163, #2164, jd/tenacity#526, #710, hynek/stamina#104, #137",
                "Decorrelated jitter bunches at its ends; from some 1,024 tries on, delays were negative or raised.",
                "Full jitter, evenly spread; any number of tries gives a delay from 0 to the cap.",
            ),
            Row(
                44,
                "hynek/stamina, urllib3/urllib3, jd/tenacity (measured)",
                "Jitter was added before the cap, so that at the cap there was none.",
                "U(0, min(cap, base x factor^n)): the cap comes first.",
            ),
            Row(
                45,
                "jd/tenacity#423",
                "The limit of time looked at what had passed, not at the sleep to come, which overran it.",
                "No wait is begun that would reach the deadline.",
            ),
            Row(
                46,
                "failsafe-lib/failsafe#235",
                "A proposal to let a threshold of 0 mean something special.",
                "0 is refused; there are no magic values.",
            ),
        ),
    ),
    Topic(
        "Retry-After, and what is sent again",
        "retry_after",
        (
            Row(
                47,
                "urllib3/urllib3#1338, #3743, #5152, #5227, PostHog/posthog#74112, "
                "atlassian-api/atlassian-python-api#1602, notatallshaw/nab#596",
                "An hour's `Retry-After` parked the caller, or was cut and undercut; enormous values and dates raised.",
                "Above the cap nobody sleeps: another provider is asked, or the error carries the server's time. Never "
                "earlier than asked. Every form is read; garbage counts as absent; an hour is the longest time off.",
            ),
            Row(
                48,
                "boto/botocore#2635",
                "429 was missing from the statuses to repeat.",
                "408, 409, 425, 429, 500, 502, 503, 504 and 529 are asked again.",
            ),
            Row(
                49,
                "urllib3/urllib3#542, #1059, psf/requests#5948",
                "A POST was sent again after a read timeout without anybody's decision; an error while the body was "
                "read was not repeated.",
                "The router decides, says what may have been billed twice, and reads the body inside the attempt; no "
                "lower layer repeats.",
                "Never after the first streamed byte has reached the caller: arrives with streaming.",
            ),
        ),
    ),
    Topic(
        "Budgets and throttles",
        "budgets",
        (
            Row(
                50,
                "envoyproxy/envoy#30205, #10869, envoyproxy/envoy-mobile#811",
                "A budget that is a share of live calls overflows while retries wait, and misjudges when all fails.",
                "A token bucket that only successes fill. A try is paid for before its wait.",
            ),
            Row(
                51,
                "failsafe-go/failsafe-go#106, #139, #141",
                "The floor for little traffic was ignored; an empty budget ended hedges already under way.",
                "The bucket is full at the start; an empty one only stops new tries.",
            ),
            Row(
                52,
                "Finagle, BackupRequestFilter (its documentation)",
                "A share of 1 % allows no backup request below ten requests a second.",
                "A few hedges are free at the start, whatever the share.",
            ),
            Row(
                53,
                "hashicorp/aws-sdk-go-base#915, boto/botocore#3179",
                "One bucket for unrelated clients starved them; waiting in the bucket replaced failing fast.",
                "One budget a provider, and nothing waits in it.",
            ),
            Row(
                54,
                "envoyproxy/envoy#3263, #26877",
                "With everything ejected, one host was ejected or kept against the settings.",
                "If every provider is open, nobody is asked: the error says so, with the smallest wait.",
            ),
            Row(
                55,
                "zeromicro/go-zero#5011",
                "A throttle counted requests when they had ended.",
                "The rate limiter counts when a request is sent.",
                "An adaptive throttle of the client: not in this version.",
            ),
        ),
    ),
    Topic(
        "Hedging",
        "hedging",
        (
            Row(
                56,
                "grpc/grpc-java#7222, #7337",
                "With the hedge throttled and the first attempt failed, the call hung until its deadline.",
                "When nothing is under way and nothing may follow, the call fails now.",
            ),
            Row(
                57,
                "grpc/grpc-java#9185, #10007, #10314, #13034, App-vNext/Polly#1131, #1340",
                "Winning and cancelling raced: crashes, deadlocks, losers that leaked.",
                "One lock decides who has won; losers are told, their permits and slots come back, late results go to "
                "`discard`.",
            ),
            Row(
                58,
                "grpc/grpc-java#10145",
                "A failure waited for the hedging delay before the next attempt.",
                "A failure, or a guard's refusal, starts the next attempt at once.",
            ),
            Row(
                59,
                "envoyproxy/envoy#13196",
                "What was left of the deadline was not passed to the retry.",
                "Each attempt gets its own limit or what is left, whichever is less.",
            ),
        ),
    ),
    Topic(
        "The order of policies",
        "order",
        (
            Row(
                60,
                "resilience4j/resilience4j#920",
                'A retry around the breaker repeated "circuit open" and used up its tries on it.',
                "`CircuitOpenError` is not repeated; the router moves on, at no cost of attempt, budget or round.",
            ),
        ),
    ),
    Topic(
        "Gateways to language models",
        "gateways",
        (
            Row(
                61,
                "ferro-labs/ai-gateway#136, #199",
                "The breaker counted a success when a stream opened; one that always broke off later never tripped it.",
                "No guard wraps a generator; a permit held over the stream fails with it, and is released when the "
                "reader stops.",
                "The router's own streams: arrives with streaming.",
            ),
            Row(
                62,
                "bytedance/deer-flow#2095",
                "Only whole calls were counted, after all their retries, so that it opened far too late.",
                "The breaker is inside the retry and records every try.",
                "In the router the repeats of *one* call on a provider count as soft failures, so that one poisonous "
                "prompt cannot open every breaker; while another provider answers there are no repeats.",
            ),
            Row(
                63,
                "NousResearch/hermes-agent#89804",
                'A breaker for "no answer at all" stayed up though a probe was promptly answered with 429.',
                "Rate limits are kept apart from health: they cool the provider for the time it names, and add nothing "
                "to the streak.",
                "A rate-limited probe does open the breaker again, on purpose: who turns a probe away would turn the "
                "traffic away.",
            ),
        ),
    ),
)  # fmt: skip

ROWS = tuple(row for topic in TOPICS for row in topic.rows)


def names_in(path: Path) -> list[str]:
    """The names of the tests in *path*, in order."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]


def names_by_row(topic: Topic) -> dict[int, list[str]]:
    """The tests of each row of *topic*, by its number."""
    names = names_in(FOLDER / _file(topic))
    return {row.number: [name for name in names if name.startswith(f"test_{row.number:02d}_")] for row in topic.rows}


def table(topic: Topic) -> str:
    """The rows of *topic* in Markdown."""
    tests = names_by_row(topic)
    head = ("| | where | what broke there | here | tests |", "|---|---|---|---|---|")
    return "\n".join((*head, *(_line(row, tests[row.number]) for row in topic.rows))) + "\n"


def page() -> str:
    """Every topic with its heading and the file of its tests, in Markdown."""
    return "\n".join(
        f"## {topic.title}\n\nTests: [`{_file(topic)}`](../tests/lessons/{_file(topic)})\n\n{table(topic)}"
        for topic in TOPICS
    )


def _file(topic: Topic) -> str:
    return f"test_lessons_{topic.file}.py"


def _line(row: Row, tests: list[str]) -> str:
    rule = row.rule if not row.not_here else f"{row.rule} *{row.not_here.replace('*', '')}*"
    return f"| {row.number} | {row.where} | {row.broke} | {rule} | {'<br>'.join(f'`{name}`' for name in tests)} |"


if __name__ == "__main__":
    print(page(), end="")  # noqa: T201 -- to paste into the guide
