"""Grading: the attempts of a folder of learners judged, several at once, each in a process of its own.

The work of a learner at a time goes to threads of this process over one judge, or, where an executor is given
(``concurrent.futures.ProcessPoolExecutor``, Dask's ``client.get_executor()``), to its workers. What an executor loses
is graded here. What ended the judge is judged again alone, for it may have been another attempt's doing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

from lab.errors import LabError, UsageError
from lab.practise.conditions import Conditions
from lab.practise.exercise import Exercise
from lab.practise.grade_journal import Journal
from lab.practise.grade_work import Doing, Judged, Work, judge_work, local_threads, spread, work_anywhere
from lab.practise.grading import Grade, Graded, Grading, Outcome, is_final
from lab.practise.judge import Judge
from lab.practise.learners import Learner, Unreadable, discover_learners, read_attempt
from lab.practise.sandbox import find_sandbox
from lab.practise.stub import attempt_path
from lab.provenance import code
from lab.store import digest

Tell = Callable[[int, int], None]


def grade_folder(
    folder: Path,
    exercises: Sequence[Exercise],
    conditions: Conditions,
    *,
    journal: Journal,
    executor: Executor | None = None,
    isolated: bool = False,
    tell: Tell = lambda done, learners: None,
) -> Grading:
    """Grade the learners of a folder.

    journal: what it holds is not judged again; the folder it lies in is no learner's. isolated: whether a sandbox is
    required. tell: called with how many learners are done, of how many.

    Raises: UsageError for a folder without learners, for a dtype that an exercise is not judged in, or without a
    sandbox; LabError where a solution itself is not accepted; DeviceUnavailable, ExecutionError, StorageError.
    """
    learners = discover_learners(folder, {exercise.lesson for exercise in exercises}, besides=journal.path.parent)
    sandbox = find_sandbox(accelerator=not conditions.on_cpu, required=isolated)
    run = _Run(tuple(exercises), conditions, isolated, not sandbox.missing, journal, len(learners), tell)
    with Judge(conditions, sandbox=sandbox) as judge:
        if executor is None:
            with local_threads(judge) as doing:
                lost = run.begin(learners, doing)
        else:
            lost = run.begin(learners, work_anywhere(executor))
        if lost:
            with local_threads(judge) as doing:
                run.grade(lost, doing)
        run.grade_alone(judge)
    graded = tuple(Graded(learner.name, tuple(run.grades_of(learner))) for learner in learners)
    again = tuple(learner.name for learner in lost)
    name = folder.resolve().name
    return Grading(name, tuple(exercises), graded, conditions, not sandbox.missing, run.continued, again)


@dataclass
class _Run:
    """A grading at work. grades: what is known, by key. seen: for each learner and exercise a grade or its key.

    isolated: whether a sandbox is required. sandboxed: whether there is one.
    """

    exercises: tuple[Exercise, ...]
    conditions: Conditions
    isolated: bool
    sandboxed: bool
    journal: Journal
    count: int
    tell: Tell
    done: int = 0
    continued: int = 0
    grades: dict[str, Grade] = field(default_factory=dict)
    seen: dict[str, list[Grade | str]] = field(default_factory=dict)
    suspects: list[Work] = field(default_factory=list)

    def begin(self, learners: Sequence[Learner], doing: Doing) -> list[Learner]:
        """Try the solutions, then grade as grade does."""
        self._check_solutions(doing)
        self.grades |= self.journal.grades
        return self.grade(learners, doing)

    def _check_solutions(self, doing: Doing) -> None:
        """Refuse conditions under which a right answer is not accepted, before anyone is graded. Raises: LabError."""
        solutions = [self._work("", {e.id: (e, e.source.encode())}) for e in self.exercises]
        with closing(spread(solutions, doing)) as results:
            for work, judged in results:
                for key, grade in (judged or {}).items():
                    if grade["status"] == Outcome.NOT_JUDGED:
                        expected = "Expected a dtype that every exercise is judged in."
                        raise UsageError(grade["diagnosis"], expected, "Give another --dtype, or none.")
                    if grade["status"] != Outcome.SOLVED:
                        raise _not_accepted(work, key, grade["diagnosis"])

    def grade(self, learners: Sequence[Learner], doing: Doing) -> list[Learner]:
        """Grade learners; return those whose worker was lost."""
        lost = []
        with closing(spread(self._works(learners), doing)) as results:
            for work, judged in results:
                if judged is None:
                    lost.append(work.learner)
                else:
                    self._keep(work, judged)
        return [learner for learner in learners if learner.name in lost]

    def _works(self, learners: Iterable[Learner]) -> Iterator[Work]:
        """Read the learners' files one after the other; yield what has to be judged."""
        for learner in learners:
            attempts: dict[str, tuple[Exercise, bytes]] = {}
            self.seen[learner.name] = [self._look(learner, exercise, attempts) for exercise in self.exercises]
            self.continued += sum(key in self.grades for key in attempts)
            missing = {key: attempt for key, attempt in attempts.items() if key not in self.grades}
            if missing:
                yield self._work(learner.name, missing)
            else:
                self._advance()

    def _look(self, learner: Learner, exercise: Exercise, attempts: dict[str, tuple[Exercise, bytes]]) -> Grade | str:
        """Return the key of an attempt, which is added to the others, or the grade of what is no attempt."""
        path = attempt_path(exercise, learner.workspace)
        try:
            source = read_attempt(path, learner.home)
        except Unreadable as error:
            return Grade(Outcome.UNREADABLE, diagnosis=str(error))
        if source is None:
            return Grade(Outcome.NOT_STARTED, diagnosis=f"There is no {path.name}.")
        given = [asdict(self.conditions), self.sandboxed]
        texts = [exercise.lesson, exercise.id, digest(exercise.source.encode()), digest(source)]
        key = digest([learner.name, *texts, *given, code()])
        attempts[key] = exercise, source
        return key

    def _work(self, learner: str, attempts: dict[str, tuple[Exercise, bytes]]) -> Work:
        return Work(learner, attempts, self.conditions, self.isolated)

    def _keep(self, work: Work, judged: Judged) -> None:
        """Note the grades of a learner, and what has to be judged again alone."""
        grades = {key: Grade.from_json(grade) for key, grade in judged.items()}
        final = {key: grade for key, grade in grades.items() if is_final(grade)}
        if final:
            self.journal.add(work.learner, final)
        self.grades |= grades
        if len(final) < len(grades):
            left = {key: attempt for key, attempt in work.attempts.items() if key not in final}
            self.suspects.append(self._work(work.learner, left))
        else:
            self._advance()

    def _advance(self) -> None:
        self.done += 1
        self.tell(self.done, self.count)

    def grade_alone(self, judge: Judge) -> None:
        """Judge what ended its judge, one at a time: what then still ends it does so by itself."""
        for work in self.suspects:
            grades = {key: Grade.from_json(grade) for key, grade in judge_work(judge, work).items()}
            judged = {key: grade for key, grade in grades.items() if grade.outcome is not Outcome.NOT_JUDGED}
            self.journal.add(work.learner, judged)
            self.grades |= grades
            self._advance()

    def grades_of(self, learner: Learner) -> Iterator[Grade]:
        """Yield the grades of a learner in the order of the exercises."""
        for seen in self.seen[learner.name]:
            yield self.grades[seen] if isinstance(seen, str) else seen


def _not_accepted(work: Work, key: str, diagnosis: str) -> LabError:
    given = work.conditions
    return LabError(
        f"The solution of {key} is not accepted with seed {given.seed} in {given.dtype}: {diagnosis}",
        "Expected every solution to be, before anyone is graded.",
        "Give another --seed or --dtype, and report this one.",
    )
