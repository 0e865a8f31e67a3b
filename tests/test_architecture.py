"""The design's rules, read from the sources: who imports whom, who exits, what the engine may not know."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LONGEST = 300

# One layer a row. A module imports its own unit and the units of the rows above, none beside it and none below.
LAYERS = (
    ("lab",),
    ("lab.errors",),
    (
        "lab.compare",
        "lab.device",
        "lab.memory",
        "lab.store",
        "lab.warm",
        "lab.lessons",
    ),  # lab.lessons: where the lessons are
    ("lab.claim", "lab.parameters", "lab.finding", "lab.provenance"),
    ("lab.teach", "lab.practise", "lab.prove", "lab.run"),
    ("lab.report", "lab.console"),
    ("lab.child", "lab.run_progress"),
    (
        "lab.errors_command",
        "lab.exercises_command",
        "lab.grade_command",
        "lab.predict_command",
        "lab.run_command",
        "lab.runs_command",
        "lab.serve_command",
        "lab.tour_command",
        "lab.verify_command",
        "lab.warm_command",
    ),
    ("lab.__main__",),
)

# Lessons are content: beside torch and the standard library they import what they are offered.
CONTENT = (
    ("lab/lessons/*/lesson.py", ("lab.compare", "lab.device", "lab.teach.show", "lab.teach.perform")),
    ("lab/lessons/*/exercises/*.py", ("lab.device", "lab.compare", "lab.practise")),
    ("lab/lessons/*/museum.py", ("lab.practise",)),
)

# Beside the command line: `python lesson.py`, and forks, which end without what Python does at an exit.
EXITING = ("lab/__main__.py", "lab/teach/perform.py", "lab/practise/attempt.py", "lab/warm/parent.py")

_EXITS = ("sys.exit", "os._exit", "os.abort", "exit", "quit", "typer.Exit", "SystemExit")


@dataclass(frozen=True)
class Module:
    """A source file. path: from the root of the checkout, with slashes."""

    path: str
    source: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)

    @property
    def name(self) -> str:
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @property
    def is_content(self) -> bool:
        return fnmatch(self.path, "lab/lessons/*/*")

    def imports(self) -> Iterator[str]:
        """Name every module that is imported, also in functions, under TYPE_CHECKING and by import_module."""
        for node in ast.walk(self.tree):
            match node:
                case ast.Import(names=aliases):
                    yield from (alias.name for alias in aliases)
                case ast.ImportFrom(module=module, names=aliases, level=level):
                    above = self.path.split("/")[:-level] if level else []
                    yield from (_module_in(".".join([*above, *filter(None, [module])]), a.name) for a in aliases)
                case ast.Call(func=function, args=[ast.Constant(value=str(module)), *_]) if ast.unparse(function) in (
                    "__import__",
                    "import_module",
                    "importlib.import_module",
                ):
                    yield module

    def strings(self) -> Iterator[str]:
        """Return every string but the docstrings, which may give an example."""
        documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        owners = (node for node in ast.walk(self.tree) if isinstance(node, documented) and ast.get_docstring(node))
        docstrings = {id(owner.body[0].value) for owner in owners}  # type: ignore[attr-defined]
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                yield node.value

    def exits(self) -> Iterator[str]:
        """Return what ends the process: a call, or a raise of SystemExit or typer.Exit."""
        for node in ast.walk(self.tree):
            match node:
                case ast.Call(func=function) if ast.unparse(function) in _EXITS:
                    yield ast.unparse(node)
                case ast.Raise(exc=ast.Name() | ast.Attribute() as what) if ast.unparse(what) in _EXITS:
                    yield f"raise {ast.unparse(what)}"
                case ast.ImportFrom(module="sys" | "os" | "typer" as module, names=aliases):
                    yield from (a.name for a in aliases if f"{module}.{a.name}" in _EXITS)


def _module_in(package: str, name: str) -> str:
    """Return what ``from package import name`` imports: a module where there is one, else the package."""
    path = ROOT / package.replace(".", "/") / name
    return f"{package}.{name}" if path.with_suffix(".py").is_file() or path.is_dir() else package


def _layer(module: str) -> int | None:
    return next((number for number, row in enumerate(LAYERS) if _unit(module) in row), None)


def _unit(module: str) -> str:
    return ".".join(module.split(".")[:2])


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] == "lab"


def check_layers(module: Module) -> Iterator[str]:
    layer = _layer(module.name)
    if layer is None:
        yield f"{module.name} stands in no layer"
        return
    for imported in filter(_is_ours, module.imports()):
        below = _layer(imported)
        if _unit(imported) != _unit(module.name) and (below is None or below >= layer):
            yield f"{module.name} imports {imported}, which does not stand below it"


def check_content(module: Module) -> Iterator[str]:
    offered = next((names for pattern, names in CONTENT if fnmatch(module.path, pattern)), None)
    if offered is None:
        yield f"{module.path} is neither a lesson nor an exercise"
        return
    for imported in module.imports():
        if imported not in offered and imported.partition(".")[0] not in {"torch", *sys.stdlib_module_names}:
            yield f"{module.path} imports {imported}, which lessons are not offered"


def check_engine(module: Module) -> Iterator[str]:
    for text in module.strings():
        if named := [name for name in CONTENT_NAMES if name in text]:
            yield f"{module.name} names the lesson or exercise {named[0]}"
    if module.path not in EXITING:
        yield from (f"{module.name} exits: {what}" for what in module.exits())
    if (length := len(module.source.splitlines())) > LONGEST:
        yield f"{module.name} has {length} lines, more than {LONGEST}"
    if not ast.get_docstring(module.tree):
        yield f"{module.name} has no docstring"


def check_module(module: Module) -> list[str]:
    """Return the rules that a module breaks."""
    if module.is_content:
        return list(check_content(module))
    return [*check_layers(module), *check_engine(module)]


def read_modules() -> list[Module]:
    files = sorted((ROOT / "lab").rglob("*.py"))
    return [Module(file.relative_to(ROOT).as_posix(), file.read_text("utf-8")) for file in files]


MODULES = read_modules()
# Such as 05_gradients and ex01_two_partials, which no engine may name.
CONTENT_NAMES = sorted({part for m in MODULES if m.is_content for part in re.findall(r"\b(?:\d\d|ex\d\d)_\w+", m.path)})


def broken(path: str, *lines: str) -> str:
    """Return what a module of these lines would break, in one text."""
    return "; ".join(check_module(Module(path, '"""A module."""\n' + "\n".join(lines))))


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.path)
def test_a_module_keeps_the_rules(module: Module) -> None:
    assert check_module(module) == []


def test_the_rules_see_the_lab() -> None:
    paths = {module.path for module in MODULES}
    assert {"lab/__main__.py", "lab/errors.py", "lab/teach/stage.py"} <= paths
    assert "05_gradients" in CONTENT_NAMES
    stage = next(module for module in MODULES if module.name == "lab.teach.stage")
    assert {"torch", "lab.compare", "IPython.display"} <= set(stage.imports())  # the last in a function


@pytest.mark.parametrize(
    ("path", "line", "breach"),
    [
        ("lab/errors.py", "from lab.device import DTYPES", "lab.errors imports lab.device, which does not stand below"),
        ("lab/compare.py", "import lab.device", "lab.compare imports lab.device"),
        ("lab/compare.py", "from lab import device", "lab.compare imports lab.device"),
        ("lab/compare.py", "from . import device", "lab.compare imports lab.device"),
        ("lab/compare.py", "from .device import DTYPES", "lab.compare imports lab.device"),
        ("lab/device.py", "def f():\n    from lab.parameters import Value", "lab.device imports lab.parameters"),
        ("lab/teach/stage.py", "from lab.run import run_notebook", "lab.teach.stage imports lab.run"),
        ("lab/practise/judge.py", "import lab.teach.show as show", "lab.practise.judge imports lab.teach.show"),
        ("lab/run/engine.py", "from lab.teach import cells", "lab.run.engine imports lab.teach.cells"),
        ("lab/run/engine.py", "importlib.import_module('lab.teach')", "lab.run.engine imports lab.teach"),
        ("lab/run/engine.py", "__import__('lab.teach.show')", "lab.run.engine imports lab.teach.show"),
        ("lab/report/page.py", "from lab.__main__ import app", "lab.report.page imports lab.__main__"),
        ("lab/teach/stage.py", "from lab.reports import x", "lab.teach.stage imports lab.reports"),
        ("lab/utils.py", "", "lab.utils stands in no layer"),
        ("lab/lessons/05/lesson.py", "import numpy as np", "imports numpy, which lessons are not offered"),
        ("lab/lessons/05/lesson.py", "from lab.teach.stage import Stage", "imports lab.teach.stage"),
        ("lab/lessons/05/lesson.py", "from lab.teach import stage", "imports lab.teach.stage"),
        ("lab/lessons/05/lesson.py", "import lab", "imports lab, which"),
        ("lab/lessons/05/exercises/ex01.py", "from lab.practise.judge import check", "imports lab.practise.judge"),
        ("lab/lessons/05/exercises/ex01.py", "from lab.teach.show import walk", "imports lab.teach.show"),
        ("lab/lessons/05/museum.py", "from lab.practise.showing import Scene", "imports lab.practise.showing"),
        ("lab/lessons/05/helpers.py", "", "neither a lesson nor an exercise"),
        ("lab/teach/stage.py", "FIRST = '05_gradients'", "names the lesson or exercise 05_gradients"),
        ("lab/teach/stage.py", "def f(n):\n    return f'lessons/05_gradients/{n}'", "names the lesson or exercise 05"),
        ("lab/practise/judge.py", "FIRST = 'ex01_two_partials'", "names the lesson or exercise ex01_two_partials"),
        ("lab/teach/stage.py", "import sys\nsys.exit(1)", "lab.teach.stage exits: sys.exit(1)"),
        ("lab/run/engine.py", "def f():\n    os._exit(0)", "lab.run.engine exits: os._exit(0)"),
        ("lab/run/engine.py", "raise SystemExit", "lab.run.engine exits: raise SystemExit"),
        ("lab/run/engine.py", "raise SystemExit(3)", "lab.run.engine exits: SystemExit(3)"),
        ("lab/run/engine.py", "raise typer.Exit(code=1)", "lab.run.engine exits: typer.Exit(code=1)"),
        ("lab/run/engine.py", "from sys import exit as leave", "lab.run.engine exits: exit"),
        ("lab/run/engine.py", "x = 1\n" * LONGEST, f"has {LONGEST + 1} lines"),
    ],
)  # fmt: skip
def test_a_breach_is_named(path: str, line: str, breach: str) -> None:
    assert breach in broken(path, line)


def test_a_missing_docstring_is_named() -> None:
    assert check_module(Module("lab/device.py", "x = 1")) == ["lab.device has no docstring"]


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("lab/warm/parent.py", "from lab.errors import LabError\nimport lab"),
        ("lab/parameters.py", "from lab import device, errors, __version__"),
        ("lab/teach/stage.py", "from lab.compare import compare\nfrom lab.teach import graph\nfrom .show import walk"),
        ("lab/practise/__init__.py", "from .judge import check\nfrom lab.lessons import LESSONS"),
        ("lab/prove/sweep.py", "from lab.prove.cases import Case"),
        ("lab/report/page.py", "from lab.teach.lessons import LESSONS\nfrom lab.run import run_notebook"),
        ("lab/__main__.py", "import sys\nfrom lab.report import page\nsys.exit(0)"),
        ("lab/teach/perform.py", "import sys\nsys.exit(0)"),
        ("lab/run/engine.py", "try:\n    pass\nexcept SystemExit:\n    pass"),
        ("lab/run/engine.py", 'def f():\n    """Such as 05_gradients."""'),
        ("lab/lessons/05/lesson.py", "import math, torch.nn\nfrom lab.teach.show import walk"),
        ("lab/lessons/05/exercises/ex01.py", "import torch\nfrom lab.practise import Check"),
        ("lab/lessons/05/museum.py", "import torch\nfrom lab.practise import Exhibit"),
    ],
)
def test_what_the_design_allows_is_allowed(path: str, line: str) -> None:
    assert broken(path, line) == ""
