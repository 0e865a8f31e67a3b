"""The command ``lab exercises predict``: what code that surprises returns, said before it is seen."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from typing import Any

from lab.console import WORKSPACE, LessonOption, SeedOption, Which, Workspace, make_console, open_session
from lab.errors import UsageError
from lab.practise import Exercise, Session


def predict(
    exercise: Which = "", lesson: LessonOption = "", workspace: Workspace = WORKSPACE, seed: SeedOption = None
) -> None:
    """Say what code that surprises returns, before you see it run."""
    from lab.practise.predict import RAISES, ask_questions

    console = make_console(stderr=False)
    with open_session(lesson, workspace) as session:
        asked = session.find(exercise) if exercise else _next(session)
        questions = ask_questions(asked, random.SystemRandom().randrange(2**31) if seed is None else seed)
        if not questions:
            raise UsageError(
                f"{asked.title} has nothing to predict.",
                f"Expected one of {', '.join(e.id.partition('_')[0] for e in _with_questions(session))}.",
                "Name one of these.",
            )
        console.print(f"{asked.title}: predict, then see. A number, True, False, None, or {RAISES!r}.\n", markup=False)
        for number, question in enumerate(questions, 1):
            if not _ask(session, asked, question, f"{number} of {len(questions)}", console):
                return


def _with_questions(session: Session) -> Sequence[Exercise]:
    from lab.practise.predict import has_questions

    return [exercise for exercise in session.exercises if has_questions(exercise)]


def _next(session: Session) -> Exercise:
    """Return the first exercise whose questions nobody was asked yet; the first with any where all were."""
    having = _with_questions(session)
    if not having:
        raise UsageError("There is nothing to predict here.", "Expected an exercise that asks.", "Try another lesson.")
    asked = (e for e in having if not any(event["what"] == "predicted" for event in session.progress(e).events))
    return next(asked, having[0])


def _ask(session: Session, exercise: Exercise, question: Any, number: str, console: Any) -> bool:
    """Ask one question until the answer can be read; tell the truth. Returns False where nobody answers."""
    from lab.practise.predict import read_prediction, tell_truth
    from lab.practise.trial import show

    given = ", ".join(f"{name} = {value}" for name, value in question.inputs.items())
    code = "\n".join(f"    {line}" for line in question.code.splitlines())
    console.print(f"{number}. {given}, tracked. What does this return?\n\n{code}\n", markup=False)
    while True:
        console.print("your prediction: ", end="")
        line = sys.stdin.readline()
        if not line:
            console.print("\nNobody answers. Come back when you have a prediction.")
            return False
        try:
            said = read_prediction(line)
            break
        except ValueError:
            console.print("Expected a number, a list of numbers such as [1, 2], True, False, None or error.")
    console.print(f"{tell_truth(question, said)}\n", markup=False)
    session.note(exercise, "predicted", question=question.name, said=show(said), right=question.is_answered_by(said))
    return True
