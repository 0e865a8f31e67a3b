"""What many runs of a notebook cost, beside papermill, ploomber-engine and bare forks. Prints a table, and the aims.

    make bench-run            or:  python bench/run.py --rounds 3
    make bench-run ARGS="--quick --skip 0"
    make bench-run ARGS="--runs 0 --long 1000"

Each way runs notebooks/05_gradients.ipynb at so many values of x on the CPU, from cold, two at a time where it can, on
two cores. Rounds alternate between the ways. A ratio is the median of the rounds' ratios; a slow way runs fewer, is
scaled, and says so. Every run is checked: it shows each gradient and claim of the lesson, and has drawn each picture.

--skip: a sweep whose runs are all finished, typed again. --long: does a long sweep slow down, grow or tear files.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import re
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from run_many import measure_long, measure_skip
from run_peers import WORKERS
from run_ways import NOTEBOOK, PINS, WAYS, WayFailed, expected_work


@dataclass
class Row:
    """What became of one way. seconds: of each round, scaled to all runs. measured: how many runs a round made."""

    name: str
    measured: int
    seconds: list[float] = field(default_factory=list)
    failed: str | None = None


@dataclass(frozen=True)
class Aim:
    """How the lab should compare with one way. faster: as a multiple of its pace; else as a share of its time."""

    way: str
    limit: float
    faster: bool

    def ratio(self, rows: dict[str, Row]) -> float:
        """Return the median of the rounds' ratios: their time over ours, or ours over theirs."""
        theirs, ours = rows[self.way].seconds, rows["ours"].seconds
        pairs = zip(theirs, ours, strict=True)
        return statistics.median(their / our if self.faster else our / their for their, our in pairs)

    def met(self, ratio: float) -> bool:
        return ratio >= self.limit if self.faster else ratio <= self.limit


AIMS = (Aim("papermill", 15, True), Aim("pool", 8, True), Aim("ploomber", 1.0, False), Aim("floor", 1.8, False))


def measure(runs: int, rounds: int, *, quick: bool) -> dict[str, Row]:
    """Measure every way, alternating. One that fails is left out of the rounds to come."""
    xs = [round(-2 + 4 * i / runs, 6) for i in range(runs)]
    rows = {}
    for key, way in WAYS.items():
        most = way.quick if quick else way.most
        rows[key] = Row(way.name, min(runs, most or runs))
    with tempfile.TemporaryDirectory() as name:
        work = expected_work(Path(name))
    for number in range(rounds):
        for key, row in rows.items():
            if row.failed:
                continue
            with tempfile.TemporaryDirectory(prefix="bench-") as name:
                try:
                    timing = WAYS[key].take(xs[: row.measured], Path(name), work)
                    row.seconds.append(timing.scaled(runs))
                except WayFailed as error:
                    row.failed = str(error)
            seconds = row.failed or f"{timing.seconds:.2f} s for {row.measured}"
            print(f"round {number + 1} of {rounds}, {row.name}: {seconds}", file=sys.stderr)
    return rows


def show_table(rows: dict[str, Row], runs: int) -> None:
    name, rounds = NOTEBOOK.name, max(len(row.seconds) for row in rows.values())
    print(f"{runs} runs of {name} from cold, median of {rounds} rounds, {machine()}\n")
    print(f"{'':<38} {'seconds':>8} {'÷ ours':>8}")
    for row in rows.values():
        if row.failed:
            print(f"{row.name:<38} {'–':>8} {'–':>8}  {row.failed}")
            continue
        note = "" if row.measured == runs else f"  measured {row.measured}, scaled to {runs}"
        ours = rows["ours"]
        pairs = [] if ours.failed else [a / b for a, b in zip(row.seconds, ours.seconds, strict=True)]
        ratio = f"{statistics.median(pairs):.2f}" if pairs else "–"
        print(f"{row.name:<38} {statistics.median(row.seconds):>8.2f} {ratio:>8}{note}")


def judge_aims(rows: dict[str, Row]) -> list[dict[str, Any]]:
    """Print the lab's ratio to each way beside its aim, and return the same."""
    print()
    aims = []
    for aim in AIMS:
        broken = next((rows[way].name for way in ("ours", aim.way) if rows[way].failed), None)
        ratio = None if broken else aim.ratio(rows)
        limit = f"aim: at least {aim.limit:g} × faster" if aim.faster else f"aim: at most {aim.limit:.1f} × its time"
        found = "not known" if ratio is None else f"{ratio:.2f} ×"
        verdict = f"{broken} failed" if ratio is None else "met" if aim.met(ratio) else "missed"
        print(f"lab run beside {rows[aim.way].name:<38} {found:>9}   {limit}: {verdict}")
        met = None if ratio is None else aim.met(ratio)
        aims.append({"way": aim.way, "ratio": ratio, "aim": aim.limit, "faster": aim.faster, "met": met})
    return aims


def machine() -> str:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cores} cores"


def versions() -> dict[str, str]:
    pinned = dict(re.findall(r"^([\w-]+)==(\S+)", PINS.read_text("utf-8"), re.MULTILINE))
    installed = {name: importlib.metadata.version(name) for name in ("torch", "papermill", "nbclient", "ipykernel")}
    return {"python": sys.version.split()[0], **installed, **pinned}


def show_many(measured: Callable[[int, Path], tuple[dict[str, Any], list[str]]], runs: int, folder: Path) -> dict:
    """Print the lines of one measurement of many runs, or why there are none; return its numbers."""
    print()
    try:
        numbers, lines = measured(runs, folder)
    except WayFailed as error:
        numbers, lines = {"failed": str(error)}, [f"{measured.__name__.removeprefix('measure_')}: {error}"]
    print(*lines, sep="\n")
    return numbers


def parse_words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=32, help="of the notebook; 0 leaves the comparison out")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round, fewer runs of papermill")
    parser.add_argument("--long", type=int, default=0, metavar="N", help="runs of a long sweep: 1000 in earnest")
    parser.add_argument("--skip", type=int, default=100, metavar="N", help="finished runs to be skipped; 0: none")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    return parser.parse_args()


def main() -> None:
    words = parse_words()
    if hasattr(os, "sched_setaffinity"):  # every way, and all its processes, on as many cores as it has workers
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:WORKERS])
    report: dict[str, Any] = {"machine": machine(), "versions": versions(), "runs": words.runs}
    if words.runs:
        rows = measure(words.runs, 1 if words.quick else words.rounds, quick=words.quick)
        show_table(rows, words.runs)
        report |= {"rows": {key: asdict(row) for key, row in rows.items()}, "aims": judge_aims(rows)}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        for measured, runs in ((measure_long, words.long), (measure_skip, words.skip)):
            if runs:
                report[measured.__name__.removeprefix("measure_")] = show_many(measured, runs, Path(name))
    if words.json:
        words.json.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
