"""``failsafe serve`` as a program of its own, and the vendors' SDKs as its clients."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
import requests
from click.testing import CliRunner

from failsafe.cli.app import app
from failsafe.sim import BEHAVIOURS, Behaviour, FakeCloud, Healthy, StreamShape
from tests.acceptance.routers import in_background, said_by, settles
from tests.cli.programs import HARD_CAP, ROOT, running, until

HI: Any = [{"role": "user", "content": "hi"}]
TOKEN = "token-of-a-test-5d1e"


@pytest.fixture
def cloud() -> Iterator[FakeCloud]:
    with FakeCloud.of("openai", "anthropic") as providers:
        yield providers


@pytest.fixture
def settings(cloud: FakeCloud, tmp_path: Path) -> Path:
    path = tmp_path / "failsafe.toml"
    aliases = '[aliases]\nfast = ["gpt-4.1-mini", "claude-haiku-4-5"]\n'
    path.write_text(aliases + cloud.as_toml(), encoding="utf-8")
    path.chmod(0o600)
    return path


class Serving:
    """A running ``failsafe serve``: what it printed for a shell, and its clients."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        self.printed = process.stdout.read()  # ends, although the program runs on
        self.variables = dict(re.findall(r'^export (\w+)="?(.*?)"?$', self.printed, re.MULTILINE))
        self.said = until(process.stderr, "is answered by")
        until(process.stderr, f"Ctrl+C or kill {process.pid} stops it")

    @property
    def url(self) -> str:
        return str(self.variables["ANTHROPIC_BASE_URL"])

    def openai(self, **options: Any) -> openai.OpenAI:
        given = {"base_url": self.variables["OPENAI_BASE_URL"], "api_key": self.variables["OPENAI_API_KEY"]}
        return openai.OpenAI(**{**given, "timeout": HARD_CAP, **options})

    def anthropic(self, **options: Any) -> anthropic.Anthropic:
        given = {"base_url": self.url, "api_key": self.variables["ANTHROPIC_API_KEY"]}
        return anthropic.Anthropic(**{**given, "timeout": HARD_CAP, **options})

    def ended(self, *signals: int) -> tuple[int, str]:
        """The exit code and what was still said, after *signals*."""
        for number in signals:
            self.process.send_signal(number)
        code = self.process.wait(HARD_CAP)
        assert self.process.stderr is not None
        return code, self.process.stderr.read()


@contextmanager
def serving(settings: Path, *options: str) -> Iterator[Serving]:
    with running("serve", "--config", str(settings), "--port", "0", *options) as process:
        yield Serving(process)


def test_openais_sdk_is_answered_by_whoever_works(cloud: FakeCloud, settings: Path) -> None:
    with serving(settings) as server, server.openai() as client:
        create = client.chat.completions.create
        assert create(model="fast", messages=HI).choices[0].message.content == said_by("openai", "hi")
        cloud["openai"].behave(BEHAVIOURS["overloaded"])
        answer = create(model="fast", messages=HI)
        assert answer.choices[0].message.content == said_by("anthropic", "hi")
        assert answer.usage is not None
        pieces = list(create(model="fast", messages=HI, stream=True, stream_options={"include_usage": True}))
        text = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
        assert text == said_by("anthropic", "hi")
        assert pieces[-1].usage is not None
        assert next(iter(client.models.list())).id == "fast"
        assert client.models.retrieve("fast").owned_by == "failsafe"


def test_anthropics_sdk_is_answered_by_whoever_works(cloud: FakeCloud, settings: Path) -> None:
    cloud["anthropic"].behave(BEHAVIOURS["overloaded"])
    with serving(settings) as server, server.anthropic() as client:
        answer = client.messages.create(model="fast", max_tokens=50, messages=HI)
        assert answer.content[0].type == "text"
        assert answer.content[0].text == said_by("openai", "hi")
        with client.messages.stream(model="fast", max_tokens=50, messages=HI) as stream:
            assert "".join(stream.text_stream) == said_by("openai", "hi")
            assert stream.get_final_message().stop_reason == "end_turn"
        assert next(iter(client.models.list())).id == "fast"


def test_the_sdks_see_errors_as_their_own_and_do_not_try_again(cloud: FakeCloud, settings: Path) -> None:
    with serving(settings) as server, server.openai() as of_openai, server.anthropic() as of_anthropic:
        with pytest.raises(openai.NotFoundError, match="no configured provider serves model 'unheard-of'"):
            of_openai.chat.completions.create(model="unheard-of", messages=HI)
        with pytest.raises(anthropic.NotFoundError):
            of_anthropic.messages.create(model="unheard-of", max_tokens=5, messages=HI)
        with pytest.raises(openai.AuthenticationError), server.openai(api_key="wrong") as stranger:
            stranger.models.list()
        with pytest.raises(anthropic.AuthenticationError), server.anthropic(api_key="wrong") as other:
            other.models.list()
        for provider in cloud:
            provider.behave(BEHAVIOURS["bad-request"])
        before = cloud["openai"].count()
        with pytest.raises(openai.BadRequestError):
            of_openai.chat.completions.create(model="gpt-4.1-mini", messages=HI)
        assert cloud["openai"].count() == before + 1


