"""A lesson in the terminal, its pictures and lesson.json under outputs/."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from traceback import walk_tb
from typing import Any

from lab.device import environment
from lab.errors import ExecutionError, LabError
from lab.provenance import code, lock
from lab.store import digest, publishing, write_json
from lab.teach.lessons import Lesson
from lab.teach.perform import perform
from lab.teach.stage import Stage

SCHEMA = 1


def narrate(
    lesson: Lesson, stage: Stage, *, parameters: Mapping[str, Any], outputs: Path
) -> tuple[Path, dict[str, Any]]:
    """Perform a lesson on a stage and publish what it found, as far as it came.

    parameters: validated ones, the device resolved. Returns the folder of lesson.json and the pictures, and what
    lesson.json holds. Raises, once that is published: LabError where a claim or a gradient does not hold,
    ExecutionError where a cell raises. Before: StorageError.
    """
    pins = lock()
    key = digest([digest(lesson.source.read_bytes()), dict(parameters), pins["digest"], code()])
    with publishing(outputs, f"lesson-{lesson.name}", key) as publication:
        start = time.perf_counter()
        failure = _failure(lesson, stage, parameters)
        result = {
            "schema": SCHEMA,
            "lesson": lesson.name,
            "key": key,
            "status": "failed" if failure else "completed",
            "error": failure and {"name": type(failure).__name__, "message": failure.happened},
            "parameters": dict(parameters),
            "lock": pins,
            "environment": environment(parameters.get("device", "cpu")),
            "comparisons": stage.record.comparisons,
            "claims": stage.record.claims,
            "pictures": sorted(f"{name}.svg" for name in stage.record.pictures),
            "timing": {"seconds": round(time.perf_counter() - start, 3)},
        }
        for name, svg in stage.record.pictures.items():
            publication.write(f"{name}.svg", svg)
        publication.write("lesson.json", write_json(result))
    assert publication.path is not None
    if failure:
        failure.add_note(f"The lesson as far as it came: {publication.path}")
        raise failure
    return publication.path, result


def _failure(lesson: Lesson, stage: Stage, parameters: Mapping[str, Any]) -> LabError | None:
    """Perform a lesson; return what ended it early, if anything did."""
    try:
        perform(lesson.cells, stage, path=lesson.source, parameters=parameters)
    except BrokenPipeError:
        raise  # its reader has gone; nothing failed
    except LabError as error:
        return error
    except Exception as error:
        lines = [at for frame, at in walk_tb(error.__traceback__) if frame.f_code.co_filename == str(lesson.source)]
        return ExecutionError(
            f"{lesson.source.name}, line {lines[-1] if lines else '?'}, raised {type(error).__name__}: {error}",
            "Expected every cell to end without an error.",
            f"Type 'python {os.path.relpath(lesson.source)}' for the plain lesson with Python's own traceback.",
        )
    return None
