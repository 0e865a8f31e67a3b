"""All chunks, in worker processes: a crash or a hang is a verdict of the cases that caused it, never the end.

Workers are forked from a server that has imported torch and touched no device (multiprocessing's forkserver), each
with one thread. Anything that is a ``concurrent.futures.Executor`` can stand in for the local pool.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, as_completed
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pebble import ProcessExpired, ProcessPool

from lab.device import device_row
from lab.errors import LabError
from lab.prove.case import Chunk
from lab.prove.journal import Journal
from lab.prove.result import CaseResult, ChunkResult
from lab.prove.rule import Verdict
from lab.prove.verify import Target, verify_chunk

if TYPE_CHECKING:
    import torch

LIMIT_S = 120.0  # for a chunk: the slowest takes 2 s, compiled ones a minute
OnChunk = Callable[[ChunkResult], None]


class Workers(Executor):
    """Worker processes on this machine: a task that kills its worker, or outlasts the limit, fails alone."""

    def __init__(self, target: Target, count: int, *, limit_s: float = LIMIT_S) -> None:
        # A server that runs already would not see the environment of this backend.
        context = multiprocessing.get_context("spawn" if target.backend.environment else "forkserver")
        if not target.backend.environment:
            context.set_forkserver_preload(["lab.prove.verify", "lab.prove.diagnose"])
        self._limit_s, self.count = limit_s, count
        self._pool = ProcessPool(count, initializer=start_worker, initargs=(target,), context=context)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Give a task to a free worker. Its future raises ProcessExpired or TimeoutError where it ended badly."""
        future: Future[Any] = self._pool.schedule(fn, args, kwargs, timeout=self._limit_s)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the workers: at once where what they do is not wanted any more."""
        self._pool.stop() if cancel_futures else self._pool.close()
        self._pool.join()


def start_worker(target: Target) -> None:
    """Prepare a worker: as many threads as its backend has, and full precision where that is asked for."""
    import torch

    torch.set_num_threads(target.backend.threads)
    if target.ieee:
        device_row(target.torch_device).ieee()


@contextmanager
def local_workers(target: Target, count: int | None = None, *, limit_s: float = LIMIT_S) -> Iterator[Workers]:
    """Hand out workers, one a core for a CPU and one for another device; none is left afterwards."""
    cores = os.cpu_count() or 1 if target.torch_device.type == "cpu" else 1
    with _environment(target.backend.environment):  # inherited by the workers
        workers = Workers(target, count or max(1, cores // target.backend.threads), limit_s=limit_s)
        try:
            yield workers
        except BaseException:
            workers.shutdown(cancel_futures=True)
            raise
        workers.shutdown()


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for a while."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def sweep(
    chunks: Sequence[Chunk], target: Target, executor: Executor, journal: Journal, *, on_chunk: OnChunk
) -> list[ChunkResult]:
    """Verify the chunks that the journal does not have yet; return the results of all, in their order."""
    missing = [chunk for chunk in chunks if chunk.id not in journal.finished]
    running = {executor.submit(verify_or_leave, chunk, target): chunk for chunk in missing}
    for future in as_completed(running):
        chunk = running.pop(future)
        result = _result(future, chunk) or _one_by_one(chunk, target, executor)
        journal.add(result)
        on_chunk(result)
    return [journal.finished[chunk.id] for chunk in chunks]


def verify_or_leave(chunk: Chunk, target: Target) -> ChunkResult:
    """Verify a chunk in a worker, and end the worker where a kernel took the device with it.

    After a fault such as CUDA's illegal address every later call of the process fails; a fresh one starts clean.
    """
    result = verify_chunk(chunk, target)
    if any(case.verdict is Verdict.CRASH for case in result.cases) and is_lost(target.torch_device):
        os.kill(os.getpid(), signal.SIGKILL)
    return result


def is_lost(device: torch.device) -> bool:
    """Say whether a device does not answer the plainest question any more."""
    import torch

    try:
        return float(torch.ones((), device=device)) != 1.0
    except RuntimeError:
        return True


def _result(future: Future[ChunkResult], chunk: Chunk) -> ChunkResult | None:
    """Return what a worker found, None where it did not live to tell and there is more than one case to suspect."""
    try:
        return future.result()
    except (ProcessExpired, TimeoutError) as end:
        if len(chunk.cases) > 1:
            return None
        how = f"its process ended with exit code {end.exitcode}" if isinstance(end, ProcessExpired) else "it hung"
    except LabError:  # such as a golden file that cannot be read: no fault of the device, and it says what to type
        raise
    except Exception as error:  # a mistake of ours ends its chunk, not the sweep
        how = f"could not be judged: {type(error).__name__}: {error}"[:200]
    cases = (CaseResult(case.id, Verdict.CRASH, math.inf, note=how) for case in chunk.cases)
    return ChunkResult(chunk.op, chunk.sample, chunk.dtype, 0, tuple(cases))


def _one_by_one(chunk: Chunk, target: Target, executor: Executor) -> ChunkResult:
    """Verify the cases of a chunk that ended its worker in a task each."""
    alone = [replace(chunk, cases=(case,)) for case in chunk.cases]
    futures = [executor.submit(verify_or_leave, one, target) for one in alone]
    results = [_result(future, one) for future, one in zip(futures, alone, strict=True)]
    cases = [case for result in results if result for case in result.cases]
    if not any(case.verdict is Verdict.CRASH for case in cases):
        together = "ended its worker together with the others, not alone"
        cases[-1] = replace(cases[-1], verdict=Verdict.CRASH, ratio=math.inf, note=together)
    comparisons = sum(result.comparisons for result in results if result)
    return ChunkResult(chunk.op, chunk.sample, chunk.dtype, comparisons, tuple(cases))
