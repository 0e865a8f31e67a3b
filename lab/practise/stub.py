"""The learner's files: a stub derived from each solution, written into the workspace once and never again."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

from lab.practise.discover import find_function
from lab.practise.exercise import Exercise
from lab.store import storage_errors

_BODY = "raise NotImplementedError"
_HEADER = '"""{title}.\n\nReplace `raise NotImplementedError`, then type `make exercises LESSON={lesson}`.\n"""\n'


def attempt_path(exercise: Exercise, workspace: Path) -> Path:
    """Return where the learner's attempt lies: ``workspace/05_gradients/ex01_two_partials.py``."""
    return workspace / exercise.lesson / exercise.path.name


def prepare_workspace(exercises: Iterable[Exercise], workspace: Path) -> list[Path]:
    """Write the stub of every exercise that the learner has no file for; return the files written.

    Raises: StorageError where the workspace cannot be written.
    """
    paths = {attempt_path(exercise, workspace): exercise for exercise in exercises}
    missing = {path: exercise for path, exercise in paths.items() if not path.exists()}
    with storage_errors(workspace):
        return [path for path, exercise in missing.items() if _write_new(path, derive_stub(exercise))]


def reset_attempt(exercise: Exercise, workspace: Path) -> Path | None:
    """Put the stub in the place of an attempt, which is kept beside it; return where, or None if there was none.

    An untouched stub is none. Raises: StorageError.
    """
    path = attempt_path(exercise, workspace)
    backup = next(b for n in count(1) if not (b := path.with_name(f"{path.name}.bak{n}")).exists())
    with storage_errors(path):
        kept = path.exists() and path.read_text("utf-8", "replace") != derive_stub(exercise)
        if kept:
            path.rename(backup)
    prepare_workspace([exercise], workspace)
    return backup if kept else None


def _write_new(path: Path, text: str) -> bool:
    """Write a file in one step, unless it exists; say whether it was written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        return _link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _link(temporary: Path, path: Path) -> bool:
    try:
        os.link(temporary, path)  # unlike a rename, it never replaces what the learner has
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links, such as a USB stick's
        temporary.replace(path)
    return True


def derive_stub(exercise: Exercise) -> str:
    """Return the learner's file: imports, signature and docstring of the solution, and an empty body."""
    module = ast.parse(exercise.source)
    solution = solution_of(exercise, module)
    end = solution.body[0].end_lineno  # of the docstring
    head = "\n".join(exercise.source.splitlines()[solution.lineno - 1 : end])
    return _file(exercise, _imports_of(module, _annotations(solution)), f"{head}\n    {_BODY}")


def derive_solved(exercise: Exercise) -> str:
    """Return the learner's file with the solution in it, and the imports that this needs."""
    module = ast.parse(exercise.source)
    solution = solution_of(exercise, module)
    text = ast.get_source_segment(exercise.source, solution) or ""
    return _file(exercise, _imports_of(module, [solution]), text)


def _file(exercise: Exercise, imports: Iterable[str], function: str) -> str:
    header = _HEADER.format(title=exercise.title, lesson=exercise.lesson_number)
    return "\n".join([header, *imports, "", "", function, ""])


def solution_of(exercise: Exercise, module: ast.Module) -> ast.FunctionDef:
    """Return the solution in the parsed file of an exercise."""
    solution = find_function(module, exercise.function)
    assert solution is not None, "read_exercise has found it"
    return solution


def _annotations(function: ast.FunctionDef) -> list[ast.expr]:
    return [a for a in (*(argument.annotation for argument in function.args.args), function.returns) if a]


def _imports_of(module: ast.Module, nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Yield the imports that some parts of a module need, and torch, in the groups that they stand in."""
    used = {name.id for node in nodes for name in ast.walk(node) if isinstance(name, ast.Name)}
    above = 0
    for node in module.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            kept = [alias for alias in node.names if alias.name == "torch" or (alias.asname or alias.name) in used]
            if kept:
                if above and node.lineno > above + 1:
                    yield ""
                above = node.lineno
                yield ast.unparse(_with_names(node, kept))


def _with_names(node: ast.Import | ast.ImportFrom, names: list[ast.alias]) -> ast.stmt:
    return ast.Import(names) if isinstance(node, ast.Import) else ast.ImportFrom(node.module, names, node.level)


def is_untouched(module: ast.Module, function: str) -> bool:
    """Say whether the learner's function still has the body of the stub."""
    found = find_function(module, function)
    if found is None:
        return False
    body = found.body[1:] if ast.get_docstring(found) is not None else found.body
    with suppress(RecursionError):  # a body that nests too deeply to be shown is nobody's stub
        return [ast.dump(node) for node in body] == [ast.dump(node) for node in ast.parse(_BODY).body]
    return False
