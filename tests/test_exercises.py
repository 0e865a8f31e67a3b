"""The material, tested in both directions: every solution is right, every labelled mistake is told by its name."""

import ast
import inspect
import os
import warnings
from functools import partial
from itertools import product
from pathlib import Path

import pytest
import torch

from lab.device import device_row, present_devices
from lab.lessons import LESSONS
from lab.practise import (
    Conditions,
    Status,
    check,
    discover_exercises,
    find_exercise,
    hint_steps,
    judge_attempts,
)
from lab.practise.diagnose import diagnose, is_right
from lab.practise.discover import execute_source, load_check
from lab.practise.exercise import TRIALS, Exercise, draw_trials
from lab.practise.observe import observe_function
from lab.practise.stub import derive_solved, derive_stub, solution_of
from lab.practise.trial import numbers_in

EXERCISES = [exercise for folder in sorted(LESSONS.iterdir()) for exercise in discover_exercises(folder)]
pytestmark = pytest.mark.usefixtures("one_thread")  # batch_norm of a few numbers waits for its threads
every_exercise = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)


def execute_file(path):
    return execute_source(path.read_bytes(), path)


# More of them are tried by night, for they take long: LAB_SEEDS in .github/workflows/nightly.yml.
SEEDS = range(int(os.environ.get("LAB_SEEDS", "10")))
FEWER = SEEDS[: max(4, len(SEEDS) // 3)]  # for all but float32, which learners meet unless they ask for another


def trials_of(exercise, seed, place=None):
    if place is None:
        return Conditions(seed).prepare(exercise)
    if name_of(place.dtype) not in load_check(exercise).dtypes:
        pytest.skip(f"{exercise.id} is not judged in {name_of(place.dtype)}")
    return Conditions(seed, name_of(place.dtype), str(place.device)).prepare(exercise)


def name_of(dtype):
    return str(dtype).removeprefix("torch.")


def test_the_first_three_are_the_lessons_own():
    assert [e.id for e in EXERCISES[:3]] == ["ex01_two_partials", "ex02_accumulate_and_zero", "ex03_untracked"]


@every_exercise
def test_the_stub_is_not_started(exercise, tmp_path):
    path = tmp_path / exercise.path.name
    path.write_text(derive_stub(exercise))
    (judgement,) = judge_attempts([(exercise, path)], Conditions())
    assert judgement.status is Status.NOT_STARTED
    assert judgement.hint == exercise.hints[0]


@every_exercise
def test_the_stub_runs_and_says_that_it_is_not_implemented(exercise, tmp_path):
    path = tmp_path / exercise.path.name
    path.write_text(derive_stub(exercise))
    function = execute_file(path)[exercise.function]
    solution = execute_file(exercise.path)[exercise.function]
    assert inspect.getdoc(function) == inspect.getdoc(solution)
    assert list(inspect.signature(function).parameters) == list(inspect.signature(solution).parameters)
    assert check(exercise.id, function, seed=0).status is Status.NOT_STARTED


@every_exercise
def test_the_solution_is_right(exercise, place):
    for seed in SEEDS:
        content, trials = trials_of(exercise, seed, place)
        observations = observe_function(content, content.solution, trials)
        assert is_right(content, trials, observations), (seed, observations)


@every_exercise
def test_what_the_last_hint_makes_of_the_stub_is_right(exercise):
    content, trials = trials_of(exercise, 0)
    function = execute_source(derive_solved(exercise), Path("solved.py"))[exercise.function]
    assert is_right(content, trials, observe_function(content, function, trials))


@every_exercise
def test_every_mistake_is_told_by_its_own_diagnosis(exercise, place, monkeypatch):
    for seed in SEEDS if place.dtype == torch.float32 else FEWER:
        content, trials = trials_of(exercise, seed, place)
        seen = {mistake.function: observe_quietly(content, mistake.function, trials) for mistake in content.mistakes}
        if seed:  # with the first seed all is run as for a learner: the mistakes again, to compare with
            remembered = partial(recall, seen, [id(trial) for trial in trials])
            monkeypatch.setattr("lab.practise.diagnose.observe_function", remembered)
        for mistake in content.mistakes:
            observations = seen[mistake.function]
            assert not is_right(content, trials, observations), (seed, mistake)
            diagnosis = diagnose(content, trials, observations, "file.py")
            assert diagnosis.mistake == mistake.function.__name__, (seed, diagnosis.text)
            assert diagnosis.hint == mistake.hint
            assert "{" not in diagnosis.text


def observe_quietly(content, function, trials):
    with warnings.catch_warnings(action="ignore"):  # PyTorch may warn of it, which the attempt's process shows
        return observe_function(content, function, trials)


def recall(seen, known, content, function, trials):
    """Answer as observe_function did for these trials."""
    return [seen[function][known.index(id(trial))] for trial in trials]


@every_exercise
def test_mistakes_are_many_and_each_is_told_differently(exercise):
    mistakes = load_check(exercise).mistakes
    assert len(mistakes) >= 3
    assert len({mistake.diagnosis for mistake in mistakes}) == len(mistakes)
    assert all(mistake.diagnosis and mistake.hint in (1, 2, 3) for mistake in mistakes)


@every_exercise
def test_every_function_of_the_file_has_a_part(exercise):
    names = execute_file(exercise.path)
    content = names["CHECK"]
    parts = {content.solution, content.draw, content.observe, content.expected, *content.predictions}
    parts |= {mistake.function for mistake in content.mistakes}
    written = {n for n in names if getattr(names[n], "__module__", "") == exercise.id and not n.startswith("_")}
    assert written == {part.__name__ for part in parts}
    assert content.solution.__name__ == exercise.function


@every_exercise
def test_there_are_four_hints_and_only_the_last_tells(exercise):
    hints = hint_steps(exercise)
    assert len(hints) == 4
    assert hints[0].endswith("?")
    assert "____" in hints[2]
    solution = solution_of(exercise, ast.parse(exercise.source))
    body = [ast.get_source_segment(exercise.source, statement) for statement in solution.body[1:]]
    assert all(hints[:3])
    assert not [line for line in body for hint in hints[:3] if line in hint]
    assert all(f"+    {line}" in hints[3] for statement in body for line in statement.splitlines()[:1])


@every_exercise
def test_the_seed_decides_what_is_drawn(exercise):
    _, trials = trials_of(exercise, 1)
    assert trials == trials_of(exercise, 1)[1]
    assert trials != trials_of(exercise, 2)[1]
    assert len(trials) == TRIALS >= 6
    assert trials[0].factor == 1
    assert trials[0].inputs == load_check(exercise).first
    assert all(trial.factor not in (1, 2, 3) for trial in trials[1:])


@every_exercise
def test_learners_who_name_no_dtype_are_judged(exercise):
    assert "float32" in load_check(exercise).dtypes


@every_exercise
def test_every_dtype_holds_what_is_drawn_exactly(exercise):
    for seed in SEEDS:
        for trial in trials_of(exercise, seed)[1]:
            numbers = [n for value in (*trial.inputs.values(), trial.factor) for n in numbers_in(value)]
            for dtype in load_check(exercise).dtypes:
                assert torch.tensor(numbers, dtype=getattr(torch, dtype)).tolist() == numbers


ANSWERS = {path.stem: execute_file(path) for path in sorted(Path(__file__).parent.glob("answers/*.py"))}


def test_every_exercise_has_at_least_two_other_right_answers():
    assert {exercise.id for exercise in EXERCISES} == set(ANSWERS)
    assert all(len(names["RIGHT"]) >= 2 for names in ANSWERS.values())


@pytest.mark.parametrize(
    ("exercise", "answer"),
    [(e, answer) for e, names in ANSWERS.items() for answer in names["RIGHT"]],
    ids=lambda part: getattr(part, "__name__", part),
)
def test_a_right_answer_is_accepted_however_it_is_written(exercise, answer):
    for device, dtype in product(present_devices(), load_check(find_exercise(exercise, EXERCISES)).dtypes):
        if dtype in device_row(device.partition(":")[0]).dtypes:
            for seed in FEWER[:2]:
                judgement = check(exercise, answer, seed=seed, dtype=dtype, device=device)
                assert judgement.solved, judgement


@pytest.mark.parametrize(
    ("exercise", "answer", "mistake"),
    [(e, answer, mistake) for e, names in ANSWERS.items() for answer, mistake in names["MISTAKES"].items()],
    ids=lambda part: getattr(part, "__name__", part),
)
def test_a_mistake_is_known_however_it_is_written(exercise, answer, mistake):
    for seed in FEWER[:3]:
        judgement = check(exercise, answer, seed=seed)
        assert judgement.status is Status.WRONG
        assert judgement.mistake == mistake, judgement


@pytest.mark.parametrize(
    ("exercise", "mistake", "told"),
    [
        ("ex01", "backward_twice", "You got 8 = 4 + 4: two backward passes accumulated, "),
        ("ex01", "literal", "Right at x = 2, y = 3 and nowhere else:"),
        ("ex02", "forgot_zero", "The last is 28 = 16 + 12:"),
        ("ex02", "alias", "All three are 12:"),
    ],
)
def test_a_diagnosis_does_the_sum(exercise, mistake, told):
    mistakes = load_check(find_exercise(exercise, EXERCISES)).mistakes
    (function,) = (m.function for m in mistakes if m.function.__name__ == mistake)
    assert check(f"05/{exercise}", function, seed=0).diagnosis.startswith(told)


def test_the_hint_is_the_one_that_the_mistake_needs():
    (inference,) = (f for f, mistake in ANSWERS["ex03_untracked"]["MISTAKES"].items() if mistake == "inference")
    assert check("05/ex03", inference, seed=0).hint == EXERCISES[2].hints[1]


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_no_two_trials_have_the_same_inputs(exercise: Exercise) -> None:
    content = load_check(exercise)
    for seed in range(300):
        inputs = [trial.inputs for trial in draw_trials(content, seed=str(seed), dtype="float32", device="cpu")]
        assert all(one not in inputs[:i] for i, one in enumerate(inputs))
