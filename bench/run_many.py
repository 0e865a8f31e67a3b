"""What becomes of long sweeps: whether they slow down, grow or tear files, and what a finished run costs to skip."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
from run_ways import ROOT, WayFailed, lab_command, read_records, run

CELLS = (
    "import torch\n\nfrom lab.teach.show import check_gradient",
    "t = torch.tensor(x, device=device, requires_grad=True)\n(t**2).backward()\n"
    'check_gradient("dy/dx = 2x", t.grad, 2 * t.detach())',
    "t = torch.tensor(x, device=device, requires_grad=True)\n(t**3 + t).backward()\n"
    'check_gradient("dy/dx = 3x² + 1", t.grad, 3 * t.detach() ** 2 + 1)',
    "v = torch.linspace(-1, 1, 100, device=device, requires_grad=True)\n(x * v).sin().sum().backward()",
    "print(v.grad.norm().item())",
    "hessian = torch.autograd.functional.hessian(lambda t: (t**3).sum(), v.detach()[:10])\nprint(hessian.diag())",
    "w = torch.zeros(3, requires_grad=True)\nfor _ in range(20):\n    loss = ((w - x) ** 2).sum()\n"
    "    (gradient,) = torch.autograd.grad(loss, w)\n    w = (w - 0.1 * gradient).detach().requires_grad_()",
    "print(loss.item())",
)
PARAMETERS = 'x: float = 0.5  # where it is computed, in [-1000, 1000]\ndevice: str = "cpu"  # where it is computed'
AIM_MS = 2.0
ROUNDS = 5
ENDS = 100  # how many runs at either end of a long sweep are compared


def write_small(folder: Path) -> Path:
    """Write a small notebook of nine cells; the same bytes each time, so that finished runs of it are found."""
    import nbformat
    from nbformat.v4 import new_code_cell, new_notebook

    cells = [new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}), *map(new_code_cell, CELLS)]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = folder / "small.ipynb"
    path.write_text(nbformat.writes(new_notebook(cells=cells, metadata={"kernelspec": kernel})), "utf-8")
    return path


def grid(runs: int) -> list[float]:
    return [i / 1000 for i in range(runs)]


def measure_long(runs: int, folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Run a long sweep and compare its beginning with its end. Raises: WayFailed where it is not completed."""
    outputs = folder / "outputs"
    samples, seconds = watch_memory(lab_command(write_small(folder), grid(runs), outputs))
    torn = torn_files(outputs)
    timings = [record["timing"] for record in whole_records(outputs) if record["status"] == "completed"]
    if len(timings) != runs or len(timings) < 4:
        raise WayFailed(f"{len(timings)} of {runs} runs completed, {torn} files torn; at least 4 are compared")
    began = sorted((datetime.fromisoformat(t["started"]).timestamp(), t["seconds"]) for t in timings)
    ends = min(ENDS, runs // 2)
    first, last = pace([start for start, _ in began[:ends]]), pace([start for start, _ in began[-ends:]])
    after = [
        memory for at, memory in samples if at > min(start + took for start, took in began)
    ]  # once it is under way
    lines = [
        f"long: {runs} runs of a small notebook in {seconds:.1f} s, {torn} files torn (aim 0)",
        f"  runs a second, the first {ends} and the last {ends}: {first:.2f} and {last:.2f}, {last / first:.2f} ×",
        "  memory of the parent: too short to tell"
        if len(after) < 2
        else f"  MB of the parent, first, last, most: {after[0]:.0f}, {after[-1]:.0f}, {max(after):.0f}",
    ]
    numbers = {"runs": runs, "seconds": seconds, "torn": torn, "pace_first": first, "pace_last": last, "memory": after}
    return numbers, lines


def pace(starts: list[float]) -> float:
    """Return how many runs started a second, from the first of these to the last."""
    return (len(starts) - 1) / max(starts[-1] - starts[0], 1e-9)


def watch_memory(command: list[str]) -> tuple[list[tuple[float, float]], float]:
    """Run Python and look every second at how much memory it has; return (when, MB) of each look, and the seconds."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    samples, start = [], time.perf_counter()
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(
            [sys.executable, *command], cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, stdout=said, stderr=said
        ) as process,
    ):
        parent = psutil.Process(process.pid)
        while True:
            try:
                process.wait(1)
                break
            except subprocess.TimeoutExpired:
                memory = parent.memory_info().rss / 1e6
                if memory:  # it has none once it has ended
                    samples.append((time.time(), memory))
        seconds = time.perf_counter() - start
        if process.returncode:
            said.seek(0)
            words = " ".join(said.read().decode("utf-8", "replace").split())
            raise WayFailed(f"exit code {process.returncode}: {words[-300:]}")
    return samples, seconds


def torn_files(outputs: Path) -> int:
    """Count the files below, also below what is hidden, that should be whole JSON and are not."""
    torn = 0
    for path in (*outputs.rglob("run.json"), *outputs.rglob("*.ipynb")):
        try:
            json.loads(path.read_text("utf-8"))
        except ValueError:
            torn += 1
    return torn


def whole_records(outputs: Path) -> list[dict[str, Any]]:
    try:
        return [record for _, record in read_records(outputs)]
    except ValueError:
        raise WayFailed(f"{torn_files(outputs)} files torn") from None


def measure_skip(runs: int, folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Finish a sweep, then type it again; what starting costs is taken off. Raises: WayFailed where a run ran again."""
    notebook, outputs, xs = write_small(folder), folder / "outputs", grid(runs + 1)
    one, every = lab_command(notebook, xs[:1], outputs), lab_command(notebook, xs, outputs)
    run(*every, runs=len(xs))
    published = len(read_records(outputs))
    ones, everyone = [], []
    for _ in range(ROUNDS):
        for command, times in ((one, ones), (every, everyone)):
            times.append(run(*command)[1])
            again = len(read_records(outputs)) - published
            if again:
                raise WayFailed(f"{again} finished runs ran again")
    each = 1e3 * (statistics.median(everyone) - statistics.median(ones)) / runs
    noise = 1e3 * (max(ones) - min(ones)) / runs  # what the start-up itself varies by
    met = None if noise > AIM_MS else each <= AIM_MS
    verdict = {None: "too noisy to tell", True: "met", False: "missed"}[met]
    line = (
        f"skip: {each:.2f} ms for each of {runs} finished runs, noise {noise:.2f}, aim: at most {AIM_MS:g}: {verdict}"
    )
    return {"runs": runs, "ms": each, "noise": noise, "one": ones, "all": everyone, "aim": AIM_MS, "met": met}, [line]
