"""Where runs are done: on threads here, each with a kernel of its own, or by the workers of any executor."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lab.run.elsewhere import perform, publish
from lab.run.execute import execute_plan
from lab.run.plan import Plan
from lab.run.result import RunResult
from lab.run.stop import Stop

AHEAD = 64  # runs that are handed to an executor before it has finished one: enough for its workers never to wait
OnCell = Callable[[Plan, int, int], None]


@dataclass(frozen=True)
class Workers:
    """capacity: how many runs they are given at once, which may change. start: hands them one. result: of a future that
    is done, the published run; raises BrokenExecutor where they are lost. hold: called when nothing more is to begin.
    stop: ends what runs. reachable: whether that ends all of it soon, so that it is waited for.
    """

    capacity: Callable[[], int]
    start: Callable[[Plan], Future[Any]]
    result: Callable[[Future[Any], Plan], RunResult]
    stop: Callable[[], None]
    hold: Callable[[], None] = lambda: None
    reachable: bool = True


@contextmanager
def local_workers(
    count: int | None,
    outputs: Path,
    *,
    limit: float | None = None,
    cell_limit: float | None = None,
    on_cell: OnCell = lambda plan, cell, cells: None,
) -> Iterator[Workers]:
    """Hand out threads of this process; leave no kernel behind.

    count: one more than there are processors where none is given: a kernel waits now and then, for this process or the
    disk.
    """
    count, stop = count or available_processors() + 1, Stop()

    def run(plan: Plan) -> RunResult:
        shown = partial(on_cell, plan)
        return execute_plan(plan, outputs=outputs, limit=limit, cell_limit=cell_limit, on_cell=shown, stop=stop)

    with ThreadPoolExecutor(count, "worker") as pool:
        try:
            yield Workers(
                lambda: count, lambda plan: pool.submit(run, plan), lambda future, plan: future.result(), stop.now
            )
        except BaseException:
            stop.now()
            raise


def executor_workers(
    executor: Executor,
    outputs: Path,
    *,
    limit: float | None = None,
    cell_limit: float | None = None,
    ahead: int = AHEAD,
) -> Workers:
    """Let the workers of an executor do it. They return the files of a run, which are published here, once.

    ahead: runs that are handed to it before it has finished one. What has begun there cannot be stopped from here.
    """
    given: set[Future[bytes]] = set()

    def start(plan: Plan) -> Future[bytes]:
        future = executor.submit(perform, plan, limit, cell_limit)
        given.add(future)
        future.add_done_callback(given.discard)
        return future

    def cancel() -> None:
        for future in list(given):
            future.cancel()

    def result(future: Future[bytes], plan: Plan) -> RunResult:
        return publish(future.result(), plan, outputs)

    return Workers(lambda: ahead, start, result, stop=cancel, hold=cancel, reachable=False)


def available_processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
