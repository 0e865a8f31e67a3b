"""``lab run``: notebooks over grids of parameters."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lab.console import DeviceOption, DtypeOption, Json, Outputs, SeedOption, print_json

if TYPE_CHECKING:
    from lab.errors import LabError
    from lab.run import Grid, Notebook, Outcome, Plan, Wish, Workers
    from lab.run_progress import Show

LIMIT = 1_000  # runs that need no --yes
_CHECKED = 1_000_000  # runs whose device is looked at before the first begins
_HEARD = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
Chosen = Sequence[tuple["Notebook", "Grid"]]
Given = Annotated[
    list[str] | None,
    typer.Option("--parameter", "-p", metavar="NAME=VALUES", help="x=3, x=1,2,5, x=-2:2:0.5; several multiply."),
]


def run(
    notebooks: Annotated[list[Path], typer.Argument(help="The notebooks to run.")],
    parameter: Given = None,
    grid: Annotated[list[Path] | None, typer.Option("--grid", help="CSV or JSON lines: each row is a point.")] = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    seed: SeedOption = None,
    outputs: Outputs = Path("outputs"),
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Runs at once; one more than processors.")
    ] = None,
    dask: Annotated[
        str | None, typer.Option("--dask", metavar="ADDRESS", help="Run on a Dask scheduler's workers; or local.")
    ] = None,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Of the numeric libraries in a run.")] = 1,
    timeout: Annotated[float | None, typer.Option("--timeout", min=0, help="Seconds for each run.")] = None,
    cell_timeout: Annotated[float | None, typer.Option("--cell-timeout", min=0, help="Seconds for each cell.")] = None,
    fail_fast: Annotated[bool, typer.Option("--fail-fast/--keep-going", help="Begin nothing after a failure.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Run what is finished once more.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help=f"Run also more than {LIMIT:,}.")] = False,
    html: Annotated[bool, typer.Option("--html", help="Write each executed notebook as a page, too.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would run, and run nothing.")] = False,
    json: Json = False,
) -> None:
    """Run notebooks over grids of parameters through papermill; what is finished is skipped.

    What came of each run is published under outputs/ with its run.json. Ctrl-C finishes the runs that are under way,
    a second one ends them.
    """
    from lab.run import How, Sweep, check_count, check_seconds, read_grid, read_notebook
    from lab.run_progress import Show
    from lab.store import check_writable

    if html:
        from lab.report.notebook_page import write_page

    short = {"device": device, "dtype": dtype, "seed": seed}
    words = [*(parameter or ()), *(f"{name}={value}" for name, value in short.items() if value is not None)]
    # All of them are read and validated before the first kernel starts.
    read = [read_notebook(path) for path in notebooks]
    chosen = [(each, read_grid(each.parameters, words, grid or [], where=str(each.path))) for each in read]
    count = sum(points.count for _, points in chosen)
    check_count(count, limit=LIMIT, yes=yes or dry_run)
    check_seconds(timeout)
    check_seconds(cell_timeout)
    if not dry_run:
        check_writable(outputs)
    show = Show(count, (name for _, points in chosen for name in points.varied), machine=json)
    plans = _plans(chosen, threads)
    if dry_run:
        show.plan(plans, outputs, force=force)
        if json:
            print_json({"count": count})
        return
    failures, records = Failures(), dict[int, Any]()
    try:
        with (
            _workers(dask, workers, outputs, show, limit=timeout, cell_limit=cell_timeout) as doing,
            show.live(),
            _listening(show) as wish,
        ):
            sweep = Sweep(doing, outputs, force=force, fail_fast=fail_fast, wish=wish)
            for outcome in sweep.run(plans):
                if html and outcome.how is How.RAN:
                    write_page(outcome.result.path, outcome.result.record)
                show.ended(outcome)
                failures.add(outcome)
                if json:
                    records[outcome.number] = outcome.result.record
    finally:
        show.summarise()
        if json:
            print_json({"runs": [records[number] for number in sorted(records)]})
    failures.raise_first()


def _workers(
    dask: str | None, count: int | None, outputs: Path, show: Show, **limits: float | None
) -> AbstractContextManager[Workers]:
    if dask is None:
        from lab.run import local_workers

        return local_workers(count, outputs, **limits, on_cell=show.cell)
    from lab.run.dask_workers import dask_workers

    return dask_workers(dask, count, outputs, **limits, say=show.say)


def _plans(chosen: Chosen, threads: int) -> Iterator[Plan]:
    """Yield the plans, once every device and dtype among them is known to be here."""
    from lab.run import check_notebook, plan_grid
    from lab.run.devices import settle_in_fork
    from lab.run.parent import kernel_environment, own_parent

    chosen = [(check_notebook(notebook), points) for notebook, points in chosen]  # all, before the first one runs
    settle = settle_in_fork(lambda: own_parent(kernel_environment(threads)))
    for notebook, points in chosen:
        if "device" in notebook.parameters:
            defaults = {name: parameter.default for name, parameter in notebook.parameters.items()}
            for point in islice(points, _CHECKED if {"device", "dtype"} & {*points.varied} else 1):
                settle({**defaults, **point})
    for notebook, points in chosen:
        yield from plan_grid(notebook, points, threads=threads, settle=settle)


@contextmanager
def _listening(show: Show) -> Iterator[Wish]:
    """Let Ctrl-C finish what runs, a second one and a terminate end it; then let each do what it always does."""
    from lab.run import Wish

    wish, received = Wish(), list[int]()

    def hear(number: int, frame: Any) -> None:
        received.append(number)
        wish.stop = wish.finish or number != signal.SIGINT or show.count == 1 or not wish.begun
        wish.finish = True
        if not wish.begun:
            before[number](number, frame)  # which raises
        if not wish.stop:  # written past Python's buffers, which may be at work
            os.write(2, b"finishing the runs that are under way; Ctrl-C again ends them\n")

    before: dict[int, Any] = {number: signal.getsignal(number) for number in _HEARD}
    for number in [number for number, handler in before.items() if callable(handler)]:  # what is ignored stays so
        signal.signal(number, hear)
    try:
        yield wish
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if received:
        signal.raise_signal(received[-1])


class Failures:
    """How many runs failed, and how the first of them did: all that a sweep of any length need remember."""

    def __init__(self) -> None:
        self.count, self.number = 0, -1
        self.first: LabError | None = None

    def add(self, outcome: Outcome) -> None:
        """Take note of a run."""
        if failure := outcome.result.failure:
            self.count += 1
            if self.first is None or outcome.number < self.number:
                self.number, self.first = outcome.number, failure

    def raise_first(self) -> None:
        """Raise the failure of the first run that failed, and say how many there are."""
        if self.first is not None:
            if self.count > 1:
                self.first.add_note(f"{self.count - 1:,} more did not complete: 'lab runs list' names them.")
            raise self.first
