"""Exercises found by reading a lesson's folder. Needs no torch until an exercise's check is loaded."""

from __future__ import annotations

import ast
import errno
import linecache
import re
import stat
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from lab.errors import StorageError, UsageError, did_you_mean
from lab.practise.exercise import Check, Exercise

_LARGEST = 10_000_000  # bytes of a file that anyone writes


def discover_exercises(lesson_folder: Path) -> list[Exercise]:
    """Read the exercises of a lesson in their order. A lesson without any has an empty list.

    Raises: UsageError for a file that is no exercise, StorageError for one that cannot be read.
    """
    return [read_exercise(path) for path in sorted((lesson_folder / "exercises").glob("*.py"))]


def read_exercise(path: Path) -> Exercise:
    """Read what an exercise's file says about itself. Raises: UsageError, StorageError."""
    try:
        source = read_source(path).decode("utf-8")
        module = ast.parse(source, str(path))
    except (SyntaxError, ValueError) as error:
        raise _no_exercise(path, str(error)) from None
    title, _, meaning = (ast.get_docstring(module) or "").partition("\n")
    exercise = Exercise(path, title.rstrip("."), " ".join(meaning.split()), _read_hints(module), source)
    solution = find_function(module, exercise.function)
    if not (title and meaning):
        raise _no_exercise(path, "its docstring is not a title and what it means for training")
    if len(exercise.hints) != 3:
        raise _no_exercise(path, f"HINTS has {len(exercise.hints)} hints, not 3")
    if not (solution and ast.get_docstring(solution)):
        raise _no_exercise(path, f"it has no function {exercise.function!r}, after the file's name, with a docstring")
    return exercise


def _no_exercise(path: Path, reason: str) -> UsageError:
    return UsageError(
        f"{path} is no exercise: {reason}.",
        "Expected a docstring, the solution, HINTS and CHECK, as in the exercises beside it.",
        "Mend it, or move it out of the folder.",
    )


def find_function(module: ast.Module, name: str) -> ast.FunctionDef | None:
    """Return the function that a file's text defines under that name: the last one, as Python would."""
    found = [node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == name]
    return found[-1] if found else None


def _read_hints(module: ast.Module) -> tuple[str, ...]:
    for node in module.body:
        match node:
            case ast.Assign(targets=[ast.Name(id="HINTS")], value=ast.Tuple(elts=hints)):
                return tuple(str(ast.literal_eval(hint)) for hint in hints)
    return ()


def find_exercise(exercise_id: str, exercises: Iterable[Exercise]) -> Exercise:
    """Return the exercise with that id, or with that number (``ex01``, ``ex1``, ``1``).

    Raises: UsageError where there is none.
    """
    by_id = {exercise.id: exercise for exercise in exercises}
    for name, exercise in by_id.items():
        if is_named(exercise_id, name):
            return exercise
    numbers = ", ".join(dict.fromkeys(exercise.number for exercise in by_id.values()))
    of_lesson = "".join({f" --lesson {exercise.lesson_number}" for exercise in by_id.values()})
    raise UsageError(
        f"There is no exercise {exercise_id!r}.",
        f"Expected one of {numbers}, or a name such as {next(iter(by_id), '')}.",
        did_you_mean(exercise_id, by_id) or f"Type 'lab exercises{of_lesson}' to see how far you are.",
    )


def is_named(typed: str, exercise_id: str) -> bool:
    """Say whether what was typed is that exercise's id, its number, or the name of its function."""
    digits = re.fullmatch(r"(?:ex)?(\d{1,4})", typed)
    number = f"ex{int(digits[1]):02}" if digits else typed
    short, _, function = exercise_id.partition("_")
    return typed in (exercise_id, function) or number == short


def load_check(exercise: Exercise) -> Check:
    """Load the check of an exercise. Raises: whatever its file raises."""
    check: Check = execute_source(exercise.source, exercise.path)["CHECK"]
    return check


def execute_source(source: str | bytes, path: Path) -> dict[str, Any]:
    """Execute the text of a Python file and return its names. Raises: whatever the file raises.

    An import would leave bytecode behind, and take it for the file where it was edited twice within a second. It is
    a module all the same, for a dataclass looks for the one that it was written in.
    """
    text = source if isinstance(source, str) else source.decode("utf-8", "replace")
    linecache.cache[str(path)] = len(text), None, text.splitlines(keepends=True), str(path)  # for inspect.getsource
    module = sys.modules[path.stem] = ModuleType(path.stem)
    names = vars(module)
    names["__file__"] = str(path)
    exec(compile(source, str(path), "exec"), names)
    return names


def read_regular(path: Path) -> bytes:
    """Read a file that is one: reading a pipe or a device would not end. Raises: OSError."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    if found.st_size > _LARGEST:
        raise OSError(errno.EFBIG, f"it has {found.st_size:,} bytes, more than {_LARGEST:,}", str(path))
    return path.read_bytes()


def read_source(path: Path) -> bytes:
    """Read a Python file as bytes, for Python to decode. Raises: StorageError."""
    try:
        return read_regular(path)
    except OSError as error:
        raise StorageError(
            f"Could not read {path}: {error.strerror}.",
            "Expected a Python file that this user may read.",
            "Give this user the file (chown), or move it away to begin anew.",
        ) from None
