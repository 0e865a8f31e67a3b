"""``lab grade``: a folder of learners' workspaces judged, for whoever teaches them."""

from __future__ import annotations

import random
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lab.console import DeviceOption, DtypeOption, Isolated, Json, Outputs, SeedOption, make_console, print_json, typed

if TYPE_CHECKING:
    from rich.console import Console

    from lab.practise import Exercise
    from lab.practise.grade import Tell

_NAMED = 2  # mistakes beside each exercise in the terminal


def grade(
    folder: Annotated[Path, typer.Argument(help="Where each learner has a folder with a workspace.")],
    lesson: Annotated[str, typer.Option("--lesson", help="Its number or name; all without.")] = "",
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    seed: SeedOption = None,
    require_sandbox: Isolated = False,
    outputs: Outputs = Path("outputs"),
    json: Json = False,
) -> None:
    """Judge the workspaces of all learners in a folder: who is how far, and which mistakes were met how often."""
    from lab.practise import Conditions
    from lab.practise.grade import grade_folder
    from lab.practise.grade_journal import opened_journal
    from lab.practise.learners import discover_learners
    from lab.practise.sandbox import find_sandbox
    from lab.report.grading import FILES, grading_result, publish_grades
    from lab.store import check_replaceable

    exercises, start = _exercises(lesson), time.perf_counter()
    conditions = Conditions(0, dtype or "float32", device or "cpu")
    conditions.validate()
    sandbox = find_sandbox(accelerator=not conditions.on_cpu, required=require_sandbox)
    discover_learners(folder, {exercise.lesson for exercise in exercises}, besides=outputs)
    check_replaceable(outputs, FILES)
    errors = make_console(stderr=True)
    if sandbox.missing:
        errors.print(f"not isolated: {sandbox.missing}; attempts run as you", soft_wrap=True, markup=False)
    with opened_journal(outputs, folder) as journal:
        # Fresh numbers each time, but the same for all learners, also where it goes on after an interrupt.
        seed = next((s for s in (seed, journal.seed) if s is not None), random.SystemRandom().randrange(2**31))
        _tell_start(errors, seed, len(journal.grades))
        journal.begin(seed)
        conditions = Conditions(seed, conditions.dtype, conditions.device)
        with _progress(errors) as tell:
            found = grade_folder(folder, exercises, conditions, journal=journal, isolated=require_sandbox, tell=tell)
        result = grading_result(found, seconds=time.perf_counter() - start)
        page = publish_grades(result, outputs)
        journal.remove()
    words = ["grade", str(folder), *(["--lesson", lesson] if lesson else []), "--dtype", conditions.dtype]
    words += ["--device", conditions.device, "--seed", str(seed)]
    _print_summary(result, page, f"{typed()} {shlex.join(words)}", make_console(stderr=json))
    if json:
        print_json(result)


def _exercises(lesson: str) -> list[Exercise]:
    from lab.practise import discover_exercises
    from lab.teach.lessons import discover_lessons, find_lesson

    lessons = [find_lesson(lesson)] if lesson else discover_lessons()
    return [exercise for found in lessons for exercise in discover_exercises(found.folder)]


def _tell_start(console: Console, seed: int, judged: int) -> None:
    console.print(f"grading with seed {seed}")
    if judged:
        console.print(f"continues where it stopped: {judged} attempts are judged")


@contextmanager
def _progress(console: Console) -> Iterator[Tell]:
    """Show how far it is: a bar in a terminal; where it is piped, a line every tenth."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    if not console.is_terminal:

        def say(done: int, learners: int) -> None:
            if done == learners or done * 10 // learners > (done - 1) * 10 // learners:
                console.print(f"{done} of {learners} learners")

        yield say
        return
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("learners", total=None)
        yield lambda done, learners: progress.update(task, completed=done, total=learners)


def _print_summary(result: dict[str, Any], page: Path, again: str, console: Console) -> None:
    """Print how far the learners are with each exercise, and what they met most often, in 80 columns."""
    from rich.text import Text

    learners = len(result["learners"])
    console.print(f"{learners} learners, {len(result['exercises'])} exercises", style="bold")
    lesson = ""
    for row in result["exercises"]:
        if row["lesson"] != lesson:
            lesson = row["lesson"]
            console.print(Text(lesson))
        console.print(
            Text(f"  {row['solved']:>{len(str(learners))}} ✓  {_tell_exercise(row)}"), overflow="ellipsis", no_wrap=True
        )
    console.print(Text(f"\nThe page: {page}\nThe same numbers again: {again}"), soft_wrap=True)


def _tell_exercise(row: dict[str, Any]) -> str:
    number = row["exercise"].partition("_")[0]
    met = ", ".join(f"{one['count']} {one['what']}" for one in row["met"][:_NAMED])
    return f"{number} {row['title']}{': ' if met else ''}{met}"
