"""Many machines: runs done by the workers of a Dask scheduler, or of a cluster that lives as long as the sweep."""

from __future__ import annotations

import importlib.util
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Future
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.errors import ExecutionError, UsageError
from lab.parameters import shortened
from lab.run.elsewhere import publish
from lab.run.execute import publish_lost
from lab.run.plan import Plan
from lab.run.result import RunResult
from lab.run.workers import Workers, available_processors

if TYPE_CHECKING:
    from lab.run.dask_client import PlainClient

LOCAL = "local"
_ADDRESS = re.compile(r"(tcp|tls)://([\w.-]+|\[[0-9a-fA-F:.%\w]+\]):(?P<port>\d{1,5})")
_COUNT_S = 2.0  # between two counts of the workers, which may come and go
_AHEAD = 2  # runs for each thread of a worker: one that runs and one that it begins with next
_KILLED = "KilledWorker"  # what Dask calls a task that no worker survived
Say = Callable[[str], None]


@contextmanager
def dask_workers(
    address: str,
    count: int | None,
    outputs: Path,
    *,
    limit: float | None = None,
    cell_limit: float | None = None,
    say: Say = lambda text: None,
) -> Iterator[Workers]:
    """Hand out the workers of a Dask scheduler; what they still run when the block ends is stopped.

    address: the scheduler's, or ``local`` for a cluster on this machine, of count processes (one a processor). say:
    told where no worker is there yet.

    Raises: UsageError for an address that is none, or where Dask is not installed; ExecutionError where no scheduler
    answers.
    """
    _check(address, count)
    with _connected(address, count) as client:
        runs = _Runs(client, outputs, limit, cell_limit)
        if not runs.threads():
            say(f"no worker is at {address} yet: the runs wait for one, as 'dask worker {address}' starts it")
        try:
            yield Workers(runs.capacity, runs.start, runs.result, runs.stop)
        finally:
            runs.stop()


def _check(address: str, count: int | None) -> None:
    """Refuse what cannot be meant. Raises: UsageError."""
    match = _ADDRESS.fullmatch(address)
    if address != LOCAL and not (match and 0 < int(match["port"]) < 65536):
        raise UsageError(
            f"{shortened(address)} is no address of a Dask scheduler.",
            "Expected tcp://HOST:PORT, tls://HOST:PORT, or local for a cluster on this machine.",
            "Type for instance '--dask tcp://127.0.0.1:8786', as 'dask scheduler' prints it.",
        )
    if address != LOCAL and count:
        raise UsageError(
            f"--workers {count} was given for the scheduler at {address}, whose workers are its own.",
            "Expected --workers for runs on this machine.",
            "Leave it out, and start as many workers there as there shall be.",
        )
    if importlib.util.find_spec("distributed") is None:
        raise UsageError(
            "Dask is not installed.",
            "Expected the package distributed for --dask.",
            "Type \"pip install 'gradient-lab[dask]'\", or leave --dask out.",
        )


@contextmanager
def _connected(address: str, count: int | None) -> Iterator[PlainClient]:
    """Hand out a client. Raises: ExecutionError where no scheduler answers it."""
    from lab.run.dask_client import PlainClient, connect, no_pickles, prompt, quiet

    with ExitStack() as stack:
        stack.enter_context(quiet())
        try:
            if address == LOCAL:  # its scheduler runs in this process
                client = PlainClient(stack.enter_context(_local_cluster(count or available_processors())))
            else:
                stack.enter_context(no_pickles())
                stack.enter_context(prompt())
                client = connect(address)
        except Exception as error:  # refused, silent, no scheduler, a certificate that is not trusted
            raise _no_answer(address, error) from None
        stack.callback(_close, client)
        yield client


@contextmanager
def _local_cluster(count: int) -> Iterator[Any]:
    """Run a cluster of processes on this machine, which only this machine can reach."""
    from distributed import LocalCluster

    before = dict(os.environ)  # Dask's nannies set variables for their workers here
    with tempfile.TemporaryDirectory(prefix="lab-dask-", ignore_cleanup_errors=True) as folder:
        try:
            with LocalCluster(
                n_workers=count,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address=None,
                scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},  # of the HTTP server that is there all the same
                silence_logs=100,  # a level above all there are
                memory_limit=0,  # kernels are processes of their own
                local_directory=folder,
                preload=["lab.run.dask_task"],
            ) as cluster:
                yield cluster
        finally:
            for name in {*os.environ, *before}:
                if os.environ.get(name) != before.get(name):
                    os.environ.pop(name, None) if name not in before else os.environ.update({name: before[name]})


