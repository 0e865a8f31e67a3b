"""Hints in four steps: a question, the name to look up, a line with a hole, the solution."""

from __future__ import annotations

import difflib

from lab.practise.exercise import Exercise
from lab.practise.stub import derive_solved, derive_stub


def hint_steps(exercise: Exercise) -> tuple[str, ...]:
    """Return the four hints of an exercise in their order; the last is what the solution changes in the stub."""
    return (*exercise.hints, solution_diff(exercise))


def solution_diff(exercise: Exercise) -> str:
    """Return the reference solution as a unified diff of the stub."""
    stub, solved, name = derive_stub(exercise), derive_solved(exercise), exercise.path.name
    diff = difflib.unified_diff(stub.splitlines(), solved.splitlines(), name, name, n=1, lineterm="")
    return "\n".join(diff)
