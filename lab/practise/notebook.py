"""Judging in a notebook's own process: ``check("ex01", two_partials)``."""

from __future__ import annotations

import glob
import random

from lab.errors import LabError
from lab.lessons import LESSONS
from lab.practise.conclude import Observed, conclude
from lab.practise.conditions import Conditions
from lab.practise.discover import discover_exercises, find_exercise, read_exercise
from lab.practise.exercise import Exercise
from lab.practise.judgement import Judgement
from lab.practise.observe import observe_function
from lab.practise.trial import Attempt, Reply


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
    exercise = _find(exercise_id)
    seed = random.SystemRandom().randrange(2**31) if seed is None else seed
    content, trials = Conditions(seed, dtype, device).prepare(exercise)
    reply = Reply(observe_function(content, content.solution if solutions else function, trials))
    judgement = conclude(Observed(exercise, content, trials, reply, "your cell"), seed)
    if solutions and not judgement.solved:
        raise LabError(
            f"The reference solution of {exercise.id} is wrong with seed {seed}: {judgement.diagnosis}",
            f"Expected it to be right in {dtype} on {device}.",
            "Type 'lab doctor' and report what it prints together with the seed.",
        )
    return judgement


def _find(exercise_id: str) -> Exercise:
    """Only files of that name are read, so that a broken exercise elsewhere is no concern of this one."""
    named = sorted(LESSONS.glob(f"*/exercises/{glob.escape(exercise_id)}*.py"))
    exercises = [read_exercise(path) for path in named] or [e for f in LESSONS.iterdir() for e in discover_exercises(f)]
    return find_exercise(exercise_id, exercises)
