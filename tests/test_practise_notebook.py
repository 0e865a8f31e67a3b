"""The exercises in a notebook: the same words as in the terminal, and the same progress."""

import pytest

from lab.errors import UsageError
from lab.lessons import LESSONS
from lab.practise import check, discover_exercises, hint, solution
from lab.practise.progress import read_progress

EXERCISE = discover_exercises(next(LESSONS.glob("05_*")))[0]


def two_partials(x, y):
    (x**2 + y**3).backward()
    return x.grad, y.grad


def swapped(x, y):
    (x**2 + y**3).backward()
    return y.grad, x.grad


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.setenv("LAB_WORKSPACE", str(tmp_path))
    monkeypatch.setattr("lab.practise.notebook._SOLVED_HERE", set())
    return tmp_path


def test_progress_is_kept_in_the_workspace_that_is_named(workspace):
    check("05/ex01", swapped, seed=0)
    check("05/ex01", two_partials, seed=0)
    events = read_progress(EXERCISE, workspace).events
    assert [(event["status"], event["mistake"]) for event in events] == [("wrong", "swapped"), ("solved", "")]
    assert events[1]["text"].startswith("def two_partials")


def test_nothing_is_kept_of_the_solutions(workspace):
    check("05/ex01", two_partials, solutions=True)
    assert not list(workspace.iterdir())


def test_hints_go_on_from_the_mistake(workspace):
    check("05/ex01", swapped, seed=0)
    assert str(hint("05/ex01")).startswith("Two partials, hint 3 of 4\n")
    assert "z.backward()" in hint("05/ex01")
    assert str(hint("05/ex01", 1)) == f"Two partials, hint 1 of 4\n{EXERCISE.hints[0]}"
    with pytest.raises(UsageError, match="There is no hint 5"):
        hint("05/ex01", 5)


def test_without_a_workspace_a_hint_names_the_next_one(monkeypatch):
    monkeypatch.delenv("LAB_WORKSPACE", raising=False)
    assert str(hint("05/ex01")).endswith("The next one: hint('05/ex01', 2)")
    assert "The next one" not in hint("05/ex01", 4)


def test_the_solution_opens_once_solved_or_given_up(workspace):
    with pytest.raises(UsageError, match="give_up=True"):
        solution("05/ex01")
    told = solution("05/ex01", give_up=True)
    assert "z.backward()" in told
    assert EXERCISE.meaning in told
    assert repr(told) == str(told)  # as a notebook shows it
    assert solution("05/ex01") == told
    assert read_progress(EXERCISE, workspace).gave_up


def test_without_a_workspace_the_notebook_remembers_what_it_solved(monkeypatch):
    monkeypatch.delenv("LAB_WORKSPACE", raising=False)
    monkeypatch.setattr("lab.practise.notebook._SOLVED_HERE", set())
    with pytest.raises(UsageError):
        solution("05/ex01")
    check("05/1", two_partials)
    assert "z.backward()" in solution("05/ex01")


def test_an_exercise_is_named_within_its_lesson(workspace):
    assert [str(hint(f"{lesson}/ex01", 1)).partition(",")[0] for lesson in ("05", "06", "06_linear_regression")] == [
        "Two partials",
        "Heights and weights",
        "Heights and weights",
    ]
    assert hint("5/1", 1) == hint("gradients/two_partials", 1) == hint("two_partials", 1)
    with pytest.raises(UsageError, match="There is 'ex01' in lessons 05, 06") as caught:
        hint("ex01")
    assert caught.value.next_step == "Type '05/ex01' or '06/ex01'."
    with pytest.raises(UsageError, match="There is no exercise 'ex26'"):
        hint("06/ex26")
    for lesson in ("07", "0", "**", ".."):
        with pytest.raises(UsageError, match="There is no lesson"):
            hint(f"{lesson}/ex01")
