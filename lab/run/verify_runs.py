"""A run proven by another: the notebook once more with the record's parameters, then everything but times compared."""

from __future__ import annotations

import difflib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.errors import UsageError
from lab.run.canonical import canonical_notebook
from lab.run.difference import compare_records, read_result
from lab.run.execute import execute_plan
from lab.run.executed import read_executed
from lab.run.notebook import read_notebook
from lab.run.plan import Plan, plan_run
from lab.run.status import COMPLETED, FAILED
from lab.store import storage_errors

_LINES = 12  # of a diff
_FIELDS = 3  # of run.json, in the line that says what differs


@dataclass(frozen=True)
class Verification:
    """What a second run came to. differing: what differs, in one line; nothing where it is the same. cell: the first
    that differs, counted from 0, or None. diff: of that cell, a few lines.
    """

    differing: str = ""
    cell: int | None = None
    diff: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        """Whether the run was reproduced."""
        return not self.differing


def plan_again(path: Path, *, notebook: Path | None = None) -> Plan:
    """Return the plan that would repeat a run. path: its folder. notebook: where its source lies now.

    Raises: UsageError where the notebook, the lock or the lab has changed since, or the run ended by a chance;
    StorageError where the run cannot be read; as plan_run.
    """
    record = read_result(path)
    if record["status"] not in (COMPLETED, FAILED):
        raise _refusal(f"{path} ended as {record['status']}", "a run that completed, or that a cell ended")
    source = notebook or _source(path, record)
    if read_notebook(source).digest != record["notebook"]["digest"]:  # before its parameters are found to be others
        raise _refusal(f"{source} has changed since {path} was run", "the notebook as it was; name it with --notebook")
    plan = plan_run(source, record["parameters"], threads=record["threads"])
    if plan.key != record["key"]:
        raise _refusal(f"{_changed(plan, record)} since {path} was run", "all that a result depends on as it was")
    return plan


def verify_run(path: Path, plan: Plan) -> Verification:
    """Execute a plan in a store of its own and compare what comes of it with a run. Raises: StorageError."""
    with storage_errors(Path(tempfile.gettempdir())):
        store = tempfile.TemporaryDirectory(prefix="lab-verify-", ignore_cleanup_errors=True)
    with store as outputs:
        limit = read_result(path)["timing"].get("limit")
        again = execute_plan(plan, outputs=Path(outputs), limit=limit)
        return compare_runs(path, again.path)


def compare_runs(path: Path, again: Path) -> Verification:
    """Compare all but the times of two runs of one plan."""
    records = [read_result(folder) for folder in (path, again)]
    texts = [canonical_notebook(read_executed(*pair)) for pair in zip((path, again), records, strict=True)]
    found = compare_records(*({**record, "notebook": record["notebook"]["digest"]} for record in records))
    names = [*found.inputs, *found.results, *(row["name"] for row in found.comparisons)]
    if texts[0] == texts[1] and not names:
        return Verification()
    cell, diff = _first_difference(*map(json.loads, texts))
    more = f" and {len(names) - _FIELDS} more" if len(names) > _FIELDS else ""
    return Verification(", ".join(names[:_FIELDS]) + more or "the notebook", cell, diff)


def _source(path: Path, record: Mapping[str, Any]) -> Path:
    about = read_executed(path, record).metadata.get("papermill", {})
    source = Path(str(about.get("input_path", "")))
    if not source.is_file():
        raise _refusal(f"{source}, which {path} was run from, is not here", "its notebook; name it with --notebook")
    return source


def _changed(plan: Plan, record: Mapping[str, Any]) -> str:
    """Say what of the key is not as it was. plan: for the same notebook, parameters and threads."""
    if plan.lock["digest"] != record["lock"].get("digest"):
        return f"The lock has changed ({record['lock'].get('source')} was {record['lock'].get('digest')})"
    if plan.code != record["code"]:
        return f"The lab's own code has changed (it was {record['code']})"
    if plan.parameters != record["parameters"]:
        return "The notebook's parameters have changed"
    return "What its key stands for has changed"


def _refusal(happened: str, expected: str) -> UsageError:
    return UsageError(
        f"{happened}.",
        f"Expected {expected}.",
        "Type 'lab run NOTEBOOK' for a run that can be verified.",
    )


def _first_difference(a: dict[str, Any], b: dict[str, Any]) -> tuple[int | None, tuple[str, ...]]:
    """Return the index of the first cell that differs, and how; None where only what is around the cells does.

    a, b: canonical notebooks of one source, whose cells match.
    """
    pairs: list[tuple[int | None, Any, Any]] = [
        (number, left, right) for number, (left, right) in enumerate(zip(a["cells"], b["cells"], strict=False))
    ]
    pairs.append((None, a["metadata"], b["metadata"]))
    for number, left, right in pairs:
        if left != right:
            before, after = _shown(left), _shown(right)
            lines = list(difflib.unified_diff(before, after, "run", "again", lineterm="", n=0))[2:]
            return number, tuple(lines[:_LINES])
    return None, ()


def _shown(cell: Any) -> list[str]:
    """Return a cell as lines to compare: what it printed as it was printed, the rest as JSON."""
    return json.dumps(cell, indent=0, sort_keys=True, ensure_ascii=False).splitlines()
