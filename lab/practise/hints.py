"""Hints in four steps: a question, the name to look up, a line with a hole, the solution."""

from __future__ import annotations

import ast
import difflib

from lab.practise.exercise import Exercise
from lab.practise.stub import derive_stub, solution_of


def hint_steps(exercise: Exercise) -> tuple[str, ...]:
    """Return the four hints of an exercise in their order; the last is what the solution changes in the stub."""
    return (*exercise.hints, solution_diff(exercise))


def solution_diff(exercise: Exercise) -> str:
    """Return the reference solution as a unified diff of the stub."""
    solution = ast.get_source_segment(exercise.source, solution_of(exercise, ast.parse(exercise.source)))
    stub = derive_stub(exercise)
    start = stub.index(f"def {exercise.function}(")
    solved = stub[:start] + (solution or "")
    name = exercise.path.name
    diff = difflib.unified_diff(stub.splitlines(), solved.splitlines(), name, name, n=1, lineterm="")
    return "\n".join(diff)
