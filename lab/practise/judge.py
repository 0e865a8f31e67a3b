"""Judging: what is not started, wrong or solved, and what is wrong.

Trials are drawn here, the attempt is tried elsewhere, and its numbers are compared here with closed forms. An
untouched stub is known by its text, so that nothing imports torch for it.
"""

from __future__ import annotations

import ast
import glob
import os
import random
import threading
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from lab.device import DTYPES, check_dtype, parse_device, resolve_device
from lab.errors import LabError, UsageError, did_you_mean
from lab.lessons import LESSONS
from lab.practise.discover import discover_exercises, find_exercise, load_check, read_exercise, read_source
from lab.practise.exercise import Check, Exercise, draw_trials
from lab.practise.judgement import Judgement, Status
from lab.practise.observe import observe_function
from lab.practise.process import LIMIT_S, Reply, observe_in_process
from lab.practise.stub import attempt_path, is_untouched
from lab.practise.trial import Attempt, Trial


@dataclass(frozen=True)
class Conditions:
    """What a judgement is made under. device: a name of lab.device. limit_s: seconds for an attempt's process."""

    seed: int = 0
    dtype: str = "float32"
    device: str = "cpu"
    limit_s: float = LIMIT_S

    def validate(self) -> None:
        """Refuse what this machine has not, also where nothing will have to be tried.

        Raises: DeviceUnavailable; UsageError for an unknown dtype.
        """
        if self.dtype not in DTYPES:
            raise UsageError(
                f"There is no dtype {self.dtype!r} to judge in.",
                f"Expected one of {', '.join(DTYPES)}.",
                did_you_mean(self.dtype, DTYPES) or "Name one of these.",
            )
        if parse_device(self.device) != ("cpu", None):  # the CPU is there, and known to be without importing torch
            check_dtype(resolve_device(self.device), self.dtype)

    def prepare(self, exercise: Exercise) -> tuple[Check, list[Trial]]:
        """Load an exercise's check and draw its trials. Raises: DeviceUnavailable, UsageError for its dtype."""
        device = resolve_device(self.device)
        check_dtype(device, self.dtype)
        content = load_check(exercise)
        if self.dtype not in content.dtypes:
            raise UsageError(
                f"{exercise.id} cannot be judged in {self.dtype}.",
                f"Expected one of {', '.join(content.dtypes)}.",
                "Name one of these.",
            )
        seed = f"{self.seed} {exercise.id}"
        return content, draw_trials(content, seed=seed, dtype=self.dtype, device=str(device))


def judge_all(
    lesson_folder: Path, workspace: Path, conditions: Conditions, *, solutions: bool = False
) -> list[Judgement]:
    """Judge what the learner has for every exercise of a lesson, in their order; or the reference solutions.

    Raises: DeviceUnavailable; StorageError where a file cannot be read (an absent one is not started);
    ExecutionError where no process can be started.
    """
    exercises = discover_exercises(lesson_folder)
    return judge_attempts([(e, e.path if solutions else attempt_path(e, workspace)) for e in exercises], conditions)


def judge_attempts(attempts: Sequence[tuple[Exercise, Path]], conditions: Conditions) -> list[Judgement]:
    """Judge attempts, each a file that defines its exercise's function, as many at once as there are processors.

    Raises: as judge_all.
    """
    conditions.validate()
    early = [_judge_text(exercise, path, conditions.seed) for exercise, path in attempts]
    stop = threading.Event()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            running = [
                judgement or pool.submit(_observe, exercise, path, conditions, stop)
                for judgement, (exercise, path) in zip(early, attempts, strict=True)
            ]
            return [r if isinstance(r, Judgement) else _conclude(r.result(), conditions.seed) for r in running]
        except BaseException:  # an interrupt too: the processes end with it
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise


