"""A grading under outputs/: grades.json, grades.csv and the page grades.html."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lab.practise.grading import Grading
from lab.provenance import installed, lock
from lab.report.grades import grades_page
from lab.report.spreadsheet import to_csv
from lab.store import replace_files, write_json

FILES = ("grades.json", "grades.csv", "grades.html")


def grading_result(found: Grading, *, seconds: float) -> dict[str, Any]:
    """Return what grades.json holds; all that differs between two gradings of the same stands under timing."""
    timing = {"seconds": round(seconds, 3), "continued": found.continued, "again": list(found.again)}
    environment = installed(found.conditions.device)
    return {**found.to_json(), "lock": lock(), "environment": environment, "timing": timing}


def publish_grades(result: dict[str, Any], outputs: Path) -> Path:
    """Write all files of a grading, in place of those of the one before. Returns the page. Raises: StorageError."""
    texts = dict(zip(FILES, (write_json(result), to_csv(result), grades_page(result)), strict=True))
    replace_files(outputs, texts)
    return outputs / FILES[-1]
