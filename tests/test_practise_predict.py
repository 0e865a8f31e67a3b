"""Predictions: code that runs, questions that can be answered, answers that are read and judged."""

import math
from contextlib import nullcontext

import pytest

from lab.lessons import LESSONS
from lab.practise import discover_exercises
from lab.practise.predict import (
    RAISES,
    Question,
    ask_questions,
    has_questions,
    read_prediction,
    tell_truth,
)
from lab.warm import Warm

EXERCISES = [exercise for folder in sorted(LESSONS.iterdir()) for exercise in discover_exercises(folder)]
ASKING = [exercise for exercise in EXERCISES if has_questions(exercise)]


def question(truth):
    return Question("name", "return x", {"x": 2.0}, truth, "So it is.")


def test_what_surprises_most_is_asked():
    """The ladder names them: accumulation, the alias of .grad, non-leaves, .data."""
    asking = " ".join(exercise.id for exercise in ASKING)
    assert all(number in asking for number in ("ex02", "ex05", "ex06", "ex13", "ex17"))


@pytest.fixture(scope="module")
def warm():
    with Warm("torch") as warm:
        yield warm


@pytest.mark.parametrize("exercise", ASKING, ids=lambda exercise: exercise.id)
def test_every_question_runs_and_can_be_answered(exercise, warm, monkeypatch):
    monkeypatch.setattr("lab.practise.predict.Warm", lambda _: nullcontext(warm))  # one import of torch for all
    questions = ask_questions(exercise, seed=1)
    assert questions
    for each in questions:
        assert "def " not in each.code.splitlines()[0]
        assert '"""' not in each.code
        assert each.reason
        assert each.is_answered_by(read_prediction(str(each.truth)))  # as a learner would type it


def test_the_seed_decides_the_inputs():
    exercise = ASKING[0]
    assert ask_questions(exercise, 1) == ask_questions(exercise, 1)
    assert [q.inputs for q in ask_questions(exercise, 1)] != [q.inputs for q in ask_questions(exercise, 2)]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("4\n", 4.0),
        (" 4.5 ", 4.5),
        ("[1, 2]", [1.0, 2.0]),
        ("True", True),
        ("no", False),
        ("None", None),
        ("error", RAISES),
        ("raises", RAISES),
        ("inf", math.inf),
    ],
)
def test_a_prediction_is_read_as_it_is_typed(typed, said):
    assert read_prediction(typed) == said


@pytest.mark.parametrize("typed", ["", "x + 1", "open('f')", "4 5", "("])
def test_what_is_no_prediction_is_not_run(typed):
    with pytest.raises(ValueError):  # noqa: PT011  # whatever it says
        read_prediction(typed)


@pytest.mark.parametrize(
    ("truth", "right", "wrong"),
    [
        (4.0, (4.0, 4.001), (5.0, True, None, [4.0])),
        ([1.0, 2.0], ([1.0, 2.0],), ([2.0, 1.0], 1.0)),
        (True, (True,), (False, 1.0)),
        (None, (None,), (0.0, False)),
        (RAISES, (RAISES,), (None, 0.0)),
        (math.nan, (math.nan,), (0.0,)),
    ],
)
def test_a_prediction_is_right_when_it_says_the_same(truth, right, wrong):
    assert all(question(truth).is_answered_by(said) for said in right)
    assert not any(question(truth).is_answered_by(said) for said in wrong)


def test_the_truth_is_told_with_its_reason():
    assert tell_truth(question(4.0), 4.0) == "Right: it returns 4. So it is."
    assert tell_truth(question(4.0), 5.0) == "You said 5; it returns 4. So it is."
    assert tell_truth(question(RAISES), None) == "You said None; it raises an error. So it is."
