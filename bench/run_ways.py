"""The ways to run a notebook many times that bench/run.py measures, each timed from cold and then checked."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from run_peers import GIVEN, WORKERS

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "notebooks" / "05_gradients.ipynb"
SCRIPT = Path(__file__).with_name("run_peers.py")
PINS = Path(__file__).with_name("peers.txt")
PEERS = ROOT / "outputs" / ".bench-peers"
LIMIT_S, LIMIT_OF_A_RUN_S = 120, 30  # far above what any way takes: what hangs becomes a row, not a long evening


class WayFailed(Exception):
    """A way that did not do its work: its row says so in place of a time, for what crashes is fast."""


@dataclass(frozen=True)
class Work:
    """What one run of the notebook has to show. checked: its gradients and claims, a line each. pictures: its SVGs."""

    checked: int
    pictures: int


@dataclass(frozen=True)
class Timing:
    """Seconds of so many runs. lead: how much of it, with how many runs, is paid once, however many follow."""

    seconds: float
    runs: int
    lead: float = 0.0
    lead_runs: int = 0

    def scaled(self, runs: int) -> float:
        """Return the seconds that so many runs would take at this pace."""
        if runs == self.runs:
            return self.seconds
        return self.lead + (self.seconds - self.lead) * (runs - self.lead_runs) / (self.runs - self.lead_runs)


@dataclass(frozen=True)
class Way:
    """One way. take: runs the notebook at each x into a folder, checked. most: the most runs of a round, or None."""

    name: str
    take: Callable[[Sequence[float], Path, Work], Timing]
    most: int | None = None
    quick: int | None = None


def run(*command: str, runs: int = 1, environment: Mapping[str, str] | None = None) -> tuple[str, float, float]:
    """Run Python from cold in the checkout; return what it printed, its seconds, and when it began.

    Raises: WayFailed where it fails or hangs.
    """
    given = environment or {}
    path = os.pathsep.join(filter(None, [str(ROOT), given.get("PYTHONPATH"), os.environ.get("PYTHONPATH")]))
    began, start = time.time(), time.perf_counter()
    with subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env={**os.environ, **given, "PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that what hangs ends with its kernels
    ) as process:
        try:
            printed, complaint = process.communicate(timeout=LIMIT_S + LIMIT_OF_A_RUN_S * runs)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise WayFailed(f"not done after {error.timeout:.0f} s") from None
            raise
    seconds = time.perf_counter() - start
    if process.returncode:
        words = " ".join(re.sub(r"[\s│╭╮╰╯─]+", " ", complaint or printed).split())
        raise WayFailed(f"exit code {process.returncode}: {words[-300:]}")
    return printed, seconds, began


def expected_work(folder: Path) -> Work:
    """Ask the narrated lesson, which has the same cells, what a run has to show. It warms the disk's cache, too."""
    words = ["-p", "x=1", "--device", GIVEN["device"], "--dtype", GIVEN["dtype"]]
    result = json.loads(run("-m", "lab", "lesson", *words, "--json", "--outputs", str(folder))[0])
    return Work(len(result["comparisons"]) + len(result["claims"]), len(result["pictures"]))


def papermill_loop(xs: Sequence[float], folder: Path, work: Work) -> Timing:
    paths, total = [folder / f"{x}.ipynb" for x in xs], 0.0
    for x, path in zip(xs, paths, strict=True):
        given = [word for name, value in {"x": x, **GIVEN}.items() for word in ("-p", name, str(value))]
        total += run("-m", "papermill", str(NOTEBOOK), str(path), *given, "--no-progress-bar")[1]
    check_notebooks(xs, paths, work)
    return Timing(total, len(xs))


def papermill_pool(xs: Sequence[float], folder: Path, work: Work) -> Timing:
    rows, seconds, began = run_script("pool", xs, folder)
    check_notebooks(xs, [folder / f"{x}.ipynb" for x in xs], work)
    ended = sorted(row["ended"] for row in rows)
    lead_runs = min(WORKERS, len(xs))
    return Timing(seconds, len(xs), ended[lead_runs - 1] - began, lead_runs)


def ploomber(xs: Sequence[float], folder: Path, work: Work) -> Timing:
    install_peers()
    quiet = {
        "PLOOMBER_STATS_ENABLED": "false",  # telemetry
        "PLOOMBER_VERSION_CHECK_DISABLED": "true",  # it would ask the package index
        "PLOOMBER_HOME_DIR": str(folder / "home"),
    }
    rows, seconds, _ = run_script("ploomber", xs, folder, {"PYTHONPATH": str(PEERS), **quiet})
    check_notebooks(xs, [folder / f"{x}.ipynb" for x in xs], Work(work.checked, 0))
    for x, row in zip(xs, rows, strict=True):
        check(x, row["pictures"], work.pictures, "pictures")
    return Timing(seconds, len(xs))