def _close(client: PlainClient) -> None:
    with suppress(Exception):  # the scheduler is lost, and so is what it would have been told
        client.close(timeout=5)


def _no_answer(address: str, error: Exception) -> ExecutionError:
    why = f"{type(error).__name__}: {error}".splitlines()[0][:200].rstrip(".")
    tls = " TLS takes its certificates from distributed.comm.tls in Dask's configuration." if "tls" in address else ""
    return ExecutionError(
        f"No Dask scheduler answers at {address}: {why}.",
        f"Expected one there, of a version that agrees with this one.{tls}",
        "Start it with 'dask scheduler', or type the address that it prints; '--dask local' needs none.",
    )


class _Erred(Exception):
    """A task raised, or Dask gave it up. name, message: of the error there, which is not made here."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(name, message)
        self.name, self.message = name, message


class _Runs:
    """The runs that a scheduler was given. Each is a task of Dask, behind a future that a sweep can wait for."""

    def __init__(self, client: PlainClient, outputs: Path, limit: float | None, cell_limit: float | None) -> None:
        self._client, self._outputs, self._limits = client, outputs, (limit, cell_limit)
        self._tasks: dict[Future[bytes], Any] = {}
        self._counted, self._threads = -_COUNT_S, 0

    def threads(self) -> int:
        """Return how many runs the workers can do at once, as of a moment ago."""
        if time.monotonic() - self._counted >= _COUNT_S and self._client.status == "running":
            with suppress(Exception):  # the scheduler is about to be lost; the runs will say so
                self._threads = sum(self._client.nthreads().values())
            self._counted = time.monotonic()
        return self._threads

    def capacity(self) -> int:
        """Return how many runs to hand out: few enough that an interrupt need not wait for many."""
        return _AHEAD * max(self.threads(), 1)

    def start(self, plan: Plan) -> Future[bytes]:
        """Hand a run to Dask, which repeats it where its worker is lost."""
        from lab.run.dask_task import perform_task

        future: Future[bytes] = Future()
        task = self._client.submit(perform_task, plan, *self._limits, pure=False, retries=2)
        self._tasks[future] = task
        loop = self._client.loop
        assert loop is not None  # it runs as long as the client
        loop.add_callback(partial(_deliver, task, future))
        return future

    def result(self, future: Future[bytes], plan: Plan) -> RunResult:
        """Publish what a run came to, once. Raises: LabError; BrokenExecutor where Dask is lost."""
        self._tasks.pop(future, None)
        try:
            answer = future.result()
        except _Erred as error:
            if error.name == _KILLED:
                return publish_lost(plan, self._outputs, "each worker that ran it was lost, so Dask gave it up")
            raise ExecutionError(
                f"A worker could not run {plan.notebook.path}: {error.name}: {error.message[:200].rstrip('.')}.",
                "Expected the same version of the lab and its packages on every worker.",
                "Set them up there as here, start the workers again, and type the same again.",
            ) from None
        except Exception as error:  # Dask has its own for each way to lose a scheduler
            raise BrokenExecutor(f"{type(error).__name__}: {error}") from error
        return publish(answer, plan, self._outputs)

    def stop(self) -> None:
        """Cancel what runs: its workers notice, and end the kernels."""
        tasks = [task for future, task in self._tasks.items() if future.cancel()]  # before Dask says that they are
        self._tasks.clear()
        with suppress(Exception):  # the scheduler is lost: its workers end by themselves
            self._client.cancel(tasks)


async def _deliver(task: Any, future: Future[bytes]) -> None:
    """Wait for a task, in the client's loop, and pass on what it returned; then let Dask forget it.

    Dask would do it again if a worker were lost that holds a result which it still remembers.
    """
    answer: bytes = b""
    failure: Exception | None = None
    try:
        error = await task.exception()
        if error is None:
            answer = await task
        else:
            from lab.run.dask_client import read_error

            failure = _Erred(*read_error(error))
    except Exception as error:
        failure = error
    task.release()
    if future.set_running_or_notify_cancel():  # else the sweep has forgotten it
        future.set_exception(failure) if failure is not None else future.set_result(answer)
