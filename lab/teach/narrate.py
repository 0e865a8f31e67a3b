"""A lesson in the terminal, its pictures and lesson.json under outputs/."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab.device import environment
from lab.provenance import code, lock
from lab.store import digest, publishing, write_json
from lab.teach.lessons import Lesson
from lab.teach.perform import perform
from lab.teach.stage import Stage

SCHEMA = 1


def narrate(
    lesson: Lesson, stage: Stage, *, parameters: Mapping[str, Any], outputs: Path
) -> tuple[Path, dict[str, Any]]:
    """Perform a lesson on a stage and publish what it found.

    parameters: validated ones, the device resolved. Returns the folder of lesson.json and the pictures, and what
    lesson.json holds. Raises: LabError where a claim or a gradient does not hold; StorageError.
    """
    pins = lock()
    key = digest([digest(lesson.source.read_bytes()), dict(parameters), pins["digest"], code()])
    with publishing(outputs, f"lesson-{lesson.name}", key) as publication:
        start = time.perf_counter()
        perform(lesson.cells, stage, path=lesson.source, parameters=parameters)
        result = {
            "schema": SCHEMA,
            "lesson": lesson.name,
            "key": key,
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
    return publication.path, result
