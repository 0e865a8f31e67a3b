"""What a judged attempt costs, beside importing torch, and beside the same checks with a pytest process each.

Cold is a command typed in a shell; warm is one more attempt in a judge that is running, as `lab exercises watch` has.
Attempts are the reference solutions, and for each exercise its first labelled mistake, for a wrong one costs more:
every known mistake is run on the same trials.
"""

from __future__ import annotations

import argparse
import ast
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lab.lessons import LESSONS
from lab.practise import Exercise, Judge, attempt_path, discover_exercises
from lab.practise.watch import Watch

ROOT = Path(__file__).resolve().parents[1]
EXERCISES = [e for folder in sorted(LESSONS.glob("*/exercises")) for e in discover_exercises(folder.parent)]
Attempts = Sequence[tuple[Exercise, Path]]

PYTEST = """
from pathlib import Path

from lab.practise import check
from lab.practise.discover import execute_source, read_source

PATH = Path({path!r})


def test_answer():
    function = execute_source(read_source(PATH), PATH)[{function!r}]
    judgement = check({id!r}, function, seed=0)
    assert judgement.solved, judgement
"""


def seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def run(*command: str, cwd: Path = ROOT) -> None:
    """Run Python. Raises: CalledProcessError where it fails: what crashes is fast."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, *command], cwd=cwd, env=environment, capture_output=True, check=True)


def write_attempts(folder: Path) -> tuple[Attempts, Attempts]:
    """Write the right and a wrong attempt at every exercise; return both lists."""
    right = [(exercise, exercise.path) for exercise in EXERCISES]
    wrong = [(exercise, folder / f"{exercise.id}.py") for exercise in EXERCISES]
    for exercise, path in wrong:
        calls = (node for node in ast.walk(ast.parse(exercise.source)) if isinstance(node, ast.Call))
        mistake = next(c.args[0].id for c in calls if getattr(c.func, "id", "") == "Mistake")  # type: ignore[attr-defined]
        path.write_text(f"{exercise.source}\n{exercise.function} = {mistake}\n", "utf-8")
    return right, wrong


def measure_cold(folder: Path, rounds: int) -> None:
    """One attempt from a shell, beside importing torch, alternately."""
    workspace = str(folder / "workspace")
    run("-m", "lab", "exercises", "--workspace", workspace)
    attempt = Path(workspace) / EXERCISES[0].lesson / EXERCISES[0].path.name
    attempt.write_text(EXERCISES[0].source, "utf-8")
    words = ("-m", "lab", "exercises", "check", EXERCISES[0].id, "--workspace", workspace)
    imports, commands = [], []
    for _ in range(rounds):
        imports.append(seconds(lambda: run("-c", "import torch")))
        commands.append(seconds(lambda: run(*words)))
    floor, cold = statistics.median(imports), statistics.median(commands)
    print(f"import torch                                {floor:7.3f} s")
    print(f"lab exercises check, cold                   {cold:7.3f} s    {cold / floor:.2f} × the import (aim 1.2)")


def measure_warm(judge: Judge, right: Attempts, wrong: Attempts) -> float:
    """Every attempt alone, then all at once; return the seconds of the latter."""
    judge.judge(right)
    time.sleep(6)  # the warm process imports while nobody asks
    for name, attempts in (("right", right), ("wrong", wrong)):
        each = {exercise.id: seconds(lambda a=(exercise, path): judge.judge([a])) for exercise, path in attempts}
        slowest = max(each, key=each.__getitem__)
        middle = statistics.median(each.values())
        print(f"a {name} attempt, warm, median                {middle * 1e3:7.0f} ms   (aim 100)")
        print(f"  the slowest, {slowest:<28} {each[slowest] * 1e3:7.0f} ms")
    together = statistics.median(seconds(lambda: judge.judge(right)) for _ in range(3))
    print(f"all {len(right)} at once, warm, {os.cpu_count()} processors       {together:9.2f} s    (aim 5)")
    return together


def measure_watch(judge: Judge, folder: Path, rounds: int) -> None:
    """From the save of a file to its judgement, as `lab exercises watch` has it."""
    exercise, workspace = EXERCISES[0], folder / "watched"
    path = attempt_path(exercise, workspace)
    path.parent.mkdir(parents=True)
    watch, times = Watch([exercise], workspace), []
    for number in range(rounds):
        threading.Timer(0.2 + 0.017 * number, path.write_text, (exercise.source, "utf-8")).start()
        watch.wait()
        times.append(time.time() - path.stat().st_mtime + seconds(lambda: judge.judge([(exercise, path)])))
    print(f"from a save to its judgement, the slowest   {max(times) * 1e3:7.0f} ms   (aim 300)")


def measure_pytest(folder: Path, attempts: Attempts) -> float:
    """The same checks with a pytest process each, as many at once as there are processors."""
    files = []
    for exercise, path in attempts:
        file = folder / f"test_{exercise.id}.py"
        file.write_text(PYTEST.format(path=str(path), function=exercise.function, id=exercise.id), "utf-8")
        files.append(file)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        options = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist")
        return seconds(lambda: list(pool.map(lambda file: run(*options, str(file), cwd=folder), files)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of the cold start")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name, Judge() as judge:
        folder = Path(name)
        right, wrong = write_attempts(folder)
        measure_cold(folder, rounds)
        ours = measure_warm(judge, right, wrong)
        measure_watch(judge, folder, 4 * rounds)
        theirs = measure_pytest(folder, right)
        print(f"the same with a pytest process each         {theirs:7.2f} s    {theirs / ours:.1f} × slower (aim 10)")
        print(f"isolated by {judge.sandbox.prefix[0] if judge.sandbox.prefix else 'nothing: ' + judge.sandbox.missing}")


if __name__ == "__main__":
    main()
