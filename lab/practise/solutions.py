"""The reference solution beside the learner's own answer."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lab.practise.discover import find_function
from lab.practise.exercise import Exercise
from lab.practise.stub import derive_solved, derive_stub, solution_of


def solution_text(exercise: Exercise) -> str:
    """Return the reference solution without the docstring that is the task, below the imports that a stub lacks."""
    solution = _without_docstring(exercise.source, solution_of(exercise, ast.parse(exercise.source)))
    there = derive_stub(exercise).splitlines()
    lacking = [line for line in derive_solved(exercise).splitlines() if _is_import(line) and line not in there]
    return "\n".join([*lacking, "", solution] if lacking else [solution])


def _is_import(line: str) -> bool:
    return line.startswith(("import ", "from "))


def answer_text(exercise: Exercise, text: str) -> str:
    """Return the learner's function of that exercise without its docstring; all of the text where it is not found."""
    try:
        function = find_function(ast.parse(text), exercise.function)
    except (SyntaxError, ValueError):
        function = None
    return text.strip() if function is None else _without_docstring(text, function)


def _without_docstring(text: str, function: ast.FunctionDef) -> str:
    lines = text.splitlines()
    head = lines[function.lineno - 1 : function.body[0].lineno - 1]
    if ast.get_docstring(function) is None:
        return "\n".join([*head, *lines[function.body[0].lineno - 1 : function.end_lineno]])
    return "\n".join([*head, *lines[(function.body[0].end_lineno or 0) : function.end_lineno]])


def beside(yours: str, reference: str, width: int) -> Iterator[str]:
    """Yield the lines of two texts side by side; one below the other where they are too wide for that."""
    left, right = ["Yours", "", *yours.splitlines()], ["The reference", "", *reference.splitlines()]
    column = max(map(len, left)) + 3
    if column + max(map(len, right)) > width:
        yield from [*left, "", *right]
        return
    for number in range(max(len(left), len(right))):
        mine, theirs = (lines[number] if number < len(lines) else "" for lines in (left, right))
        yield f"{mine:<{column}}{theirs}".rstrip()
