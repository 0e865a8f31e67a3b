"""Run the cells of CI's test matrix that this machine can: ``make matrix``, ``make matrix LIST=1``.

The cells and their steps are read from the workflow, so that nothing here has to keep step with it. A cell gets a
venv of its own under .matrix/. One step is done another way: torch is only ever the CPU wheel that lies where pip
has been told to look, or on the page of TORCH_INDEX, so that no cell fetches gigabytes.

Exit codes: 0 no cell failed, 1 one did, 2 a wrong word, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
RUNNERS = (  # how a runner's label begins and ends; what such a machine is
    ("ubuntu", "-arm", ("Linux", "aarch64")),
    ("ubuntu", "", ("Linux", "x86_64")),
    ("macos", "", ("Darwin", "arm64")),
)


@dataclass(frozen=True)
class Cell:
    """One cell of a job's matrix: what it is called and what its steps type, with their variables."""

    name: str
    values: dict[str, str]
    env: dict[str, str]
    commands: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """What became of a cell: passed, failed, can run or not here, and what there is to say about that."""

    cell: Cell
    verdict: str
    remark: str


def expand(matrix: dict[str, Any]) -> list[dict[str, str]]:
    """Return the cells of a matrix by GitHub's rules: an ``include`` extends cells that it agrees with, or adds one."""
    axes = {name: values for name, values in matrix.items() if name not in ("include", "exclude")}
    cells = [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]
    excluded = [entry.items() for entry in matrix.get("exclude", [])]
    cells = [cell for cell in cells if not any(entry <= cell.items() for entry in excluded)]
    added: list[dict[str, str]] = []
    for entry in matrix.get("include", []):
        agreeing = [cell for cell in cells if all(cell[name] == entry[name] for name in axes if name in entry)]
        for cell in agreeing:
            cell |= entry
        if not agreeing:
            added.append(dict(entry))
    return cells + added


def read_cells(workflow: Path) -> list[Cell]:
    """Return the cells of the workflow's jobs whose matrix varies Python and torch."""
    jobs = yaml.safe_load(workflow.read_text("utf-8"))["jobs"].values()
    return [
        _cell(job, values)
        for job in jobs
        for values in expand(job.get("strategy", {}).get("matrix", {}))
        if {"python", "torch"} <= values.keys()
    ]


def _cell(job: dict[str, Any], values: dict[str, str]) -> Cell:
    def fill(text: object) -> str:
        return re.sub(r"\$\{\{ *matrix\.(\w+) *\}\}", lambda found: values[found[1]], str(text))

    env = {name: fill(value) for name, value in job.get("env", {}).items()}
    commands = [step["run"] for step in job["steps"] if "run" in step]
    # The step that installs torch is the one that names its variable.
    return Cell(fill(job["name"]), values, env, tuple(each for each in commands if "$TORCH" not in each))


@cache
def find_python(version: str) -> str | None:
    """Return a Python of a version, such as 3.12, that is on the search path and runs."""
    for name in (f"python{version}", "python3"):
        found = shutil.which(name)
        says = "import ensurepip, sys; print('%d.%d' % sys.version_info[:2])"
        if found and _output(found, "-c", says).strip() == version:
            return found
    return None


@cache
def find_wheels(python: str) -> dict[str, tuple[str, ...]]:
    """Return the CPU wheels of torch for a Python: each version with pip's options that find it. Downloads nothing."""
    places: list[tuple[str, ...]] = [()]
    if index := os.environ.get("TORCH_INDEX"):
        places.append(("--find-links", f"{index}/torch/"))
    wheels: dict[str, tuple[str, ...]] = {}
    for place in places:
        ask = (
            "index",
            "versions",
            "torch",
            "--no-index",
            "--only-binary",
            ":all:",
            "--retries",
            "0",
            "--timeout",
            "15",
        )
        text = _output(sys.executable, "-m", "pip", *ask, "--python-version", python, *place)
        versions = re.findall(r"^Available versions: (.*)$", text, re.MULTILINE)
        for version in ", ".join(versions).split(", "):
            if version.endswith("+cpu") or (version and platform.system() == "Darwin"):
                wheels.setdefault(version, place)
    return wheels


