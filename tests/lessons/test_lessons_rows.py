"""Every lesson has a test or a reason, every test a lesson, and the guide shows them as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lessons.rows import FOLDER, ROWS, TOPICS, Row, names_by_row, names_in, page

HOW_MANY = 63
GUIDE = Path(__file__).resolve().parents[2] / "docs" / "lessons.md"


def test_there_are_all_rows_and_each_once() -> None:
    assert [row.number for row in ROWS] == list(range(1, HOW_MANY + 1))


@pytest.mark.parametrize("row", ROWS, ids=[str(row.number) for row in ROWS])
def test_a_row_has_a_test_or_the_reason_why_not(row: Row) -> None:
    tests = [name for topic in TOPICS for name in names_by_row(topic).get(row.number, [])]
    assert tests or row.not_here, f"row {row.number} ({row.where}) has neither"
    assert row.where
    assert row.broke
    assert row.rule


def test_every_test_is_in_the_file_of_its_rows_topic() -> None:
    expected = {name for topic in TOPICS for names in names_by_row(topic).values() for name in names}
    files = {FOLDER / f"test_lessons_{topic.file}.py" for topic in TOPICS}
    assert set(FOLDER.glob("test_*.py")) - {Path(__file__)} == files
    assert {name for path in files for name in names_in(path)} == expected


@pytest.mark.parametrize("row", ROWS, ids=[str(row.number) for row in ROWS])
def test_the_number_in_a_tests_name_is_one_of_its_rows_references(row: Row) -> None:
    referred = {part for each in row.where.split(", ") for part in each.replace("/", " ").replace("#", " ").split()}
    for names in (names_by_row(topic).get(row.number, []) for topic in TOPICS):
        for name in names:
            first_number = next((word for word in name.split("_")[2:] if word.isdigit() and len(word) > 1), None)
            assert first_number is None or first_number in referred or "measured" in row.where, name


def test_the_guide_shows_the_rows_and_their_tests_as_they_are() -> None:
    assert GUIDE.read_text(encoding="utf-8").partition("\n## ")[2] == page().removeprefix("## ")
