"""The page of a grading and its CSV: what they show, and that no learner can make them do anything else."""

from __future__ import annotations

import copy
import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from lab.errors import StorageError
from lab.lessons import LESSONS
from lab.practise import Conditions, discover_exercises
from lab.practise.grading import Grade, Graded, Grading, Outcome
from lab.report.grades import AGAIN, SIGNS, grades_page
from lab.report.grading import FILES, grading_result, publish_grades
from lab.report.spreadsheet import COLUMNS, to_csv

DOCUMENT = (LESSONS.parent.parent / "docs" / "outputs.md").read_text("utf-8")
PAYLOAD = """<script>alert(1)</script>" onclick='alert(2)' {{ 7 * 7 }}"""
EXERCISES = tuple(discover_exercises(LESSONS / "05_gradients")[:2])
VOID = ("meta", "link", "br", "wbr")


class Page(HTMLParser):
    """What a page holds: its elements with their attributes, and the rows of its first table of grades as text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if "th" in self.open or "td" in self.open:
            self.rows[-1][-1] += data

    def row(self, head: str) -> list[str]:
        (found,) = [row[1:] for row in self.rows if row[:1] == [head]]
        return found

    def values(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes in self.tags if name in attributes]


def make_result(*learners: Graded) -> dict[str, Any]:
    found = Grading("course", EXERCISES, learners, Conditions(seed=7), isolated=True)
    return grading_result(found, seconds=1.5)


SOLVED, EMPTY = Grade(Outcome.SOLVED), Grade(Outcome.NOT_STARTED, "", "There is no file.")
LITERAL = Grade(Outcome.WRONG, "literal", "Typed in. And more.")
SWAPPED = Grade(Outcome.WRONG, "swapped", "In the wrong order: the first is the second.")


@pytest.fixture
def result() -> dict[str, Any]:
    """A result that has every outcome, a known mistake met twice, one met once and one that is not known."""
    return make_result(
        Graded("ann", (SOLVED, LITERAL)),
        Graded("bob", (LITERAL, SOLVED)),
        Graded("cem", (SWAPPED, EMPTY)),
        Graded("dan", (LITERAL, Grade(Outcome.UNREADABLE, "", "It is a folder."))),
        Graded("eve", (Grade(Outcome.WRONG, "", "It raised KeyError."), Grade(Outcome.NOT_JUDGED, "", "Lost."))),
    )


def test_each_cell_has_a_sign_that_can_be_read_without_its_colour(result: dict[str, Any]) -> None:
    page = Page(grades_page(result))
    assert page.row("ann") == ["✓solved", "✗a"]
    assert page.row("bob") == ["✗a", "✓solved"]
    assert page.row("cem") == ["✗b", "·not started"]
    assert page.row("dan") == ["✗a", "!unreadable"]
    assert page.row("eve") == ["✗?", "–not judged"]
    assert page.row("solved") == ["1", "1"]
    assert len({sign.sign for sign in SIGNS.values()}) == len({sign.shade for sign in SIGNS.values()}) == len(Outcome)


def test_what_to_teach_again_is_what_was_met_most(result: dict[str, Any]) -> None:
    page = Page(grades_page(result))
    again = page.text.partition("What to teach again")[2].partition("accepted on every trial")[0]
    assert again.split()[:7] == ["2", "of", "5", "Typed", "in.", "literal", "in"]
    assert "And more" not in page.text
    assert "There is no file" not in again
    nothing = Page(grades_page(make_result(Graded("ann", (SOLVED, EMPTY)))))
    assert "What to teach again" not in nothing.text
    assert AGAIN >= 5


def test_each_exercise_lists_what_was_met_the_most_frequent_first(result: dict[str, Any]) -> None:
    rows = [[re.sub(r"\s+", " ", cell).strip() for cell in row] for row in Page(grades_page(result)).rows]
    start = rows.index(["sign", "learners", "what they met"])
    assert rows[start + 1 : start + 4] == [
        ["✗a", "2", "literal Typed in."],
        ["✗?", "1", "not recognised It raised KeyError."],
        ["✗b", "1", "swapped In the wrong order: the first is the second."],
    ]


def test_every_link_leads_somewhere_and_ids_are_unique(result: dict[str, Any]) -> None:
    page = Page(grades_page(result))
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    for href in page.values("href"):
        assert unquote(href).removeprefix("#") in ids or href in ("data:,", "grades.csv", "grades.json")


def spoil(value: Any, key: str = "") -> Any:
    """Return the same with the payload in every word that is free text."""
    if key in ("status", "what", "mistake", "schema"):
        return value
    if isinstance(value, dict):
        return {name: spoil(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [spoil(item, key) for item in value]
    return value + PAYLOAD if isinstance(value, str) else value


def test_nothing_in_the_result_becomes_markup(result: dict[str, Any]) -> None:
    result["learners"][0]["learner"] = "<script>"
    plain, page = Page(grades_page(result)), Page(grades_page(spoil(result)))
    assert plain.row("<script>") == ["✓solved", "✗a"]
    assert page.text.count("<script>alert(1)</script>") > 20
    assert "49" not in page.text
    assert [tag for tag, _ in page.tags if tag == "script"] == []
    assert {tag for tag, _ in page.tags} == {tag for tag, _ in plain.tags}
    assert {name for _, found in page.tags for name in found} == {name for _, found in plain.tags for name in found}


def test_the_page_runs_no_script_and_asks_for_nothing(result: dict[str, Any]) -> None:
    text = grades_page(result)
    page = Page(text)
    for tag, attributes in page.tags:
        assert tag not in ("script", "iframe", "img", "object", "embed", "form")
        assert not any(name.startswith("on") or name in ("src", "style") for name in attributes)
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'" in text
    assert not re.search(r"url\(|@import|https?:", text)


def test_a_name_that_cannot_be_printed_is_shown_all_the_same(tmp_path: Path) -> None:
    result = make_result(Graded("\udcff\n\u202e\x1bx", (SOLVED, EMPTY)))
    publish_grades(result, tmp_path)
    assert Page((tmp_path / "grades.html").read_text("utf-8")).row("\ufffd \ufffd\ufffdx") == [
        "✓solved",
        "·not started",
    ]
    written = json.loads((tmp_path / "grades.json").read_text("utf-8"))
    assert written["learners"][0]["learner"] == "\udcff\n\u202e\x1bx"


def test_the_same_result_gives_the_same_bytes_also_read_back_from_a_file(result: dict[str, Any]) -> None:
    page = grades_page(result)
    assert grades_page(copy.deepcopy(result)) == page
    assert grades_page(json.loads(json.dumps(result, sort_keys=True))) == page


def test_every_colour_is_in_the_style_for_light_and_dark() -> None:
    style = grades_page(make_result(Graded("ann", (SOLVED, EMPTY)))).partition("<style>")[2].partition("</style>")[0]
    for sign in SIGNS.values():
        assert f".{sign.shade} {{" in style
    light, dark = style.split("prefers-color-scheme: dark")
    names = set(re.findall(r"(--[a-z]+):", light))
    assert (
        set(re.findall(r"(--[a-z]+):", dark.partition("}")[0])) == names == set(re.findall(r"var\((--[a-z]+)", style))
    )


def test_the_csv_has_a_row_for_each_learner_and_exercise(result: dict[str, Any]) -> None:
    rows = list(csv.reader(io.StringIO(to_csv(result), newline="")))
    assert rows[0] == list(COLUMNS)
    assert len(rows) == 1 + 5 * 2
    assert rows[2] == ["ann", "05_gradients", EXERCISES[1].id, "wrong", "literal", "Typed in. And more."]


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\r=1", "\n=1", '=cmd|"/c calc"!A1'])
def test_no_cell_of_the_csv_is_a_formula(cell: str) -> None:
    grade = Grade(Outcome.WRONG, "", cell)
    text = to_csv(make_result(Graded(cell, (grade, Grade(Outcome.WRONG, "", 'a "quoted", cell\n')))))
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert (rows[1][0], rows[1][5]) == (f"'{cell}", f"'{cell}")
    assert rows[2][5] == 'a "quoted", cell\n'


def test_the_three_files_are_replaced_together_and_nothing_else_is_left(result: dict[str, Any], tmp_path: Path) -> None:
    assert publish_grades(make_result(Graded("old", (SOLVED, EMPTY))), tmp_path) == tmp_path / "grades.html"
    publish_grades(result, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(FILES)
    assert not any("old" in (tmp_path / name).read_text("utf-8").split('"') for name in FILES)
    assert json.loads((tmp_path / "grades.json").read_text("utf-8")) == result
    with pytest.raises(StorageError):
        publish_grades(result, tmp_path / "nowhere")


def documented(heading: str) -> tuple[set[str], set[str]]:
    """Return the fields in the first column below a heading, and all that stands in code quotes there."""
    section = DOCUMENT.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]+) \|", section, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}, set(re.findall(r"`([^`]+)`", section))


def test_every_field_is_documented_and_no_other(result: dict[str, Any]) -> None:
    fields, mentioned = documented("grades.json")
    assert fields == set(result)
    assert {*result["exercises"][0], *result["learners"][0], *result["timing"]} <= mentioned
    fields, mentioned = documented("A grade in grades.json")
    assert fields == set(result["learners"][0]["grades"][0])
    assert set(Outcome) <= mentioned
    fields, mentioned = documented("What was met in grades.json")
    met = result["exercises"][0]["met"][0]
    assert fields == set(met)
    assert set(met["told"][0]) <= mentioned
