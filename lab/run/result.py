"""What a run came to: run.json, and the same as a value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.errors import ExecutionError, LabError, TimeLimit
from lab.finding import Findings
from lab.provenance import installed
from lab.run.findings import strict
from lab.run.plan import Plan
from lab.run.status import COMPLETED, DEVICE_LOST, FAILED, INTERRUPTED, KERNEL_DIED, OUT_OF_MEMORY, TIMEOUT
from lab.run.volatile import mask_volatile

if TYPE_CHECKING:
    from lab.run.execution import Execution

SCHEMA = 1
_MESSAGE = 2_000  # characters of an exception's message; the notebook has the rest


@dataclass(frozen=True)
class RunResult:
    """A published run. path: its folder. record: what its run.json holds."""

    path: Path
    record: dict[str, Any]

    @property
    def status(self) -> str:
        """One of those in lab.run.status."""
        return str(self.record["status"])

    @property
    def failure(self) -> LabError | None:
        """The error that the run ended with, to be raised or shown with its exit code; None where it completed."""
        if self.status == COMPLETED:
            return None
        kind = TimeLimit if self.status == TIMEOUT else ExecutionError
        error, notebook = self.record["error"], self.record["notebook"]
        where = "" if error["cell"] is None else f", cell {error['cell'] + 1} of {notebook['cells']}"
        what = (
            error["message"]
            if self.status in (KERNEL_DIED, TIMEOUT, INTERRUPTED)
            else f"{error['name']}: {error['message']}"
        )
        return kind(
            f"{notebook['name']}{where}: {what.rstrip('.')}.",
            "Expected every cell to end without an error.",
            f"See {self.path}: the notebook as far as it came, and run.json.",
        )


def run_record(
    plan: Plan, execution: Execution, findings: Findings, *, status: str, timing: dict[str, Any], canonical: str
) -> dict[str, Any]:
    """Return what run.json holds. All but its timing is the same for the same commit, lock, device and seed.

    Cells are the notebook's code cells, by their index there, counted from 0; timing lists their seconds.
    """
    index: dict[str | None, int] = {cell["id"]: i for i, cell in enumerate(plan.notebook.data["cells"])}
    running = None if execution.running is None else execution.cells[execution.running]["id"]
    ran = [
        (index[cell["id"]], record)
        for cell, record in zip(execution.cells, execution.records, strict=True)
        if cell.cell_type == "code" and cell["id"] in index  # the injected parameters are not the notebook's
    ]
    return {
        "schema": SCHEMA,
        "notebook": {
            "name": plan.notebook.path.name,
            "digest": plan.notebook.digest,
            "cells": len(plan.notebook.data["cells"]),
        },
        "key": plan.key,
        "status": status,
        "error": _error(execution, status, cell=index.get(running), limits=(timing["limit"], execution.cell_limit)),
        "cells": [{"index": i, "state": record.state, "output_cut": record.cut} for i, record in ran],
        "parameters": plan.parameters,
        "lock": plan.lock,
        "code": plan.code,
        "threads": plan.threads,
        "environment": {**installed(plan.device), **strict(execution.answer.get("environment", {}))},
        "comparisons": findings.comparisons,
        "claims": findings.claims,
        "pictures": sorted(findings.pictures),
        "canonical": canonical,
        "timing": {
            **timing,
            "cells": [round(record.seconds, 3) for _, record in ran],
            "memory": strict(execution.answer.get("memory", {})),
            "kernel": f"spawned: {execution.cold}" if execution.cold else "forked",
        },
    }


def _error(
    execution: Execution, status: str, *, cell: int | None, limits: tuple[float | None, float | None]
) -> dict[str, Any] | None:
    """limits: the seconds of the run and of each cell."""
    if status == COMPLETED:
        return None
    if execution.raised and status in (FAILED, OUT_OF_MEMORY, DEVICE_LOST):
        name, message = execution.raised.ename, execution.raised.evalue
    else:
        which = (
            f"the cell's limit of {limits[1]:g} s" if execution.overran else f"the run's limit of {limits[0] or 0:g} s"
        )
        name, message = {
            KERNEL_DIED: ("KernelDied", execution.died or ""),
            TIMEOUT: ("TimeLimit", f"stopped at {which}"),
            INTERRUPTED: ("Interrupted", "the run was stopped from outside"),
        }[status]
    return {"cell": cell, "name": name, "message": mask_volatile(message)[:_MESSAGE]}
