"""The material, tested in both directions: every solution is right, every labelled mistake is told by its name."""

import ast
import copy
import inspect

import pytest
import torch

from lab.device import DTYPES
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
from lab.practise.discover import execute_file, load_check
from lab.practise.exercise import TRIALS, Exercise, draw_trials
from lab.practise.observe import observe_function
from lab.practise.stub import derive_stub, solution_of

EXERCISES = [exercise for folder in sorted(LESSONS.iterdir()) for exercise in discover_exercises(folder)]
every_exercise = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)


def seeds(dtype):
    """Many for the dtype that learners meet, some for the others."""
    return range(20 if dtype is torch.float32 else 5)


def trials_of(exercise, seed, place=None):
    if place is None:
        return Conditions(seed).prepare(exercise)
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
    for seed in seeds(place.dtype):
        content, trials = trials_of(exercise, seed, place)
        observations = observe_function(content, content.solution, trials)
        assert is_right(content, trials, observations), (seed, observations)


@every_exercise
def test_every_mistake_is_told_by_its_own_diagnosis(exercise, place):
    for seed in seeds(place.dtype):
        content, trials = trials_of(exercise, seed, place)
        for mistake in content.mistakes:
            observations = observe_function(content, mistake.function, trials)
            assert not is_right(content, trials, observations), (seed, mistake)
            diagnosis = diagnose(content, trials, observations, "file.py")
            assert diagnosis.mistake == mistake.function.__name__, (seed, diagnosis.text)
            assert diagnosis.hint == mistake.hint
            assert "{" not in diagnosis.text


@every_exercise
def test_mistakes_are_many_and_each_is_told_differently(exercise):
    mistakes = execute_file(exercise.path)["CHECK"].mistakes
    assert len(mistakes) >= 3
    assert len({mistake.diagnosis for mistake in mistakes}) == len(mistakes)
    assert all(mistake.diagnosis and mistake.hint in (1, 2, 3) for mistake in mistakes)


@every_exercise
def test_every_function_of_the_file_has_a_part(exercise):
    names = execute_file(exercise.path)
    content = names["CHECK"]
    parts = {content.solution, content.draw, content.observe, content.expected, *(m.function for m in content.mistakes)}
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
    assert trials[0].inputs == execute_file(exercise.path)["CHECK"].first
    assert all(trial.factor not in (1, 2, 3) for trial in trials[1:])


@every_exercise
def test_every_dtype_holds_what_is_drawn_exactly(exercise):
    for seed in seeds(torch.float32):
        for trial in trials_of(exercise, seed)[1]:
            for number in (*trial.inputs.values(), trial.factor):
                assert all(torch.tensor(number, dtype=getattr(torch, dtype)).item() == number for dtype in DTYPES)


# Right answers, written another way.


def two_partials_by_grad(x, y):
    return torch.autograd.grad(x**2 + y**3, (x, y))


def two_partials_one_by_one(x, y):
    (x * x).backward()
    (y * y * y).backward()
    return x.grad, y.grad


def two_partials_from_a_hook(x, y):
    caught = []
    x.register_hook(caught.append)
    y.register_hook(caught.append)
    (x**2).backward()
    (y**3).backward()
    return tuple(caught)


def two_partials_as_numbers(x, y):
    (x.pow(2) + y.pow(3)).backward()
    return [x.grad.item(), float(y.grad)]


def two_partials_with_a_graph_of_their_own(x, y):
    z = x**2 + y**3
    return torch.stack(torch.autograd.grad(z, [x, y], create_graph=True))


def accumulate_with_none(x):
    (x**2).backward()
    first = x.grad.clone()
    (x**3).backward()
    accumulated = x.grad.clone()
    x.grad = None
    (x**3).backward()
    return first, accumulated, x.grad


def accumulate_as_numbers(x):
    (x**2).backward()
    first = x.grad.item()
    (x**3).backward()
    accumulated = x.grad.item()
    x.grad.zero_()
    (x**3).backward()
    return first, accumulated, x.grad.item()


def accumulate_with_an_optimizer(x):
    optimizer = torch.optim.SGD([x])
    (x**2).backward()
    first = copy.deepcopy(x.grad)
    (x**3).backward()
    accumulated = x.grad.detach().clone()
    optimizer.zero_grad()
    (x**3).backward()
    return first, accumulated, x.grad


def accumulate_by_hand(x):
    (first,) = torch.autograd.grad(x**2, x)
    (fresh,) = torch.autograd.grad(x**3, x)
    return first, first + fresh, fresh