def test_the_time_that_an_sdk_waits_is_the_time_that_a_call_takes(cloud: FakeCloud, settings: Path) -> None:
    for provider in cloud:
        provider.behave(BEHAVIOURS["hang"])
    with serving(settings) as server, server.openai(timeout=0.3, max_retries=0) as client:
        with pytest.raises((openai.APITimeoutError, openai.APIStatusError)):
            client.chat.completions.create(model="fast", messages=HI)
        assert settles(lambda: not any(provider.open_connections for provider in cloud))


def test_the_first_piece_comes_before_the_second_is_there_and_leaving_ends_the_call(
    cloud: FakeCloud, settings: Path
) -> None:
    cloud["openai"].behave(Behaviour(Healthy(text="word " * 4000), stream=StreamShape(interval=0.02)))
    with serving(settings) as server, server.openai() as client:
        with client.chat.completions.create(model="fast", messages=HI, stream=True) as stream:
            assert any(piece.choices[0].delta.content for piece in stream)
        assert settles(lambda: cloud["openai"].open_connections == 0, HARD_CAP)


def test_a_new_token_is_printed_once_with_the_lines_that_lead_here(settings: Path) -> None:
    with serving(settings) as server, serving(settings) as other:
        token = server.variables["OPENAI_API_KEY"]
        assert len(token) >= 32
        assert other.variables["OPENAI_API_KEY"] != token
        assert list(server.variables) == [
            "OPENAI_BASE_URL",
            "OPENAI_API_KEY",
            "ANTHROPIC_BASE_URL",
            "ANTHROPIC_API_KEY",
        ]
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", server.url)
        assert server.said == f"{server.url} is answered by openai, anthropic\n"
        assert server.ended(signal.SIGTERM) == (0, "")


@pytest.mark.parametrize("named", [True, False])
def test_the_addresses_as_json(settings: Path, monkeypatch: pytest.MonkeyPatch, named: bool) -> None:
    if named:
        monkeypatch.setenv("FAILSAFE_SERVE_TOKEN", TOKEN)
    with serving(settings, "--json") as server:
        found = json.loads(server.printed)
        assert found["openai_base_url"] == f"{found['anthropic_base_url']}/v1"
        assert (found["providers"], found["pid"]) == (["openai", "anthropic"], server.process.pid)
        assert found["token_env"] == ("FAILSAFE_SERVE_TOKEN" if named else None)
        assert (found["token"] is None) is named  # one that lies in a variable is not shown
        shown = {"x-api-key": found["token"] or TOKEN}
        answer = requests.get(f"{found['openai_base_url']}/models", headers=shown, timeout=HARD_CAP)
        assert answer.status_code == 200
        assert server.ended(signal.SIGTERM) == (0, "")


@pytest.mark.parametrize(("name", "options"), [("FAILSAFE_SERVE_TOKEN", ()), ("MINE", ("--token-env", "MINE"))])
def test_a_token_of_ones_own_is_not_printed(
    settings: Path, monkeypatch: pytest.MonkeyPatch, name: str, options: tuple[str, ...]
) -> None:
    monkeypatch.setenv(name, TOKEN)
    with serving(settings, *options) as server:
        assert TOKEN not in server.printed
        assert server.variables["OPENAI_API_KEY"] == f"${name}"
        shown = {"x-api-key": TOKEN}
        assert requests.get(f"{server.url}/v1/models", headers=shown, timeout=HARD_CAP).status_code == 200
        assert server.ended(signal.SIGINT) == (0, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_call_under_way_is_answered_before_a_signal_ends_it(cloud: FakeCloud, settings: Path, number: int) -> None:
    cloud["openai"].behave(Behaviour(latency=0.5))
    with serving(settings) as server, server.openai() as client:
        with in_background(lambda: client.chat.completions.create(model="fast", messages=HI)) as answer:
            assert cloud["openai"].wait_for_requests(1)
            code, said = server.ended(number)
        assert answer.result().choices[0].message.content == said_by("openai", "hi")
        assert code == 0
        assert said == "calls under way have 10 s to end; Ctrl+C again ends them at once\n"


def test_a_second_signal_ends_the_calls_at_once(cloud: FakeCloud, settings: Path) -> None:
    cloud["openai"].behave(BEHAVIOURS["hang"])
    with serving(settings) as server, server.openai(max_retries=0) as client:
        with in_background(lambda: client.chat.completions.create(model="fast", messages=HI)) as answer:
            assert cloud["openai"].wait_for_requests(1)
            server.process.send_signal(signal.SIGINT)
            until(server.process.stderr, "calls under way have 10 s to end")
            code, _ = server.ended(signal.SIGINT)
        assert isinstance(answer.exception(), openai.APIError)
        assert code == 130


def test_requests_are_listed_only_when_asked_for_and_without_secrets(settings: Path) -> None:
    said = {}
    for options in ((), ("--access-log",)):
        with serving(settings, *options) as server, server.openai() as client:
            client.chat.completions.create(model="fast", messages=HI)
            token = server.variables["OPENAI_API_KEY"]
            requests.get(f"{server.url}/v1/models?key={token}", timeout=HARD_CAP)
            said[options] = server.ended(signal.SIGTERM)[1].splitlines()
            assert not any(token in line for line in said[options])
    assert said[()] == []
    first, second = said["--access-log",]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \S+ POST /v1/chat/completions 200 openai \d+ ms", first)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \S+ GET /v1/models 401 - \d+ ms", second)


