"""A whole verification: what is asked, swept, diagnosed and found."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from lab.prove.case import AXES, Selection, parse_case
from lab.prove.diagnose import Failure, diagnose
from lab.prove.probes import Probe, run_probes
from lab.prove.result import Cause, Cell, ChunkResult, cells
from lab.prove.rule import Verdict
from lab.prove.verify import Target

SCHEMA = 1
LISTED = 20  # failing cases that verify.json lists of one operation and dtype


@dataclass(frozen=True)
class Verification:
    """What a verification found. soak: what it repeated, or None."""

    target: Target
    selection: Selection
    probes: tuple[Probe, ...]
    cells: tuple[Cell, ...]
    environment: dict[str, Any]
    soak: dict[str, Any] | None = None

    @property
    def passed(self) -> bool:
        """Whether nothing failed that is the machine's fault."""
        flaky = bool(self.soak and self.soak["differing"])
        return not self.failing and all(probe.passed for probe in self.probes) and not flaky

    @property
    def failing(self) -> list[Cell]:
        """The cells that failed."""
        return [cell for cell in self.cells if cell.verdict.is_failure]

    @property
    def comparisons(self) -> int:
        """How many gradients were compared."""
        return sum(cell.comparisons for cell in self.cells)

    @property
    def cases(self) -> int:
        """How many cases were run."""
        return sum(len(cell.cases) for cell in self.cells)

    @property
    def counts(self) -> dict[str, int]:
        """How many cells have each verdict, those that none has left out."""
        found = Counter(cell.verdict for cell in self.cells)
        return {str(verdict): found[verdict] for verdict in Verdict if found[verdict]}

    def reproduce(self, case: str) -> str:
        """Return what to type for one case."""
        how = "--simulate" if self.target.backend.simulated else "--backend"
        backend = f" {how} {self.target.backend.name}" if self.target.backend.name != "plain" else ""
        ieee = " --ieee" if self.target.ieee else ""
        return f"lab verify --device {self.target.device}{backend}{ieee} --case {case}"

    def to_json(self) -> dict[str, Any]:
        """Return what verify.json holds, but for where it lies and how long it took."""
        return {
            "schema": SCHEMA,
            "verdict": "pass" if self.passed else "fail",
            "device": self.target.device,
            "backend": self.target.backend.name,
            "simulated": self.target.backend.simulated,
            "ieee": self.target.ieee,
            "selection": {
                "ops": list(self.selection.ops),
                "dtypes": list(self.selection.dtypes),
                "axes": {axis: list(values) for axis, values in self.selection.axes},
                "quick": self.selection.quick,
                "deep": self.selection.deep,
                "seed": self.selection.seed,
            },
            "environment": self.environment,
            "cases": self.cases,
            "comparisons": self.comparisons,
            "counts": self.counts,
            "probes": [probe.to_json() for probe in self.probes],
            "operations": [self._cell(cell) for cell in self.cells],
            "soak": self.soak,
        }

    def _cell(self, cell: Cell) -> dict[str, Any]:
        """Return plain data about a cell. Ratios that are infinite are the string inf."""
        failing = [case for case in cell.cases if case.verdict.is_failure]
        return {
            "op": cell.op,
            "dtype": cell.dtype,
            "verdict": str(cell.verdict),
            "cases": len(cell.cases),
            "comparisons": cell.comparisons,
            "ratio": plain(cell.ratio),
            "bits": cell.bits,
            "worst": {
                "case": cell.worst.case,
                "note": cell.worst.note,
                "reproduce": self.reproduce(cell.worst.case),
            },
            "axes": by_axis(cell),
            "failing": len(failing),
            "failures": [
                {"case": case.case, "verdict": str(case.verdict), "ratio": plain(case.ratio), "note": case.note}
                for case in failing[:LISTED]
            ],
            "cause": cell.cause
            and {
                "label": cell.cause.label,
                "summary": cell.cause.summary,
                "evidence": list(cell.cause.evidence),
                "case": cell.cause.case,
                "reproduce": self.reproduce(cell.cause.case),
            },
        }


def plain(ratio: float) -> float | str:
    """Return a ratio for strict JSON."""
    return ratio if math.isfinite(ratio) else "inf"


def by_axis(cell: Cell) -> dict[str, dict[str, float | str]]:
    """Return the highest ratio for each value of each axis that the cell has."""
    found: dict[str, dict[str, float]] = {axis: {} for axis in AXES}
    for result in cell.cases:
        case = parse_case(result.case)
        for axis, ratios in found.items():
            value = getattr(case, axis)
            ratios[value] = max(ratios.get(value, 0.0), result.ratio)
    return {axis: {value: plain(ratio) for value, ratio in ratios.items()} for axis, ratios in found.items()}


def find_causes(
    chunks: Iterable[ChunkResult], probes: Sequence[Probe], target: Target, executor: Executor
) -> dict[tuple[str, str], Cause]:
    """Diagnose what failed, each operation and dtype in a task of its own."""
    failing = [cell for cell in cells(chunks, {}) if cell.verdict.is_failure]
    futures = {
        (cell.op, cell.dtype): executor.submit(
            diagnose, Failure(tuple(case for case in cell.cases if case.verdict.is_failure)), probes, target
        )
        for cell in failing
    }
    causes = {}
    for place, future in futures.items():
        try:
            causes[place] = future.result()
        except Exception as error:  # a diagnosis runs the very kernels that fail: it may crash or hang as they do
            case = next(cell for cell in failing if (cell.op, cell.dtype) == place).worst.case
            causes[place] = Cause("crash", f"the diagnosis ended with {type(error).__name__}", (str(error),), case)
    return causes


def ask_probes(dtypes: tuple[str, ...], target: Target, executor: Executor) -> tuple[Probe, ...]:
    """Run the probes in a worker; one that does not live to tell has failed."""
    try:
        return tuple(executor.submit(run_probes, target, dtypes).result())
    except Exception as error:  # a probe runs the device's kernels: it may raise, crash or hang as they do
        return (Probe("worker", f"ended with {type(error).__name__}", "float32", 0, 1, "workers that answered"),)
