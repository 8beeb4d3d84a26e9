"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import click
import pytest

from failsafe.cli.new_file import new_file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.csv"


def write(path: Path, content: bytes, *, replace: bool = False) -> None:
    with new_file(path, replace=replace) as file:
        file.write(content)
        assert not path.exists() or path.read_bytes() != content


def test_it_gets_its_name_when_it_is_complete_and_is_for_its_owner(path: Path) -> None:
    write(path, b"all")
    assert path.read_bytes() == b"all"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_one_that_came_meanwhile_keeps_the_name(path: Path) -> None:
    with pytest.raises(click.UsageError, match="is there already"), new_file(path, replace=False):
        path.write_bytes(b"mine")
    assert path.read_bytes() == b"mine"
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("taken", [True, False])
def test_where_there_are_no_links_it_is_renamed(path: Path, monkeypatch: pytest.MonkeyPatch, taken: bool) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    if taken:
        with pytest.raises(click.UsageError), new_file(path, replace=False):
            path.write_bytes(b"mine")
    else:
        write(path, b"all")
    assert path.read_bytes() == (b"mine" if taken else b"all")


def test_a_symbolic_link_is_not_followed(path: Path) -> None:
    path.symlink_to(path.with_name("elsewhere"))
    with pytest.raises(click.UsageError):
        write(path, b"all")
    write(path, b"all", replace=True)
    assert not path.is_symlink()
    assert not path.with_name("elsewhere").exists()


def test_a_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises((OSError, click.UsageError)):
        write(tmp_path, b"all")
    with pytest.raises(OSError, match="directory"):
        write(tmp_path, b"all", replace=True)
    assert [*tmp_path.iterdir()] == []


def test_nothing_is_left_when_the_block_fails(path: Path) -> None:
    with pytest.raises(ZeroDivisionError), new_file(path, replace=False) as file:
        file.write(b"%d" % (1 // 0))
    assert [*path.parent.iterdir()] == []
