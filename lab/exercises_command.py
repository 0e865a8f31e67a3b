"""The commands of the exercises: ``lab exercises``, and what stands below it, such as check and watch."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from lab.console import (
    WORKSPACE,
    DeviceOption,
    DtypeOption,
    Id,
    Isolated,
    Json,
    LessonOption,
    SeedOption,
    Which,
    Workspace,
    make_console,
    open_session,
    print_json,
    typed,
)
from lab.errors import LabError, UsageError
from lab.practise import Conditions, Exercise, Judgement, Session, Status

exercises_app = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)


def _say_isolation(session: Session) -> None:
    if missing := session.judge.sandbox.missing:
        make_console(stderr=True).print(f"Your code runs as you, not isolated: {missing}.", style="dim", soft_wrap=True)


def _again(session: Session, exercise: Exercise, seed: int) -> str:
    under = session.judge.conditions
    options = ["--dtype", under.dtype, "--device", under.device, "--seed", str(seed)]
    return f"{typed()} {shlex.join(['exercises', 'check', *_named(exercise), *options])}"


def _named(exercise: Exercise) -> list[str]:
    """Return the words that name an exercise to a command; exercises are numbered within their lesson."""
    return [exercise.number, "--lesson", exercise.lesson_number]


def _explain(session: Session, judgement: Judgement, console: Any) -> None:
    from lab.practise.report import explain_judgement

    exercise = session.find(judgement.id)
    again = _again(session, exercise, judgement.seed)
    for text in explain_judgement(judgement, session.path(exercise), again=again):
        console.print(text, soft_wrap=bool(text.no_wrap))


@exercises_app.callback(invoke_without_command=True)
def exercises(
    context: typer.Context,
    lesson: LessonOption = "",
    solutions: Annotated[
        bool, typer.Option("--solutions", help="Judge the reference solutions; exit 1 if one fails.")
    ] = False,
    workspace: Workspace = WORKSPACE,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    seed: SeedOption = None,
    require_sandbox: Isolated = False,
    json: Json = False,
) -> int:
    """Judge your attempts: how far you are, and what is wrong with the first that is."""
    if context.invoked_subcommand is not None:
        _refuse_options(context)
        return 0
    if solutions:
        return _judge_solutions(lesson, seed, {"device": device or "cpu", "dtype": dtype}, json=json)
    from lab.practise.report import first_to_explain, report_judgements

    with open_session(lesson, workspace, seed, require_sandbox, device=device, dtype=dtype) as session:
        judgements = session.check(session.exercises)
        console = make_console(stderr=json)
        if json:
            print_json({"exercises": [judgement.to_json() for judgement in judgements]})
        for text in report_judgements(judgements):
            console.print(text)
        console.print()
        if shown := first_to_explain(judgements):
            _explain(session, shown, console)
        else:
            console.print("\n\n".join(f"{each.title}: {each.meaning}" for each in judgements if each.solved))
        if any(judgement.status is not Status.NOT_STARTED for judgement in judgements):
            _say_isolation(session)
    return 0


def _refuse_options(context: typer.Context) -> None:
    """Options before a command below would be ignored: say so."""
    given = [name for name in context.params if str(context.get_parameter_source(name)).endswith("COMMANDLINE")]
    if given:
        raise UsageError(
            f"Options of 'lab exercises' stand before {context.invoked_subcommand!r}: {', '.join(given)}.",
            "Expected them after it.",
            f"Type 'lab exercises {context.invoked_subcommand} --help' to see which it has.",
        )


def _judge_solutions(lesson: str, seed: int | None, conditions: dict[str, str | None], *, json: bool) -> int:
    """Judge the reference solutions of one lesson or of all; return the exit code, 1 where one is not accepted."""
    from lab.practise import attempts_at, judge_attempts
    from lab.practise.report import report_judgements
    from lab.teach.lessons import discover_lessons, find_lesson

    folders = [each.folder for each in ([find_lesson(lesson)] if lesson else discover_lessons())]
    under = Conditions(seed or 0, **{name: word for name, word in conditions.items() if word})  # type: ignore[arg-type]
    attempts = [attempt for folder in folders for attempt in attempts_at(folder, Path(), solutions=True)]
    judgements = judge_attempts(attempts, under)
    if json:
        print_json({"exercises": [judgement.to_json() for judgement in judgements]})
    for text in report_judgements(judgements):
        make_console(stderr=json).print(text)
    wrong = [judgement for judgement in judgements if judgement.status in (Status.WRONG, Status.NOT_STARTED)]
    for judgement in wrong:
        make_console(stderr=json).print(
            f"{judgement.title} (seed {judgement.seed}): {judgement.diagnosis}", markup=False
        )
    return 1 if wrong else 0


@exercises_app.command()
def check(
    exercise: Which = "",
    lesson: LessonOption = "",
    workspace: Workspace = WORKSPACE,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    seed: SeedOption = None,
    require_sandbox: Isolated = False,
    json: Json = False,
) -> int:
    """Judge one attempt; exit 1 unless it is solved."""
    with open_session(lesson, workspace, seed, require_sandbox, device=device, dtype=dtype) as session:
        (judgement,) = session.check([session.find(exercise)])
        if judgement.status is Status.NOT_JUDGED:
            raise UsageError(judgement.diagnosis, "Expected one of its own dtypes.", "Name one with --dtype.")
        if json:
            print_json(judgement.to_json())
        _explain(session, judgement, make_console(stderr=json))
        _say_isolation(session)
    return 0 if judgement.solved else 1


@exercises_app.command()
def watch(
    lesson: LessonOption = "",
    workspace: Workspace = WORKSPACE,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    seed: SeedOption = None,
    require_sandbox: Isolated = False,
) -> None:
    """Judge an attempt whenever it is saved, until Ctrl-C."""
    from lab.practise.report import first_to_explain
    from lab.practise.watch import Watch

    console = make_console(stderr=False)
    with (
        contextlib.suppress(KeyboardInterrupt),
        open_session(lesson, workspace, seed, require_sandbox, device=device, dtype=dtype) as session,
    ):
        _say_isolation(session)
        session.judge.start()
        session.prepare()
        watched = Watch(session.exercises, workspace)
        known = dict(zip(session.exercises, session.check(session.exercises), strict=True))
        _show_watch(session, list(known.values()), first_to_explain(list(known.values())), console)
        while saved := watched.wait():
            try:
                known.update(zip(saved, session.check(saved), strict=True))
            except LabError as error:  # such as a file that cannot be read just now
                console.print(str(error), markup=False)
            else:
                _show_watch(session, list(known.values()), known[saved[-1]], console)


def _show_watch(session: Session, judgements: Sequence[Judgement], shown: Judgement | None, console: Any) -> None:
    """Show one judgement on an empty screen, and what comes next."""
    from lab.practise.report import count_solved, first_to_explain

    if console.is_terminal:
        console.clear()
    if shown is not None:
        _explain(session, shown, console)
    following = first_to_explain(judgements)
    if following is None:
        console.print("All solved.")
    elif shown is None or shown.solved:
        console.print(f"Next: {following.title}. {session.path(session.find(following.id))}", soft_wrap=True)
    console.print(f"{count_solved(judgements)}. Save a file to have it judged; Ctrl-C ends.\n", style="dim")


@exercises_app.command()
def hint(
    exercise: Id,
    step: Annotated[
        int | None, typer.Argument(min=1, max=4, help="From 1, a question, to 4, the solution.", show_default=False)
    ] = None,
    lesson: LessonOption = "",
    workspace: Workspace = WORKSPACE,
) -> None:
    """Give a hint: the one that your last mistake needs, then one step more each time; or that step."""
    from lab.practise import hint_steps

    with open_session(lesson, workspace) as session:
        found = session.find(exercise)
        step = session.progress(found).next_hint if step is None else step
        console = make_console(stderr=False)
        console.print(f"{found.title}, hint {step} of 4\n{hint_steps(found)[step - 1]}", markup=False)
        session.note(found, "hint", step=step)


@exercises_app.command()
def solution(
    exercise: Id,
    give_up: Annotated[bool, typer.Option("--give-up", help="Show it although you have not solved it.")] = False,
    lesson: LessonOption = "",
    workspace: Workspace = WORKSPACE,
) -> None:
    """Show the reference solution beside your answer, once it is solved or you give up."""
    with open_session(lesson, workspace) as session:
        found = session.find(exercise)
        progress = session.progress(found)
        if not (progress.solved or progress.gave_up or give_up):
            named = shlex.join(_named(found))
            raise UsageError(
                f"{found.title} is not solved yet.",
                "Expected an answer that was accepted, or that you give up.",
                f"Type 'lab exercises hint {named}', or 'lab exercises solution {named} --give-up'.",
            )
        if not progress.solved and not progress.gave_up:
            session.note(found, "gave up")
        _show_solution(session, found)


def _show_solution(session: Session, exercise: Exercise) -> None:
    from lab.practise.solutions import answer_text, beside, solution_text

    path = session.path(exercise)
    yours = answer_text(exercise, path.read_text("utf-8", errors="replace")) if path.exists() else "nothing yet"
    reference = solution_text(exercise)
    console = make_console(stderr=False)
    for line in beside(yours, reference, console.width):
        console.print(line, markup=False, soft_wrap=True)
    console.print(f"\n{exercise.title}: {exercise.meaning}", markup=False)


@exercises_app.command()
def reset(exercise: Id, lesson: LessonOption = "", workspace: Workspace = WORKSPACE) -> None:
    """Begin an exercise anew; what you have is kept beside it."""
    from lab.practise import reset_attempt

    with open_session(lesson, workspace) as session:
        found = session.find(exercise)
        backup = reset_attempt(found, workspace)
        session.note(found, "reset", backup=backup.name if backup else "")
        kept = f" What you had: {backup}" if backup else ""
        make_console(stderr=False).print(f"{session.path(found)} is as it was.{kept}", markup=False, soft_wrap=True)


@exercises_app.command()
def merge(
    other: Annotated[Path, typer.Argument(help="Another workspace, such as a copy from another machine.")],
    lesson: LessonOption = "",
    workspace: Workspace = WORKSPACE,
) -> None:
    """Take over the progress that another workspace has. Attempts themselves are left as they are."""
    from lab.practise.progress import merge_progress

    if not other.is_dir():
        raise UsageError(f"There is no folder {other}.", "Expected another workspace.", "Name one.")
    with open_session(lesson, workspace) as session:
        new = sum(merge_progress(exercise, workspace, other) for exercise in session.exercises)
        make_console(stderr=False).print(f"{new} events are new here.")
