"""An exercise is a file in a folder."""

import pytest

from lab.errors import StorageError, UsageError
from lab.lessons import LESSONS
from lab.practise import discover_exercises, find_exercise
from lab.practise.discover import execute_source

EXERCISES = discover_exercises(LESSONS / "05_gradients")
FILE = '''"""Identity.

What it means.
"""
from torch import Tensor


def identity(x: Tensor) -> Tensor:
    """Return x."""
    return x


HINTS = ("What?", "Look up nothing.", "return ____")
'''


@pytest.fixture
def lesson(tmp_path):
    (tmp_path / "09_other" / "exercises").mkdir(parents=True)
    return tmp_path / "09_other"


def test_adding_a_file_adds_an_exercise(lesson):
    path = lesson / "exercises" / "ex07_identity.py"
    path.write_text(FILE)
    (exercise,) = discover_exercises(lesson)
    assert (exercise.id, exercise.title, exercise.function) == ("ex07_identity", "Identity", "identity")
    assert (exercise.lesson, exercise.meaning) == ("09_other", "What it means.")
    assert exercise.hints == ("What?", "Look up nothing.", "return ____")


def test_exercises_are_in_the_order_of_their_names(lesson):
    for number in (10, 9, 8):
        (lesson / "exercises" / f"ex{number:02}_identity.py").write_text(FILE)
    assert [e.id for e in discover_exercises(lesson)] == ["ex08_identity", "ex09_identity", "ex10_identity"]


def test_a_lesson_may_have_none(tmp_path):
    assert discover_exercises(tmp_path) == []


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("Identity.\n\nWhat it means.", "Identity.", "its docstring is not a title and what it means"),
        ('"What?", ', "", "HINTS has 2 hints"),
        ("HINTS", "HINT", "HINTS has 0 hints"),
        ("def identity", "def other", "it has no function 'identity'"),
        ('    """Return x."""\n', "", "it has no function 'identity'"),
        ("return x\n", "return (\n", r"'\(' was never closed"),
    ],
)
def test_a_file_that_is_no_exercise_is_named(lesson, old, new, reason):
    path = lesson / "exercises" / "ex07_identity.py"
    path.write_text(FILE.replace(old, new))
    with pytest.raises(UsageError, match=rf"ex07_identity\.py is no exercise: {reason}"):
        discover_exercises(lesson)


def test_a_file_that_cannot_be_read_is_a_storage_error(lesson):
    (lesson / "exercises" / "ex07_identity.py").mkdir()
    with pytest.raises(StorageError, match="Could not read"):
        discover_exercises(lesson)


@pytest.mark.parametrize("name", ["ex02", "ex02_accumulate_and_zero"])
def test_an_exercise_is_found_by_id_or_number(name):
    assert find_exercise(name, EXERCISES) is EXERCISES[1]


@pytest.mark.parametrize(("name", "guess"), [("ex03_untraked", "Did you mean 'ex03_untracked'"), ("", "lab exercises")])
def test_an_unknown_exercise_is_answered_with_the_known_ones(name, guess):
    with pytest.raises(UsageError, match=guess) as error:
        find_exercise(name, EXERCISES)
    assert "ex01_two_partials" in str(error.value)


def test_a_file_edited_twice_in_a_second_is_the_newer_one(tmp_path):
    path = tmp_path / "attempt.py"
    path.write_text("x = 1")
    assert execute_source(path.read_bytes(), path)["x"] == 1
    path.write_text("x = 2")
    assert execute_source(path.read_bytes(), path)["x"] == 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["attempt.py"]
