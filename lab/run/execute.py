"""One notebook run: executed in a kernel of its own, published whole whatever became of it."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.errors import UsageError
from lab.parameters import Value
from lab.run.findings import read_findings
from lab.run.parent import kernel_environment, warm_address
from lab.run.plan import Plan, plan_run
from lab.run.result import RunResult, run_record
from lab.run.status import COMPLETED, FAILED, INTERRUPTED, KERNEL_DIED, TIMEOUT, status_of_error
from lab.run.stop import Stop
from lab.store import Publication, publishing, storage_errors, write_json

if TYPE_CHECKING:
    from lab.run.execution import Execution

OnCell = Callable[[int, int], None]


def run_notebook(path: Path, given: Mapping[str, object], *, outputs: Path, **options: Any) -> RunResult:
    """Run a notebook with parameters; see plan_run and execute_plan, whose composition it is."""
    return execute_plan(plan_run(path, given), outputs=outputs, **options)


def execute_plan(
    plan: Plan,
    *,
    outputs: Path,
    limit: float | None = None,
    cell_limit: float | None = None,
    on_cell: OnCell | None = None,
    stop: Stop | None = None,
) -> RunResult:
    """Execute a plan and publish what came of it under outputs/NAME/KEY. Fit for any concurrent.futures.Executor.

    limit, cell_limit: seconds for the whole run and for each cell, None for none. on_cell: called in another thread
    with the index and the number of cells as each starts. stop: what may stop it. A cell that raises, a kernel that
    dies, a limit that is reached and a stop are published and returned: see RunResult.failure. So is an interrupt,
    which is then raised again with a note that names the folder.

    The kernel's working directory is the folder ``files`` of the result: what a notebook writes there is kept
    with it, and nothing is strewn about.

    Raises: StorageError, before a kernel starts where it can be known; then nothing is published. UsageError for
    a limit that is none.
    """
    check_seconds(limit)
    check_seconds(cell_limit)
    with publishing(outputs, plan.notebook.name, plan.key) as publication, _scratch() as scratch:
        files = publication.folder / "files"
        with storage_errors(files):
            files.mkdir()
        started, clock = datetime.now(UTC).isoformat(timespec="milliseconds"), time.perf_counter()
        with ThreadPoolExecutor(1, "imports") as pool:  # an interrupt amidst an import might be lost there
            execution = pool.submit(_prepare, plan, files, Path(scratch), cell_limit, on_cell).result()
        interrupt = _execute(plan, execution, limit, stop or Stop())
        timing = {"started": started, "seconds": round(time.perf_counter() - clock, 3), "limit": limit}
        record = _write(publication, plan, execution, timing=timing)
    assert publication.path is not None
    if interrupt is not None:
        interrupt.add_note(f"The run as far as it came: {publication.path}")
        raise interrupt
    return RunResult(publication.path, record)


def publish_lost(plan: Plan, outputs: Path, why: str) -> RunResult:
    """Publish a run of which nothing came back, with the status of one whose kernel died. Raises: StorageError."""
    with publishing(outputs, plan.notebook.name, plan.key) as publication, _scratch() as scratch:
        timing = {"started": datetime.now(UTC).isoformat(timespec="milliseconds"), "seconds": 0.0, "limit": None}
        execution = _expecting(plan, publication.folder / "files", Path(scratch))
        execution.died = why
        record = _write(publication, plan, execution, timing=timing)
    assert publication.path is not None
    return RunResult(publication.path, record)


def check_seconds(limit: float | None) -> float | None:
    """Return a limit that is one, or None. Raises: UsageError."""
    if limit is not None and not 0 < limit <= threading.TIMEOUT_MAX:
        raise UsageError(
            f"The limit is {limit} s.",
            "Expected seconds above 0, and fewer than in 200 years.",
            "Leave it out for no limit.",
        )
    return limit


def _scratch() -> tempfile.TemporaryDirectory[str]:
    with storage_errors(Path(tempfile.gettempdir())):
        # A kernel that is being killed may still write there.
        return tempfile.TemporaryDirectory(prefix="lab-", ignore_cleanup_errors=True)


def _prepare(plan: Plan, folder: Path, scratch: Path, cell_limit: float | None, on_cell: OnCell | None) -> Execution:
    variables = kernel_environment(plan.threads)
    with suppress(OSError):  # without, kernels are spawned
        warm_address(variables)  # so that it imports torch while this process imports papermill
    return _expecting(plan, folder, scratch, variables, cell_limit, on_cell)


def _expecting(plan: Plan, folder: Path, scratch: Path, *options: Any) -> Execution:
    """Return an execution, none of whose cells has run."""
    from lab.run.lean import import_engine, nbformat  # not for a misspelt parameter: they take long to import

    import_engine()
    from lab.run.execution import Execution

    execution = Execution(folder, scratch, plan.device, *options)
    execution.expect(nbformat.v4.upgrade(nbformat.from_dict(plan.notebook.data)))
    return execution


def _execute(plan: Plan, execution: Execution, limit: float | None, stop: Stop) -> BaseException | None:
    """Execute the cells in a thread, so that a signal lands in this one and never amidst the kernel's start or end.

    Returns the interrupt to raise again.
    """
    with storage_errors(execution.scratch), ThreadPoolExecutor(1, "notebook") as pool, stop.watching(execution):
        try:
            performing = pool.submit(_perform, plan.parameters, execution)
            if not wait([performing], timeout=limit).done:
                execution.stop(TIMEOUT)
            performing.result()
        except Exception:
            if execution.stopped is None:  # a mistake of ours, and none that a stop has led to
                execution.stop(FAILED)
                raise
        except BaseException as interrupt:  # KeyboardInterrupt, or what the command line makes of SIGTERM
            execution.stop(INTERRUPTED)
            return interrupt
    return None


def status_of(execution: Execution) -> str:
    """Return the status. What was stopped after its last cell, while the kernel was ending, is not called stopped."""
    if execution.stopped and not execution.finished:
        return execution.stopped
    if execution.raised:
        return status_of_error(execution.raised.ename, execution.raised.evalue)
    # One that ended after its last cell, as exit() has it do, has done all it was asked.
    return KERNEL_DIED if execution.died and not execution.stopped and not execution.finished else COMPLETED


def _perform(parameters: dict[str, Value], execution: Execution) -> None:
    """Let papermill execute the notebook. What a cell raises is in the execution."""
    import papermill
    from jupyter_core.utils import ensure_event_loop
    from papermill.exceptions import PapermillExecutionError
    from papermill.execute import remove_error_markers

    from lab.run.engine import ENGINE
    from lab.run.kernel import KERNEL

    # jupyter_core leaves a thread's event loop open, its unfinished tasks in it; a runner closes both.
    with asyncio.Runner(loop_factory=ensure_event_loop):
        try:
            papermill.execute_notebook(
                execution.notebook,
                None,  # papermill writes no file: plain writes, and metadata that is not true yet
                parameters=parameters,
                engine_name=ENGINE,
                kernel_name=KERNEL,
                language="python",
                progress_bar=False,
                autosave_cell_every=0,
                execution=execution,
            )
        except PapermillExecutionError:
            # papermill takes an error that a cell's tag 'raises-exception' allows for a failure too.
            if execution.raised is None and execution.died is None:
                remove_error_markers(execution.notebook)


def _write(publication: Publication, plan: Plan, execution: Execution, *, timing: dict[str, Any]) -> dict[str, Any]:
    """Write the executed notebook, the pictures and run.json. Returns what run.json holds. Raises: StorageError."""
    from lab.run.canonical import canonical_digest

    findings, status = read_findings(execution.cells), status_of(execution)
    for name, svg in findings.pictures.items():
        publication.write(name, svg)
    publication.write(plan.notebook.path.name, _notebook_text(execution.notebook, plan.notebook.path))
    files, log = publication.folder / "files", execution.scratch / "kernel.log"
    with suppress(OSError):  # there are files in it, or a cell took the right to look from us
        files.rmdir()
    if status == KERNEL_DIED and log.is_file() and log.stat().st_size:
        with storage_errors(publication.folder):
            shutil.copyfile(log, publication.folder / "kernel.log")
    canonical = canonical_digest(execution.notebook)
    record = run_record(plan, execution, findings, status=status, timing=timing, canonical=canonical)
    publication.write("run.json", write_json(record))
    return record


def _notebook_text(notebook: Any, source: Path) -> str:
    """Return the executed notebook in papermill's format."""
    from lab.run.lean import nbformat

    # papermill was handed the notebook itself and put that where its path belongs.
    notebook.metadata.setdefault("papermill", {}).update(input_path=str(source), output_path=source.name)
    return str(nbformat.writes(notebook)) + "\n"
