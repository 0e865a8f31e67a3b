"""Grades as CSV: a row for each learner and exercise, with no cell that a spreadsheet takes for a formula."""

from __future__ import annotations

import csv
import io
from typing import Any

COLUMNS = ("learner", "lesson", "exercise", "status", "mistake", "diagnosis")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def to_csv(result: dict[str, Any]) -> str:
    """Return the grades as CSV (RFC 4180). result: what grades.json holds."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for learner in result["learners"]:
        for grade in learner["grades"]:
            row = {"learner": learner["learner"], **grade}
            writer.writerow([defuse(row[column]) for column in COLUMNS])
    return text.getvalue()


def defuse(cell: str) -> str:
    """Put an apostrophe before what a spreadsheet would compute, as OWASP's page on CSV injection advises."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
