"""Where the store lies: the setting, the variable, the usual place; and off."""

from __future__ import annotations

from pathlib import Path

import pytest

from failsafe.errors import ConfigError
from failsafe.monitoring_config import StoreConfig
from failsafe.telemetry.location import OFF, explain, locate


def test_a_path_in_the_settings_comes_before_the_variable() -> None:
    assert explain(StoreConfig(path="/a/b.db"), {"FAILSAFE_STORE": "/c/d.db"}) == (Path("/a/b.db"), "setting")
    assert explain(StoreConfig(path="/a/b.db"), {"FAILSAFE_STORE": "off"}) == (Path("/a/b.db"), "setting")


def test_the_variable_comes_before_the_usual_place() -> None:
    assert explain(StoreConfig(), {"FAILSAFE_STORE": " /c/d.db "}) == (Path("/c/d.db"), "FAILSAFE_STORE")
    assert locate(StoreConfig(), {"FAILSAFE_STORE": "~/store.db"}) == Path.home() / "store.db"


def test_the_usual_place_is_the_users_state_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert explain(StoreConfig(), {}) == (tmp_path / "failsafe" / "store.db", "default")


@pytest.mark.parametrize("word", [*sorted(OFF), "OFF", " Off "])
def test_a_word_turns_it_off(word: str) -> None:
    assert explain(StoreConfig(), {"FAILSAFE_STORE": word}) == (None, "FAILSAFE_STORE")


def test_settings_turn_it_off_whatever_the_variable_says() -> None:
    assert explain(StoreConfig(enabled=False), {"FAILSAFE_STORE": "/c/d.db"}) == (None, "setting")
    assert StoreConfig.from_word("off") == StoreConfig(enabled=False)
    assert StoreConfig.from_word("/a/b.db") == StoreConfig(path="/a/b.db")


@pytest.mark.parametrize("path", ["store.db", "./store.db", "~nobody-at-all/store.db", "/a\0b"])
def test_a_path_that_depends_on_the_current_folder_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match=r"FAILSAFE_STORE = .*an absolute path, or off, is needed"):
        locate(StoreConfig(), {"FAILSAFE_STORE": path})
