"""A learner at work: the exercises of one lesson, judged, with what was tried kept in the workspace."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from lab.errors import StorageError
from lab.practise.conditions import Conditions
from lab.practise.discover import discover_exercises, find_exercise
from lab.practise.exercise import Exercise
from lab.practise.judge import Judge, read_if_there
from lab.practise.judgement import Judgement
from lab.practise.progress import Progress, read_progress, record, record_judgement
from lab.practise.sandbox import Sandbox
from lab.practise.stub import attempt_path, prepare_workspace


class Session:
    """The exercises of a lesson's folder, and a workspace.

    seed: of every judgement; None draws a new one each time, so that an answer made for the last numbers is none.
    complaint: why progress is not kept, once it could not be.

    Raises: DeviceUnavailable, UsageError.
    """

    def __init__(
        self,
        lesson_folder: Path,
        workspace: Path,
        conditions: Conditions | None = None,
        *,
        seed: int | None = None,
        sandbox: Sandbox | None = None,
    ) -> None:
        self.exercises = discover_exercises(lesson_folder)
        self.workspace = workspace
        self.complaint = ""
        self._seed = seed
        self.judge = Judge(conditions, sandbox=sandbox)

    def prepare(self) -> None:
        """Write the stub of every exercise without an attempt. Raises: StorageError where that cannot be."""
        prepare_workspace(self.exercises, self.workspace)

    def find(self, exercise_id: str) -> Exercise:
        """Return an exercise by id; the next one for an empty word. Raises: UsageError."""
        return find_exercise(exercise_id, self.exercises) if exercise_id else self.next()

    def next(self) -> Exercise:
        """Return the first exercise that was never solved; the first of all where all were."""
        return next((e for e in self.exercises if not self.progress(e).solved), self.exercises[0])

    def progress(self, exercise: Exercise) -> Progress:
        """Return what is known of an exercise. Raises: StorageError."""
        return read_progress(exercise, self.workspace)

    def path(self, exercise: Exercise) -> Path:
        """Return where the learner's attempt lies."""
        return attempt_path(exercise, self.workspace)

    def check(self, exercises: Sequence[Exercise]) -> list[Judgement]:
        """Judge the attempts at some exercises, in their order, and keep what was found.

        Raises: as prepare and Judge.judge.
        """
        self.prepare()
        attempts = [(exercise, self.path(exercise), read_if_there(self.path(exercise))) for exercise in exercises]
        seed = random.SystemRandom().randrange(2**31) if self._seed is None else self._seed
        judgements = self.judge.judge_sources(attempts, seed)
        for (exercise, _, source), judgement in zip(attempts, judgements, strict=True):
            try:
                text = (source or b"").decode("utf-8", "replace")
                record_judgement(exercise, self.workspace, judgement, text)
            except StorageError as error:  # what was judged is told all the same
                self.complaint = error.happened
        return judgements

    def note(self, exercise: Exercise, what: str, **details: object) -> None:
        """Keep that something was done with an exercise, such as a hint that was read."""
        try:
            record(exercise, self.workspace, what, **details)
        except StorageError as error:
            self.complaint = error.happened

    def close(self) -> None:
        """End the judge's processes."""
        self.judge.close()
