"""The exercises in a notebook: ``check("05/ex01", two_partials)``, ``hint("05/ex01")``, ``solution("05/ex01")``.

Exercises are numbered within their lesson, so it is named where several have that number.

Where LAB_WORKSPACE names a workspace, as `make jupyter` does, progress is kept there, with that of the terminal.
"""

from __future__ import annotations

import inspect
import os
import random
from contextlib import suppress
from pathlib import Path

from lab.errors import LabError, UsageError
from lab.lessons import find_lesson_folder, lesson_folders
from lab.practise.conclude import Observed, conclude
from lab.practise.conditions import Conditions
from lab.practise.discover import find_exercise, is_named, read_exercise
from lab.practise.exercise import Exercise
from lab.practise.hints import hint_steps
from lab.practise.judgement import Judgement
from lab.practise.observe import observe_function
from lab.practise.progress import LAST_HINT, Progress, read_progress, record, record_judgement
from lab.practise.solutions import solution_text
from lab.practise.trial import Attempt, Reply

_SOLVED_HERE: set[Path] = set()  # in this notebook, where no workspace remembers


def check(
    exercise_id: str,
    function: Attempt,
    *,
    solutions: bool = False,
    seed: int | None = None,
    dtype: str = "float32",
    device: str = "cpu",
) -> Judgement:
    """Judge a function in this process, for notebooks: ``check("05/ex01", two_partials)``.

    It shares the process with the judge, so nothing limits how long it runs or what it patches. solutions:
    judge the reference solution in its place. seed: of the trials; None draws one, which the judgement names.

    Raises: UsageError for an unknown exercise or dtype; DeviceUnavailable; LabError for a solution that is wrong.
    """
    exercise = _find(exercise_id)
    seed = random.SystemRandom().randrange(2**31) if seed is None else seed
    content, trials = Conditions(seed, dtype, device).prepare(exercise)
    reply = Reply(observe_function(content, content.solution if solutions else function, trials))
    judgement = conclude(Observed(exercise, content, trials, reply, "your cell"), seed)
    if judgement.solved and not solutions:
        _SOLVED_HERE.add(exercise.path)
    if not solutions and (workspace := _workspace()):
        record_judgement(exercise, workspace, judgement, _text(function))
    if solutions and not judgement.solved:
        raise LabError(
            f"The reference solution of {exercise.id} is wrong with seed {seed}: {judgement.diagnosis}",
            f"Expected it to be right in {dtype} on {device}.",
            "Type 'lab doctor' and report what it prints together with the seed.",
        )
    return judgement


def hint(exercise_id: str, step: int | None = None) -> Told:
    """Return a hint: the one that the last mistake needs, then one step more each time; or that step, 1 to 4.

    Raises: UsageError for an unknown exercise or another step.
    """
    exercise, workspace = _find(exercise_id), _workspace()
    if step is None:
        step = read_progress(exercise, workspace).next_hint if workspace else 1
    if step not in range(1, LAST_HINT + 1):
        raise UsageError(f"There is no hint {step}.", f"Expected 1 to {LAST_HINT}.", "Ask for one of these.")
    if workspace:
        record(exercise, workspace, "hint", step=step)
    more = "" if workspace or step == LAST_HINT else f"\nThe next one: hint({exercise_id!r}, {step + 1})"
    return Told(f"{exercise.title}, hint {step} of {LAST_HINT}\n{hint_steps(exercise)[step - 1]}{more}")


def solution(exercise_id: str, *, give_up: bool = False) -> Told:
    """Return the reference solution and what it means, once the exercise is solved or given up.

    Raises: UsageError before that, and for an unknown exercise.
    """
    exercise, workspace = _find(exercise_id), _workspace()
    progress = read_progress(exercise, workspace) if workspace else Progress(exercise.id)
    if not (give_up or progress.solved or progress.gave_up or exercise.path in _SOLVED_HERE):
        raise UsageError(
            f"{exercise.title} is not solved yet, as far as is known here.",
            "Expected an answer that was accepted, or that you give up.",
            f"Type hint({exercise_id!r}), or solution({exercise_id!r}, give_up=True).",
        )
    if workspace and give_up and not (progress.solved or progress.gave_up):
        record(exercise, workspace, "gave up")
    return Told(f"{solution_text(exercise)}\n\n{exercise.title}: {exercise.meaning}")


class Told(str):
    """Words that a notebook shows as they are, not as a quoted string."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _workspace() -> Path | None:
    named = os.environ.get("LAB_WORKSPACE")
    return Path(named) if named else None


def _text(function: Attempt) -> str:
    with suppress(OSError, TypeError):
        return inspect.getsource(function)
    return ""


def _find(exercise_id: str) -> Exercise:
    """Only files of that name are read, so that a broken exercise elsewhere is no concern of this one."""
    lesson, _, name = exercise_id.rpartition("/")
    folders = [find_lesson_folder(lesson)] if lesson else lesson_folders()
    paths = [path for folder in folders for path in sorted(folder.glob("exercises/*.py"))]
    named = [path for path in paths if is_named(name, path.stem)]
    if len(named) > 1:
        numbers = [path.parent.parent.name.partition("_")[0] for path in named]
        raise UsageError(
            f"There is {name!r} in lessons {', '.join(numbers)}.",
            "Expected a lesson's number before it.",
            f"Type {' or '.join(repr(f'{number}/{name}') for number in numbers)}.",
        )
    return find_exercise(name, map(read_exercise, named or paths))
