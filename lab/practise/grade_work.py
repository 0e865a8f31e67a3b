"""The unit of work of a grading, a learner, and where it is done: on threads here, or by any executor's workers."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from lab.errors import LabError
from lab.practise.conditions import Conditions
from lab.practise.exercise import Exercise
from lab.practise.grading import Grade, Outcome, grade_of, one_line
from lab.practise.judge import Judge
from lab.practise.sandbox import find_sandbox

WAITING = 256  # learners whose files are held until a worker comes to them
Judged = dict[str, dict[str, str]]  # grades as plain data, by key


@dataclass(frozen=True)
class Work:
    """What is to be judged of one learner: plain data, which can be sent anywhere.

    attempts: each exercise with what the learner's file holds, by the key of its grade. isolated: whether a sandbox
    is required.
    """

    learner: str
    attempts: dict[str, tuple[Exercise, bytes]]
    conditions: Conditions
    isolated: bool = False


@dataclass(frozen=True)
class Doing:
    """Where work is done. executor: what runs it. task: what it runs."""

    executor: Executor
    task: Callable[[Work], Judged]


@contextmanager
def local_threads(judge: Judge) -> Iterator[Doing]:
    """Let as many threads of this process as there are processors work over one judge; close it on any exception."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            yield Doing(pool, partial(judge_work, judge))
        except BaseException:  # an interrupt too: the processes end with it
            judge.close()
            pool.shutdown(cancel_futures=True)
            raise


def work_anywhere(executor: Executor) -> Doing:
    """Let the workers of an executor do it."""
    return Doing(executor, grade_learner)


def grade_learner(work: Work) -> Judged:
    """Judge a learner's attempts in a worker, which keeps its judge for the next learner and ends it with itself."""
    return judge_work(_judge_of(os.getpid(), work.conditions, work.isolated), work)


@cache
def _judge_of(pid: int, conditions: Conditions, isolated: bool) -> Judge:
    """pid: of this process, for a forked one cannot use the judge of its parent."""
    return Judge(conditions, sandbox=find_sandbox(accelerator=not conditions.on_cpu, required=isolated))


def judge_work(judge: Judge, work: Work) -> Judged:
    """Judge a learner's attempts one after the other. Raises: LabError."""
    return {key: _judge(judge, *attempt).to_json() for key, attempt in work.attempts.items()}


def _judge(judge: Judge, exercise: Exercise, source: bytes) -> Grade:
    try:
        return grade_of(judge.judge_source(exercise, Path(exercise.path.name), source))
    except LabError:  # such as a judge that cannot start: no fault of the learner's
        raise
    except Exception as error:  # a mistake of ours costs this attempt, not the grading
        return Grade(Outcome.NOT_JUDGED, diagnosis=one_line(f"{type(error).__name__}: {error}"))


def spread(works: Iterable[Work], doing: Doing) -> Generator[tuple[Work, Judged | None]]:
    """Have work done; yield each as it is finished, with None where its worker was lost.

    Only so much is read ahead of the workers as they need. What still waits when this is closed is cancelled.
    Raises: LabError of a worker.
    """
    running: dict[Future[Judged], Work] = {}
    try:
        for work in works:
            try:
                running[doing.executor.submit(doing.task, work)] = work
            except RuntimeError:  # an executor whose workers are lost takes no more
                yield work, None
            if len(running) >= WAITING:
                yield from _finished(running)
        while running:
            yield from _finished(running)
    finally:
        for future in running:
            future.cancel()


def _finished(running: dict[Future[Judged], Work]) -> Iterator[tuple[Work, Judged | None]]:
    done, _ = wait(running, return_when=FIRST_COMPLETED)
    for future in done:
        work = running.pop(future)
        try:
            yield work, future.result()
        except LabError:
            raise
        except Exception:  # each executor has its own for a worker that was lost
            yield work, None
