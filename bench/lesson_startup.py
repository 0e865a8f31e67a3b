"""How much the narrated lesson costs beside the imports that it cannot do without, measured side by side.

Prints one table: the floor (``import torch, matplotlib.figure``), the lesson, its first line, and the command
line's answers that need no torch. Each row is the median of the rounds, which alternate between the rows.

    make bench            or:  python bench/lesson_startup.py --rounds 9
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FLOOR = [sys.executable, "-c", "import torch, matplotlib.figure"]
NOTEBOOK = Path(__file__).resolve().parents[1] / "notebooks" / "05_gradients.ipynb"
LAB = [sys.executable, "-m", "lab"]


def seconds(command: list[str], *, first_line: bool = False, code: int = 0) -> float:
    """Return the wall time until the command ends, or until its first line; then it is read to its end.

    Raises: SystemExit where it ends with another exit code: what crashes is fast.
    """
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        process.stdout.readline()
        until_line = time.perf_counter() - start
        process.stdout.read()
    if process.returncode != code:
        sys.exit(f"{' '.join(command)}: exit code {process.returncode}, expected {code}")
    return until_line if first_line else time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as outputs:
        lesson = [*LAB, "lesson", "--outputs", outputs]
        rows = {
            "import torch, matplotlib.figure": (FLOOR, False, 0),
            "lab lesson": (lesson, False, 0),
            "lab lesson, first line": (lesson, True, 0),
            "lab --help": ([*LAB, "--help"], False, 0),
            "lab lesson -p x=abc (refused)": ([*LAB, "lesson", "-p", "x=abc"], False, 2),
            "lab run … -p x=abc (refused)": ([*LAB, "run", str(NOTEBOOK), "-p", "x=abc"], False, 2),
        }
        seconds(FLOOR)  # warms the disk cache
        times: dict[str, list[float]] = {name: [] for name in rows}
        for _ in range(rounds):
            for name, (command, first_line, code) in rows.items():
                times[name].append(seconds(command, first_line=first_line, code=code))
    medians = {name: statistics.median(values) for name, values in times.items()}
    floor, whole = medians["import torch, matplotlib.figure"], medians["lab lesson"]
    for name, median in medians.items():
        print(f"{name:<34} {median:6.3f} s   {median / floor:5.2f} × the imports")
    print(f"\nlab lesson against its limit, 1.15 × imports + 1 s: {whole / (1.15 * floor + 1):.2f}")


if __name__ == "__main__":
    main()
