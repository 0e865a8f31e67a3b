"""Judging: what is not started, wrong or solved, and what is wrong.

An untouched stub and what is no Python are known by their text, so that nothing imports torch for them. All else
goes to a referee, a process forked from one that has imported torch, which draws the trials, lets a fork of its own
try the attempt on them, and compares.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import threading
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lab import errors
from lab.errors import ExecutionError, LabError
from lab.practise.conclude import begin_judgement
from lab.practise.conditions import Conditions
from lab.practise.discover import discover_exercises, read_source
from lab.practise.exercise import Exercise
from lab.practise.judgement import Judgement, Status
from lab.practise.sandbox import Sandbox, find_sandbox
from lab.practise.stub import attempt_path, is_untouched
from lab.warm import Warm, read_line

START_LIMIT_S = 120.0  # for importing torch, which takes long from a cold disk
REFEREE_LIMIT_S = 10.0  # for all but the attempt
_REFEREE = "lab.practise.referee"
# What torch imports when it is first used: by torch.func and gradcheck, and by backward(v). The names are private, so
# that one may be gone in another torch: then it is imported when it is used.
_LATER = ("sympy", "torch._dynamo", "torch._subclasses.schema_check_mode", "torch.fx.experimental.symbolic_shapes")
# The diagnosis of an attempt that ended whatever it could. Of two that are judged at once it may be the other's doing.
ENDED = "Its process, and the one that judges it, were ended. Does something in your file end other processes?"
_LOOKING = threading.Lock()  # what warnings are shown is the whole process's


class Judge:
    """Judges attempts, with one warm parent for all of them, started with the first that has to be tried.

    sandbox: where attempts run; this machine's unless given. Raises: DeviceUnavailable, UsageError.
    """

    def __init__(self, conditions: Conditions | None = None, *, sandbox: Sandbox | None = None) -> None:
        self.conditions = conditions or Conditions()
        self.conditions.validate()
        self.sandbox = sandbox or find_sandbox(accelerator=not self.conditions.on_cpu)
        self._warm: Warm | None = None
        self._lock, self._closed = threading.Lock(), False

    def start(self) -> Warm:
        """Return the warm parent, started where none is running. Raises: ExecutionError."""
        with self._lock:
            if self._warm is not None and self._warm.ended and self._warm.ready:
                self._warm.close()
                self._warm = None
            if self._warm is None:
                self._warm = self._new()
            return self._warm

    def _new(self) -> Warm:
        if self._closed:
            raise ExecutionError("This judge is closed.", "Expected one that is open.", "Make another.")
        try:
            return Warm(_REFEREE, later=_LATER, prefix=self.sandbox.prefix, environment=self.sandbox.environment)
        except OSError as error:
            raise ExecutionError(
                f"Could not start a process to judge in: {error.strerror}.",
                "Expected room for one more process.",
                "End some programs, then try again.",
            ) from None

    def judge(self, attempts: Sequence[tuple[Exercise, Path]], seed: int | None = None) -> list[Judgement]:
        """Judge attempts, each a file that defines its exercise's function, as many at once as there are processors.

        seed: of the trials; that of the conditions unless given.

        Raises: StorageError where a file cannot be read (an absent one is not started); ExecutionError where no
        process can be started.
        """
        return self.judge_sources([(exercise, path, read_if_there(path)) for exercise, path in attempts], seed)

    def judge_sources(
        self, attempts: Sequence[tuple[Exercise, Path, bytes | None]], seed: int | None = None
    ) -> list[Judgement]:
        """Judge what the caller has read of files, None where there was none. Raises: ExecutionError."""
        seed = self.conditions.seed if seed is None else seed
        texts = [look_at_source(*attempt, seed) for attempt in attempts]
        if any(isinstance(text, str) for text in texts):
            self.start()

        def one(text: Judgement | str, exercise: Exercise, path: Path, _: bytes | None) -> Judgement:
            return self._try(exercise, path, text, seed) if isinstance(text, str) else text

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            try:
                futures = [pool.submit(one, text, *attempt) for text, attempt in zip(texts, attempts, strict=True)]
                return [future.result() for future in futures]
            except LabError:
                pool.shutdown(cancel_futures=True)
                raise
            except BaseException:  # such as an interrupt: the processes end with it
                self.close()
                pool.shutdown(cancel_futures=True)
                raise

    def judge_source(self, exercise: Exercise, path: Path, source: bytes) -> Judgement:
        """Judge what the caller has read of a file. path: what to call it.

        It may be called from several threads at once. An error leaves the judge as it is, and a lost referee is not
        replaced: where the diagnosis is ENDED, the caller judges it again while no other is judged. Raises: as judge.
        """
        text = look_at_source(exercise, path, source, self.conditions.seed)
        return self._try(exercise, path, text, self.conditions.seed, 1) if isinstance(text, str) else text

    def _try(self, exercise: Exercise, path: Path, text: str, seed: int, referees: int = 2) -> Judgement:
        """Send one attempt to a referee; where the referee itself is lost, to a second one, and no third."""
        request = {
            "exercise": asdict(exercise) | {"path": str(exercise.path)},
            "attempt": [str(path), text],
            "conditions": asdict(self.conditions) | {"seed": seed},
            "isolated": bool(self.sandbox.prefix),
        }
        for _ in range(referees):
            if answer := self._ask(request):
                return _read_answer(json.loads(answer))
        return begin_judgement(exercise, Status.WRONG, ENDED, seed)

    def _ask(self, request: dict[str, Any]) -> bytes:
        warm = self.start()
        with warm.fork(f"{_REFEREE}:judge_one", **request) as connection:
            connection.settimeout((0 if warm.ready else START_LIMIT_S) + self.conditions.limit_s + REFEREE_LIMIT_S)
            try:
                if answer := read_line(connection):
                    return answer
            except TimeoutError:  # an attempt has stopped it: whoever waits for it, too, gets another
                warm.close()
        warm.ends_within(1)  # where it is lost with its referees, the next one needs another
        if not (warm.ready or self._closed):  # at its end without ever being ready
            raise ExecutionError(
                f"The process that judges did not start: {warm.complaint}",
                "Expected it to import torch.",
                "Type 'lab doctor'.",
            )
        return b""

    def close(self) -> None:
        """End the processes, whatever they are doing."""
        with self._lock:
            self._closed = True
            if self._warm is not None:
                self._warm.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _read_answer(answer: dict[str, Any]) -> Judgement:
    """Return the judgement in a referee's answer. Raises: the LabError in it."""
    if "error" in answer:
        kind, *sentences = answer["error"]
        error: type[LabError] = getattr(errors, kind)
        raise error(*sentences)
    return Judgement.from_record(answer["judgement"])