def find_wheel(cell: Cell) -> str | None:
    """Return the newest version of a cell's torch of which there is a CPU wheel here."""
    asked = cell.values["torch"] + "."
    return next((version for version in find_wheels(cell.values["python"]) if version.startswith(asked)), None)


def obstacle(cell: Cell) -> str | None:
    """Return why this machine cannot run a cell, or None."""
    here, label = (platform.system(), platform.machine()), cell.values["os"]
    fitting = (machine for start, end, machine in RUNNERS if label.startswith(start) and label.endswith(end))
    if next(fitting, None) != here:
        return f"this is {here[0]} on {here[1]}"
    if not find_python(cell.values["python"]):
        return f"no Python {cell.values['python']} that runs and has ensurepip on the search path"
    if not find_wheel(cell):
        return f"pip finds no CPU wheel of torch {cell.values['torch']} for it"
    return None


def run_cell(cell: Cell, folder: Path, arguments: list[str]) -> Outcome:
    """Type a cell's steps in a venv of its own, as its runner would. arguments: more words for pytest."""
    start, wheel = time.monotonic(), find_wheel(cell) or ""
    python = find_python(cell.values["python"]) or ""
    venv = folder / re.sub(r"[^\w.]+", "-", cell.name)
    path = f"{venv / 'bin'}{os.pathsep}{os.environ['PATH']}"
    runner = {"RUNNER_OS": "macOS" if platform.system() == "Darwin" else "Linux", "RUNNER_TEMP": str(venv)}
    env = {**os.environ, "PYTHONPATH": "", **runner, **cell.env, "VIRTUAL_ENV": str(venv), "PATH": path}
    place = find_wheels(cell.values["python"])[wheel]
    install = ["python", "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", *place, f"torch=={wheel}"]
    steps: list[list[str]] = [[python, "-m", "venv", "--clear", str(venv)], install]
    for command in cell.commands:
        more = shlex.join(arguments) if "-m pytest" in command else ""
        steps.append(["bash", "-e", "-c", f"{command.rstrip()} {more}".rstrip()])
    for step in steps:
        print(f"matrix: {cell.name}: {step[-1] if step[0] == 'bash' else ' '.join(step)}", flush=True)
        # The first word is looked up here and not by subprocess, which would take the PATH of this process.
        words = [shutil.which(step[0], path=path) or step[0], *step[1:]]
        if code := subprocess.run(words, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, check=False).returncode:
            return Outcome(cell, "failed", f"exit code {code}: {step[-1].strip()}")
    return Outcome(cell, "passed", f"torch {wheel}, {time.monotonic() - start:.0f} s")


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False).stdout


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run the cells of CI's test matrix that this machine can.")
    parser.add_argument("--list", action="store_true", help="say which cells could run here, and run none")
    parser.add_argument("--workflow", type=Path, default=ROOT / ".github/workflows/ci.yml", help="the one to read")
    parser.add_argument("--folder", type=Path, default=ROOT / ".matrix", help="where the cells' venvs are made")
    parser.add_argument("pytest", nargs="*", help="more words for pytest, after --")
    return parser.parse_args()


def main() -> int:
    """Print each cell with what became of it."""
    options = _parse()
    outcomes = []
    for cell in read_cells(options.workflow):
        if reason := obstacle(cell):
            outcomes.append(Outcome(cell, "not here", reason))
        elif options.list:
            outcomes.append(Outcome(cell, "can run", f"torch {find_wheel(cell)}, {find_python(cell.values['python'])}"))
        else:
            outcomes.append(run_cell(cell, options.folder.resolve(), options.pytest))
    width = max((len(outcome.cell.name) for outcome in outcomes), default=0)
    for outcome in outcomes:
        print(f"{outcome.cell.name:<{width}}  {outcome.verdict:<8}  {outcome.remark}")
    return int(any(outcome.verdict == "failed" for outcome in outcomes))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
