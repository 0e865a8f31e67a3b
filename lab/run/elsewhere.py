"""A run in a worker of any executor, on this machine or another: what it is sent, and what it returns."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from lab.errors import DeviceUnavailable, ExecutionError, LabError, StorageError, UsageError
from lab.parameters import settle_device
from lab.provenance import code, lock
from lab.run.bundle import pack, unpack
from lab.run.execute import execute_plan
from lab.run.plan import Plan
from lab.run.result import RunResult
from lab.run.stop import Stop
from lab.store import publishing

_DONE, _REFUSED = b"R", b"E"
_KINDS = {kind.__name__: kind for kind in (DeviceUnavailable, ExecutionError, StorageError, UsageError)}


def perform(plan: Plan, limit: float | None, cell_limit: float | None, stop: Stop | None = None) -> bytes:
    """Run a plan in a worker and return what came of it, or the error of the lab that kept it from running.

    Bytes alone are returned, and no LabError is raised: whoever reads them need not unpickle anything.
    """
    try:
        _check_alike(plan)
        settle_device(dict(plan.parameters))
        with tempfile.TemporaryDirectory(prefix="lab-") as outputs:
            result = execute_plan(plan, outputs=Path(outputs), limit=limit, cell_limit=cell_limit, stop=stop)
            return _DONE + pack(result.path)
    except LabError as error:
        kind = next((name for name, kind in _KINDS.items() if isinstance(error, kind)), "ExecutionError")
        return _REFUSED + json.dumps([kind, *map(str, error.args)]).encode()


def _check_alike(plan: Plan) -> None:
    """Refuse to run another version's plan: its result would be filed under a key that it does not have."""
    ours, theirs = (code(), lock()["digest"]), (plan.code, plan.lock["digest"])
    if ours != theirs:
        what = "its sources of the lab" if ours[0] != theirs[0] else "its installed packages"
        raise UsageError(
            f"A worker is not like this machine: {what} differ.",
            "Expected the same commit of the lab and the same lock everywhere.",
            "Check out the same commit there, run 'make setup', and start the worker again.",
        )


def publish(answer: bytes, plan: Plan, outputs: Path) -> RunResult:
    """Publish what a worker returned, once. Raises: LabError, as the worker met it; StorageError."""
    if answer[:1] != _DONE:
        kind, *sentences = json.loads(answer[1:])
        raise _KINDS[kind](*sentences)
    with publishing(outputs, plan.notebook.name, plan.key) as publication:
        record = unpack(answer[1:], publication.folder, key=plan.key)
    assert publication.path is not None
    return RunResult(publication.path, record)