def test_other_machines_are_let_in_only_by_a_flag_that_says_what_it_means(settings: Path) -> None:
    result = CliRunner().invoke(app, ["serve", "--config", str(settings), "--host", "0.0.0.0"])
    assert result.exit_code == 2
    assert "unencrypted, and only the token keeps them from your money" in " ".join(result.stderr.split())
    with running(
        "serve",
        "--config",
        str(settings),
        "--port",
        "0",
        "--host",
        "0.0.0.0",
        "--allow-remote",
        "--allow-host",
        "llm.lan",
    ) as process:
        until(process.stderr, "other machines can reach this gateway, unencrypted")
        server = Serving(process)
        host, _, port = server.url.rpartition(":")
        assert host == "http://127.0.0.1"  # the shell here is to call it; 0.0.0.0 is nobody's address
        statuses = {
            host: requests.get(f"http://127.0.0.1:{port}/healthz", headers={"Host": host}, timeout=HARD_CAP).status_code
            for host in ("10.0.0.7", "llm.lan", "evil.example")
        }
    assert statuses == {"10.0.0.7": 200, "llm.lan": 200, "evil.example": 403}


def test_the_gateway_does_not_ask_itself(tmp_path: Path) -> None:
    """In the shell that was told to use it, its own variables would lead it to itself, and each call to the next."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    path = tmp_path / "failsafe.toml"
    path.write_text(f'[providers.openai]\nbase_url = "http://localhost:{port}/v1"\n', encoding="utf-8")
    result = CliRunner().invoke(app, ["serve", "--config", str(path), "--port", str(port)])
    assert result.exit_code == 2
    assert "is this gateway itself" in result.stderr


def test_a_port_that_is_taken_is_a_clear_error(settings: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(app, ["serve", "--config", str(settings), "--port", str(port)])
    assert result.exit_code == 2
    assert f"cannot listen on 127.0.0.1, port {port} (Address already in use)" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "variables", "said"),
    [
        (["--token-env", "NOT_SET"], {}, "NOT_SET: the variable is not set"),
        (["--token-env", "MINE"], {"MINE": ""}, "MINE: the variable is empty"),
        ([], {"FAILSAFE_SERVE_TOKEN": ""}, "FAILSAFE_SERVE_TOKEN: the variable is empty"),
        ([], {"FAILSAFE_SERVE_TOKEN": "short"}, "token: at least 16 characters are needed"),
        ([], {"FAILSAFE_SERVE_TOKEN": "two words"}, "token: a text of printable ASCII characters"),
        (["--allow-host", "http://x/"], {}, "a bare host name"),
        (["--threads", "0"], {}, "0 is not in the range"),
        (["--on-interrupt", "restart"], {}, "'restart' is not one of 'raise', 'continue'"),
        (["--host", "nowhere.invalid", "--allow-remote"], {}, "cannot listen on nowhere.invalid"),
    ],
)
def test_wrong_arguments_are_refused_in_words(
    settings: Path, arguments: list[str], variables: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(app, ["serve", "--config", str(settings), *arguments])
    assert result.exit_code == 2
    assert said in result.stderr
    assert "two words" not in result.stderr


def test_without_the_extra_one_line_names_it(settings: Path) -> None:
    script = f"""
import sys

class NotInstalled:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] == "waitress":
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name.partition(".")[0])

sys.meta_path.insert(0, NotInstalled)
sys.argv[1:] = ["serve", "--config", {str(settings)!r}]
from failsafe.cli import main
main()
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: failsafe serve needs waitress; pip install 'failsafe-llm[serve]'\n"