def lab_run(xs: Sequence[float], folder: Path, work: Work) -> Timing:
    given = [word for name, value in GIVEN.items() for word in (f"--{name}", value)]
    seconds = run(*lab_command(NOTEBOOK, xs, folder), *given, runs=len(xs))[1]
    records = read_records(folder)
    by_x = {record["parameters"]["x"]: path for path, record in records if record["status"] == "completed"}
    if len(records) != len(xs) or set(by_x) != set(xs):
        raise WayFailed(f"published {len(records)} runs of {len(xs)}, {len(by_x)} values of x completed")
    check_notebooks(xs, [by_x[x] / NOTEBOOK.name for x in xs], work)
    return Timing(seconds, len(xs))


def floor(xs: Sequence[float], folder: Path, work: Work) -> Timing:
    rows, seconds, _ = run_script("floor", xs, folder, {"PYTHONPATH": str(SCRIPT.parent)})  # for its forks
    for x, row in zip(xs, rows, strict=True):
        if "error" in row:
            raise WayFailed(f"x = {x}: {row['error']}")
        check_text(x, row["text"], work)
        check(x, row["pictures"], work.pictures, "pictures")
    return Timing(seconds, len(xs))


WAYS = {
    "papermill": Way("papermill, its command line in a loop", papermill_loop, most=8, quick=2),
    "pool": Way("papermill, a pool of two processes", papermill_pool, most=16, quick=4),
    "ploomber": Way("ploomber-engine, one shared process", ploomber),
    "ours": Way("lab run, as many workers as by default", lab_run),
    "floor": Way("floor: forks that execute the cells", floor),
}


def lab_command(notebook: Path, xs: Iterable[float], outputs: Path) -> list[str]:
    """Return what runs a notebook over a grid with the lab, for `run`."""
    grid = ",".join(map(str, xs))
    return ["-m", "lab", "run", str(notebook), "-p", f"x={grid}", "--outputs", str(outputs)]


def run_script(
    way: str, xs: Sequence[float], folder: Path, environment: Mapping[str, str] | None = None
) -> tuple[list[dict[str, Any]], float, float]:
    """Run a way of run_peers.py; return its rows, its seconds, and when it began."""
    words = [str(SCRIPT), way, str(NOTEBOOK), str(folder), *map(str, xs)]
    printed, seconds, began = run(*words, runs=len(xs), environment=environment)
    return json.loads(printed.splitlines()[-1]), seconds, began


def read_records(outputs: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Return the folder and the record of each published run; `latest` is a link to one of them."""
    files = (path for path in outputs.glob("*/*/run.json") if not path.parent.is_symlink())
    return [(path.parent, json.loads(path.read_text("utf-8"))) for path in files]


def install_peers() -> None:
    """Install what the lab does not need, once, into a folder of its own. Raises: WayFailed where it cannot be."""
    mark = PEERS / PINS.name
    if mark.exists() and mark.read_text("utf-8") == PINS.read_text("utf-8"):
        return
    shutil.rmtree(PEERS, ignore_errors=True)
    run("-m", "pip", "install", "--quiet", "--no-deps", "--no-input", "--target", str(PEERS), "-r", str(PINS))
    shutil.copy(PINS, mark)  # last: a folder without it is not whole


def check_notebooks(xs: Sequence[float], paths: Sequence[Path], work: Work) -> None:
    """Check that each executed notebook holds what its run has to show. Raises: WayFailed."""
    for x, path in zip(xs, paths, strict=True):
        if not path.exists():
            raise WayFailed(f"x = {x}: no notebook was written")
        cells = json.loads(path.read_text("utf-8"))["cells"]
        outputs = [output for cell in cells for output in cell.get("outputs", ())]
        shown = [output.get("data", {}) for output in outputs]
        texts = [output.get("text") or data.get("text/plain", "") for output, data in zip(outputs, shown, strict=True)]
        check_text(x, "\n".join("".join(text) for text in texts), work)
        check(x, sum("image/svg+xml" in data for data in shown), work.pictures, "pictures")


def check_text(x: float, text: str, work: Work) -> None:
    if f"x = {x:g} and " not in text:
        raise WayFailed(f"x = {x}: the notebook ran with another value")
    check(x, len(re.findall(r"^  [✓!] ", text, re.MULTILINE)), work.checked, "checked lines")


def check(x: float, found: int, expected: int, what: str) -> None:
    if found != expected:
        raise WayFailed(f"x = {x}: {found} {what}, expected {expected}")
