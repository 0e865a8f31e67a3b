"""An attempt tried in this process: in that of the attempt, in a notebook, and for the known mistakes in the judge."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from lab.practise.discover import execute_source
from lab.practise.exercise import Check
from lab.practise.trial import AnswerError, Attempt, Observation, Raised, Trial, Values


def observe_function(check: Check, attempt: Attempt, trials: Iterable[Trial]) -> list[Observation]:
    """Try a function on every trial and return what it did in each."""
    code = getattr(inspect.unwrap(attempt), "__code__", None)
    file = code.co_filename if code else ""
    return [_observe(partial(check.observe, attempt, trial), file) for trial in trials]


def observe_source(check: Check, function: str, source: str, path: Path, trials: list[Trial]) -> Iterator[Observation]:
    """Try the function of that name in a file's text; a text that cannot be executed has raised in every trial."""
    try:
        attempt = execute_source(source, path).get(function, _missing(function))
    except (Exception, SystemExit) as error:
        yield from [Observation({}, _raised(error, str(path)))] * len(trials)
    else:
        for trial in trials:
            yield _observe(partial(check.observe, attempt, trial), str(path))


def _missing(function: str) -> Attempt:
    def missing(*arguments: object) -> None:
        raise AnswerError(f"There is no function {function!r} in your file. Expected it under that very name.")

    return missing


def _observe(run: Callable[[], Values], file: str) -> Observation:
    """Run one trial with recording on, whatever the trial before left behind."""
    import torch

    with torch.enable_grad():
        try:
            return Observation(run())
        except (Exception, SystemExit) as error:
            return Observation({}, _raised(error, file))


def _raised(error: BaseException, file: str) -> Raised:
    frames = [(frame.f_code.co_filename == file, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    lines = [line for own, line in frames if own]
    return Raised(type(error).__name__, str(error)[:2000], lines[-1] if lines else None, frames[-1][0])
