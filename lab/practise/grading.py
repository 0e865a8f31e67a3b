"""What a grading found: a grade for each learner and exercise, and which mistakes were met how often."""

from __future__ import annotations

import enum
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from lab.practise.conditions import Conditions
from lab.practise.exercise import Exercise
from lab.practise.judge import ENDED
from lab.practise.judgement import Judgement, Status
from lab.practise.process import BY_SIGNAL

SCHEMA = 1
NOT_RECOGNISED = "not recognised"
_SHOWN = 3  # of the sentences that one mistake was told in


class Outcome(enum.StrEnum):
    """How far a learner is with an exercise."""

    SOLVED = "solved"
    WRONG = "wrong"
    NOT_STARTED = "not started"
    UNREADABLE = "unreadable"  # a file that is there and cannot be read
    NOT_JUDGED = "not judged"  # the judge itself was lost, twice


@dataclass(frozen=True)
class Grade:
    """What came of one attempt. mistake: the name of the known mistake that it is, or nothing.

    diagnosis: one line of printable text.
    """

    outcome: Outcome
    mistake: str = ""
    diagnosis: str = ""

    @property
    def met(self) -> str:
        """What it counts as: the mistake, that it is none of the known ones, or why there is nothing to compare."""
        return (self.mistake or NOT_RECOGNISED) if self.outcome is Outcome.WRONG else str(self.outcome)

    def to_json(self) -> dict[str, str]:
        """Return it as plain data."""
        return {"status": str(self.outcome), "mistake": self.mistake, "diagnosis": self.diagnosis}

    @classmethod
    def from_json(cls, data: Mapping[str, str]) -> Self:
        """Read what to_json wrote. Raises: KeyError or ValueError for anything else."""
        return cls(Outcome(data["status"]), data["mistake"], data["diagnosis"])


def grade_of(judgement: Judgement) -> Grade:
    """Return what a judgement comes to."""
    outcomes = {
        Status.SOLVED: Outcome.SOLVED,
        Status.WRONG: Outcome.WRONG,
        Status.NOT_STARTED: Outcome.NOT_STARTED,
        Status.NOT_JUDGED: Outcome.NOT_JUDGED,
    }
    return Grade(outcomes[judgement.status], judgement.mistake, one_line(judgement.diagnosis))


def is_final(grade: Grade) -> bool:
    """Say whether a grade is the attempt's own doing: one that is judged beside others may be ended by them."""
    ended = grade.diagnosis == ENDED or BY_SIGNAL in grade.diagnosis
    return grade.outcome is not Outcome.NOT_JUDGED and not ended


def one_line(text: str) -> str:
    """Return a text in one line, with nothing in it that cannot be printed: a learner may have chosen it."""
    line = " ".join(text.split())
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)


def first_sentence(text: str, longest: int = 200) -> str:
    """Return the first sentence of a line, cut where it is long."""
    sentence = re.split(r"(?<=[.?!])\s", text, maxsplit=1)[0]
    return sentence if len(sentence) <= longest else f"{sentence[: longest - 1]}…"


@dataclass(frozen=True)
class Graded:
    """One learner. grades: in the order of the exercises."""

    learner: str
    grades: tuple[Grade, ...]

    @property
    def solved(self) -> int:
        """How many exercises are solved."""
        return sum(grade.outcome is Outcome.SOLVED for grade in self.grades)


@dataclass(frozen=True)
class Grading:
    """All of it. folder: its name. isolated: whether attempts ran in a sandbox.

    continued: how many attempts an interrupted grading had judged before; again: the learners whose judge was lost
    once. Both say how it went, not what was found.
    """

    folder: str
    exercises: tuple[Exercise, ...]
    learners: tuple[Graded, ...]
    conditions: Conditions
    isolated: bool
    continued: int = 0
    again: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return what grades.json holds, but for what stands around the result."""
        given = self.conditions
        return {
            "schema": SCHEMA,
            "folder": one_line(self.folder),
            "seed": given.seed,
            "dtype": given.dtype,
            "device": given.device,
            "limit_s": given.limit_s,
            "isolated": self.isolated,
            "exercises": [self._tell(number, exercise) for number, exercise in enumerate(self.exercises)],
            "learners": [self._list(learner) for learner in self.learners],
        }

    def _tell(self, number: int, exercise: Exercise) -> dict[str, Any]:
        grades = [learner.grades[number] for learner in self.learners]
        met = count_met(grades)
        solved = len(grades) - sum(one["count"] for one in met)
        return {"lesson": exercise.lesson, "exercise": exercise.id, "title": exercise.title} | {
            "solved": solved,
            "met": met,
        }

    def _list(self, learner: Graded) -> dict[str, Any]:
        grades = [
            {"lesson": exercise.lesson, "exercise": exercise.id, **grade.to_json()}
            for exercise, grade in zip(self.exercises, learner.grades, strict=True)
        ]
        return {"learner": learner.learner, "solved": learner.solved, "grades": grades}


def count_met(grades: Sequence[Grade]) -> list[dict[str, Any]]:
    """Return what was met in one exercise beside its solution, the most frequent first, mistakes before the rest.

    Each has the sentences that it was told in, the most frequent first, with how often.
    """
    wrong = [grade for grade in grades if grade.outcome is not Outcome.SOLVED]
    counts = Counter(grade.met for grade in wrong)
    rest = [str(outcome) for outcome in Outcome]
    told = {what: Counter(first_sentence(g.diagnosis) for g in wrong if g.met == what) for what in counts}
    return [
        {
            "what": what,
            "count": counts[what],
            "told": [{"sentence": sentence, "count": n} for sentence, n in _ranked(told[what])[:_SHOWN]],
        }
        for what in sorted(counts, key=lambda what: (what in rest, -counts[what], what))
    ]


def _ranked(counter: Counter[str]) -> list[tuple[str, int]]:
    """Return what was counted, the most frequent first, the equally frequent in the order of their letters."""
    return sorted(counter.items(), key=lambda item: (-item[1], item[0]))