def read_if_there(path: Path) -> bytes | None:
    """Read a learner's file; None where there is none. Raises: StorageError."""
    return read_source(path) if path.exists() else None


def look_at_source(exercise: Exercise, path: Path, source: bytes | None, seed: int) -> Judgement | str:
    """Judge by its text what is not started or is no Python; return the text of what has to be tried.

    source: what a file holds, None where there is none. path: what to call it.
    """
    if source is None:
        said = f"There is no {path} yet: 'lab exercises --lesson {exercise.lesson_number}' writes it."
        return begin_judgement(exercise, Status.NOT_STARTED, said, seed)
    try:
        with _LOOKING, warnings.catch_warnings(action="ignore"):  # the attempt's own process shows them
            module = ast.parse(source, str(path))
            compile(module, str(path), "exec")
        text = importlib.util.decode_source(source)
    except SyntaxError as error:
        where = f"Line {error.lineno} of {path.name}" if error.lineno else path.name
        return _no_python(exercise, f"{where} is no Python: {error.msg}.", seed)
    except (ValueError, RecursionError, MemoryError) as error:
        return _no_python(exercise, f"{path.name} is no Python: {str(error) or type(error).__name__}.", seed)
    if is_untouched(module, exercise.function):
        said = f"Open {path} and replace 'raise NotImplementedError'."
        return begin_judgement(exercise, Status.NOT_STARTED, said, seed)
    return text


def _no_python(exercise: Exercise, said: str, seed: int) -> Judgement:
    """Return a judgement without the hint, which is about gradients."""
    return replace(begin_judgement(exercise, Status.WRONG, said, seed), hint="")


def judge_attempts(attempts: Sequence[tuple[Exercise, Path]], conditions: Conditions) -> list[Judgement]:
    """Judge attempts with a judge of their own. Raises: as Judge and Judge.judge."""
    with Judge(conditions) as judge:
        return judge.judge(attempts)


def attempts_at(lesson_folder: Path, workspace: Path, *, solutions: bool = False) -> list[tuple[Exercise, Path]]:
    """Return every exercise of a lesson with the file of the learner's attempt, or of the solution."""
    return [(e, e.path if solutions else attempt_path(e, workspace)) for e in discover_exercises(lesson_folder)]