@torch.no_grad()
def untracked_by_decorator(f, x):
    return f(x)


def untracked_by_switch(f, x):
    with torch.set_grad_enabled(False):
        return f(x)


def untracked_by_hand(f, x):
    before = torch.is_grad_enabled()
    torch.set_grad_enabled(False)
    try:
        return f(x)
    finally:
        torch.set_grad_enabled(before)


def untracked_twice_over(f, x):
    with torch.no_grad():
        result = f(x.detach())
    return result.detach().clone()


RIGHT = {
    "ex01": (
        two_partials_by_grad,
        two_partials_one_by_one,
        two_partials_from_a_hook,
        two_partials_as_numbers,
        two_partials_with_a_graph_of_their_own,
    ),
    "ex02": (
        accumulate_with_none,
        accumulate_as_numbers,
        accumulate_with_an_optimizer,
        accumulate_by_hand,
    ),
    "ex03": (untracked_by_decorator, untracked_by_switch, untracked_by_hand, untracked_twice_over),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("exercise", "answer"), [(e, answer) for e, answers in RIGHT.items() for answer in answers])
def test_a_right_answer_is_accepted_however_it_is_written(exercise, answer, dtype):
    for seed in range(3):
        judgement = check(exercise, answer, seed=seed, dtype=dtype)
        assert judgement.solved, judgement


# The same mistakes, written another way.


def four_and_27(x, y):
    return 4, 27.0


def central_difference(x, y):
    h = 3e-3
    return ((x + h) ** 2 - (x - h) ** 2) / (2 * h), ((y + h) ** 3 - (y - h) ** 3) / (2 * h)


def functional(x, y):
    return torch.func.grad(lambda x, y: x**2 + y**3, argnums=(0, 1))(x, y)


def through_copies(x, y):
    x, y = (t.detach().clone().requires_grad_() for t in (x, y))
    (x**2 + y**3).backward()
    return x.grad, y.grad


def kept_z_for_grad(x, y):
    torch.autograd.grad(x**2 + y**3, x)
    return x.grad, y.grad


def one_alias_three_times(x):
    for power in (2, 3):
        (x**power).backward()
    x.grad.zero_()
    (x**3).backward()
    return x.grad, x.grad, x.grad


def grads_that_do_not_add(x):
    return [torch.autograd.grad(x**power, x)[0] for power in (2, 3, 3)]


def with_data(f, x):
    return f(x.data)


def inference_by_decorator(f, x):
    return torch.inference_mode()(f)(x)


@pytest.mark.parametrize(
    ("exercise", "answer", "mistake"),
    [
        ("ex01", four_and_27, "literal"),
        ("ex01", central_difference, "finite_difference"),
        ("ex01", functional, "hand_formula"),
        ("ex01", through_copies, "hand_formula"),
        ("ex01", kept_z_for_grad, "forgot_backward"),
        ("ex02", one_alias_three_times, "alias"),
        ("ex02", grads_that_do_not_add, "zeroed_early"),
        ("ex03", with_data, "detach_before"),
        ("ex03", inference_by_decorator, "inference"),
    ],
)
def test_a_mistake_is_known_however_it_is_written(exercise, answer, mistake):
    for seed in range(5):
        judgement = check(exercise, answer, seed=seed)
        assert judgement.status is Status.WRONG
        assert judgement.mistake == mistake, judgement


@pytest.mark.parametrize(
    ("exercise", "mistake", "told"),
    [
        ("ex01", "backward_twice", "You got 8 = 4 + 4: two backward passes accumulated."),
        ("ex01", "literal", "Right at x = 2, y = 3 and nowhere else:"),
        ("ex02", "forgot_zero", "The last is 28 = 16 + 12:"),
        ("ex02", "alias", "All three are 12:"),
    ],
)
def test_a_diagnosis_does_the_sum(exercise, mistake, told):
    mistakes = execute_file(find_exercise(exercise, EXERCISES).path)["CHECK"].mistakes
    (function,) = (m.function for m in mistakes if m.function.__name__ == mistake)
    assert check(exercise, function, seed=0).diagnosis.startswith(told)


def test_the_hint_is_the_one_that_the_mistake_needs():
    assert check("ex03", inference_by_decorator, seed=0).hint == EXERCISES[2].hints[1]


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_no_two_trials_have_the_same_inputs(exercise: Exercise) -> None:
    content = load_check(exercise)
    for seed in range(300):
        inputs = [trial.inputs for trial in draw_trials(content, seed=str(seed), dtype="float32", device="cpu")]
        assert all(one not in inputs[:i] for i, one in enumerate(inputs))
