"""The error museum: every message raised anew by the installed torch, every mend and every bad advice run."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from lab.errors import UsageError
from lab.lessons import LESSONS
from lab.practise.discover import execute_source
from lab.practise.exhibit import (
    Exhibit,
    find_labels,
    known_as,
    load_museum,
    no_such_exhibit,
    paragraphs,
    read_labels,
)
from lab.practise.museum_page import museum_page, page_version
from lab.practise.showing import Scene, run_exhibit, run_scene

PAGE = Path(__file__).resolve().parents[1] / "docs" / "errors.md"
VERSION = torch.__version__.partition("+")[0]
EXHIBITS = load_museum()
LABELS = read_labels()
SILENT = {"forgotten-zero", "data-edit", "nan-through-where", "column-against-row", "dropout-while-evaluating"}

every_exhibit = pytest.mark.parametrize("exhibit", EXHIBITS.values(), ids=lambda exhibit: exhibit.name)


def is_right(scene: Scene, exhibit: Exhibit) -> bool:
    return not scene.message and scene.value == pytest.approx(exhibit.right, rel=1e-5)


def complaints(exhibit: Exhibit) -> Iterator[str]:
    """Yield what is untrue of an exhibit on the installed torch."""
    showing = run_exhibit(exhibit)
    if exhibit.says and not re.search(exhibit.says, showing.shows.message, re.IGNORECASE):
        yield f"it says {showing.shows.message!r}"
    if not exhibit.says and showing.shows.message:
        yield f"it is not silent: {showing.shows.message}"
    if is_right(showing.shows, exhibit):
        yield "it is no mistake"
    if not is_right(showing.mend, exhibit):
        yield f"the mend gives {showing.mend.message or showing.mend.value}"
    if showing.advice and is_right(showing.advice, exhibit):
        yield "the advice is a mend"


def typed(code: str) -> tuple[str, str]:
    """Run code as a script: return what it prints, and what it raises."""
    with contextlib.redirect_stdout(io.StringIO()) as printed, torch.enable_grad():
        try:
            exec(code, {"__name__": "__main__"})
        except Exception as error:
            return printed.getvalue(), type(error).__name__
    return printed.getvalue(), ""


@every_exhibit
def test_an_exhibit_is_true_here(exhibit: Exhibit) -> None:
    assert list(complaints(exhibit)) == []


@every_exhibit
@pytest.mark.filterwarnings("ignore:The .grad attribute")
def test_the_code_that_is_shown_is_the_code_that_was_run(exhibit: Exhibit) -> None:
    showing = run_exhibit(exhibit)
    for scene in filter(None, (showing.shows, showing.mend, showing.advice)):
        printed, raised = typed(scene.code)
        assert printed == ("" if scene.raised else f"{scene.printed}\n")
        assert raised == (scene.message.partition(":")[0] if scene.raised else "")
        assert max(map(len, scene.noted.splitlines())) <= 78


@every_exhibit
def test_an_exhibit_says_what_why_and_how_to_mend_it(exhibit: Exhibit) -> None:
    showing = run_exhibit(exhibit)
    assert showing.shows.says.endswith(".")
    assert showing.shows.why.endswith(".")
    assert showing.mend.says.endswith(".")
    assert showing.advice is None or showing.advice.why.endswith(".")


def test_every_message_that_learners_meet_has_its_exhibit() -> None:
    assert {exhibit.number for exhibit in EXHIBITS.values()} == set(range(1, 18))
    assert {exhibit.name for exhibit in EXHIBITS.values() if not exhibit.says} == SILENT


def test_the_labels_are_those_of_the_rows() -> None:
    read = [(label.name, label.number, label.says, label.meaning) for label in LABELS]
    rows = [(e.name, e.number, e.says, paragraphs(e.shows)[0]) for e in EXHIBITS.values()]
    assert read == rows
    assert all(label.why for label in LABELS)


def test_every_function_of_a_museum_has_a_part() -> None:
    for path in LESSONS.glob("*/museum.py"):
        names = execute_source(path.read_bytes(), path)
        written = {n for n, value in names.items() if inspect.isfunction(value)}
        rows = names["MUSEUM"]
        parts = [part for e in rows for part in (e.shows, e.mend, e.advice) if part]
        assert written == {part.__name__ for part in parts}
        assert len(parts) == len(written)


def test_the_page_is_what_the_installed_torch_says() -> None:
    documented = page_version(PAGE.read_text("utf-8"))
    if documented != VERSION:
        pytest.skip(f"docs/errors.md is of torch {documented}, and this is {VERSION}")
    assert PAGE.read_text("utf-8") == museum_page(map(run_exhibit, EXHIBITS.values()), LABELS, VERSION)


def test_the_page_has_every_exhibit_and_nothing_of_one_build() -> None:
    page = PAGE.read_text("utf-8")
    assert re.findall(r"^## (.*)$", page, re.MULTILINE) == list(EXHIBITS)
    assert set(re.findall(r"\]\(#(.*?)\)", page)) == set(EXHIBITS)
    assert not re.search(r"Triggered|0x[0-9a-f]|/pytorch/build|lessons/\d\d_", page)


# The tester is tested: a museum that is wrong in one way.

LEAF = EXHIBITS["leaf-in-place"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"says": "another message"}, "it says 'RuntimeError: a leaf"),
        ({"says": ""}, "it is not silent: RuntimeError"),
        ({"mend": LEAF.advice}, "the mend gives UserWarning"),
        ({"mend": EXHIBITS["forgotten-zero"].shows}, "the mend gives 8.0"),
        ({"right": 6.1}, "the mend gives 6.0"),
        ({"advice": LEAF.mend}, "the advice is a mend"),
        ({"shows": LEAF.mend}, "it is no mistake"),
    ],
)
def test_an_untrue_exhibit_is_found(change: dict[str, object], complaint: str) -> None:
    assert complaint in " ".join(complaints(dataclasses.replace(LEAF, **change)))


def test_what_differs_from_build_to_build_is_left_out() -> None:
    def crash() -> None:
        """Raise what a debug build would."""
        where = "(Triggered internally at /a/b(c).h:500.)"
        raise RuntimeError(f"at <object 0x7f00aa>. {where}\nException raised from f at g.cpp:1\nframe #0: …")

    assert run_scene(crash).message == "RuntimeError: at <object 0x…>."


# Looking one up.


@pytest.mark.parametrize(
    ("word", "names"),
    [
        ("second-backward", ["second-backward"]),
        ("Second_Backward", ["second-backward"]),
        ("second backward", ["second-backward"]),
        ("second time", ["second-backward", "state-carried"]),
        ("RuntimeError: a leaf Variable that requires grad is being used", ["leaf-in-place"]),
        ("a view of a leaf Variable that requires grad is being used", ["leaf-view-in-place"]),
        ("Can't call NUMPY() on  Tensor that requires grad", ["numpy-of-tracked"]),
        ("unsupported operand type(s) for -: 'NoneType' and 'float'", ["step-without-gradient"]),
        ("through where", ["nan-through-where"]),
        ("nonsense", []),
    ],
)
def test_an_exhibit_is_found_by_its_name_its_message_or_a_piece_of_either(word: str, names: list[str]) -> None:
    found = find_labels(word, LABELS) or find_labels(word.replace(" ", "-"), LABELS)
    assert [label.name for label in found] == names


def test_of_two_messages_the_one_that_says_more_counts() -> None:
    view = run_exhibit(EXHIBITS["leaf-view-in-place"]).shows.message
    assert [label.name for label in known_as(view, LABELS)] == ["leaf-view-in-place"]
    assert known_as("nothing of the kind", LABELS) == []
    assert known_as("", LABELS) == []


def test_a_mistyped_name_is_answered_with_the_nearest() -> None:
    error = no_such_exhibit("data-edti", LABELS)
    assert isinstance(error, UsageError)
    assert error.next_step == "Did you mean 'data-edit'?"
    assert no_such_exhibit("zebra", LABELS).next_step == "Type 'lab errors' to see them all."
