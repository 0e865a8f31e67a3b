"""A run as a task of Dask, in one of its workers."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lab.run.elsewhere import perform
from lab.run.plan import Plan
from lab.run.stop import Stop

_LOOK_S = 0.25  # between two looks at whether a run is still wanted
_WANTED = ("executing", "long-running", "resumed")  # resumed: it was cancelled, then wanted again
_LEAVING = ("closing", "closed", "failed", "stopped")
# What Dask sets for its workers. Kernels have their plan's, so that results do not depend on where they are made.
_COUNTED = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PYTHONHASHSEED")


def perform_task(plan: Plan, limit: float | None, cell_limit: float | None) -> bytes:
    """Do as lab.run.elsewhere.perform does, and stop once nobody wants the result or the worker leaves."""
    from distributed import get_worker

    worker, stop = get_worker(), Stop()
    key = worker.get_current_task()
    for name in _COUNTED:
        os.environ.pop(name, None)
    with _watched(lambda: _is_wanted(worker, key), stop):
        return perform(plan, limit, cell_limit, stop)


def _is_wanted(worker: Any, key: Any) -> bool:
    task = worker.state.tasks.get(key)
    return worker.status.name not in _LEAVING and task is not None and task.state in _WANTED


@contextmanager
def _watched(wanted: Callable[[], bool], stop: Stop) -> Iterator[None]:
    """Stop what the block runs as soon as it is no longer wanted."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_LOOK_S):
            if not wanted():
                stop.now()
                return

    watcher = threading.Thread(target=watch, name="watcher", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def dask_setup(worker: Any) -> None:
    """Be called by Dask in each worker of a local cluster: Ctrl-C in the terminal is for the one that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