def check(
    exercise_id: str,
    function: Attempt,
    *,
    solutions: bool = False,
    seed: int | None = None,
    dtype: str = "float32",
    device: str = "cpu",
) -> Judgement:
    """Judge a function in this process, for notebooks: ``check("ex01", two_partials)``.

    It shares the process with the judge, so nothing limits how long it runs or what it patches. solutions:
    judge the reference solution in its place. seed: of the trials; None draws one, which the judgement names.

    Raises: UsageError for an unknown exercise or dtype; DeviceUnavailable; LabError for a solution that is wrong.
    """
    # Only files of that name are read, so that a broken exercise elsewhere is no concern of this one.
    named = sorted(LESSONS.glob(f"*/exercises/{glob.escape(exercise_id)}*.py"))
    exercises = [read_exercise(path) for path in named] or [e for f in LESSONS.iterdir() for e in discover_exercises(f)]
    exercise = find_exercise(exercise_id, exercises)
    seed = random.SystemRandom().randrange(2**31) if seed is None else seed
    content, trials = Conditions(seed, dtype, device).prepare(exercise)
    reply = Reply(observe_function(content, content.solution if solutions else function, trials), "", "")
    judgement = _conclude(_Observed(exercise, content, trials, reply, "your cell"), seed)
    if solutions and not judgement.solved:
        raise LabError(
            f"The reference solution of {exercise.id} is wrong with seed {seed}: {judgement.diagnosis}",
            f"Expected it to be right in {dtype} on {device}.",
            "Type 'lab doctor' and report what it prints together with the seed.",
        )
    return judgement


def _judge_text(exercise: Exercise, path: Path, seed: int) -> Judgement | None:
    """Judge by its text what is not started or is no Python; return None for what has to be tried."""
    if not path.exists():
        return _judgement(exercise, Status.NOT_STARTED, f"There is no {path} yet: 'lab exercises' writes it.", seed)
    try:
        with warnings.catch_warnings(action="ignore"):  # the attempt's own process shows them
            module = ast.parse(read_source(path), str(path))
            compile(module, str(path), "exec")
    except SyntaxError as error:
        return _judgement(
            exercise, Status.WRONG, f"Line {error.lineno} of {path.name} is no Python: {error.msg}.", seed
        )
    except ValueError as error:
        return _judgement(exercise, Status.WRONG, f"{path.name} is no Python: {error}.", seed)
    if is_untouched(module, exercise.function):
        return _judgement(exercise, Status.NOT_STARTED, f"Open {path} and replace 'raise NotImplementedError'.", seed)
    return None


@dataclass(frozen=True)
class _Observed:
    """An attempt that was tried. file: what to call its file."""

    exercise: Exercise
    check: Check
    trials: list[Trial]
    reply: Reply
    file: str


def _observe(exercise: Exercise, path: Path, conditions: Conditions, stop: threading.Event) -> _Observed:
    prepare = cache(lambda: conditions.prepare(exercise))
    limit_s = conditions.limit_s
    reply = observe_in_process(exercise, path, lambda: prepare()[1], limit_s=limit_s, stop=stop)
    return _Observed(exercise, *prepare(), reply, path.name)


def _conclude(observed: _Observed, seed: int) -> Judgement:
    """Compare what was observed with what is wanted, and name the mistake."""
    # It imports torch, which nobody waits for who has not started.
    from lab.practise.diagnose import compare_observations, diagnose, is_right

    exercise, content, trials, reply = observed.exercise, observed.check, observed.trials, observed.reply
    if reply.observations is None:
        return _judgement(exercise, Status.WRONG, reply.failure, seed, output=reply.output)
    raised = reply.observations[0].raised
    # torch raises the same kind for an operation that a dtype does not have.
    if raised and raised.type == NotImplementedError.__name__ and "not implemented for" not in raised.message:
        next_step = f"It raises {raised.type}. Replace that."
        return _judgement(exercise, Status.NOT_STARTED, next_step, seed, output=reply.output)
    comparisons = compare_observations(content, trials, reply.observations)
    if is_right(content, trials, reply.observations):
        judgement = _judgement(exercise, Status.SOLVED, "", seed, output=reply.output)
        return replace(judgement, hint="", meaning=exercise.meaning, comparisons=comparisons)
    found = diagnose(content, trials, reply.observations, observed.file)
    judgement = _judgement(exercise, Status.WRONG, found.text, seed, output=reply.output)
    hint = exercise.hints[found.hint - 1]
    return replace(judgement, mistake=found.mistake, hint=hint, comparisons=comparisons)


def _judgement(exercise: Exercise, status: Status, diagnosis: str, seed: int, output: str = "") -> Judgement:
    return Judgement(exercise.id, exercise.title, status, diagnosis, seed, hint=exercise.hints[0], output=output)
