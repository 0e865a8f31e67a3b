"""Sweeps in real worker processes: what dies or hangs costs one case, what is finished is not run again."""

from __future__ import annotations

import ctypes
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from pebble import ProcessExpired

from lab.errors import StorageError
from lab.prove.backend import Backend
from lab.prove.backends import BACKENDS
from lab.prove.case import Chunk, Selection
from lab.prove.faults import FAULTS, Faulty
from lab.prove.golden import load_golden
from lab.prove.journal import Journal
from lab.prove.result import ChunkResult
from lab.prove.rule import Verdict
from lab.prove.sweep import Workers, is_lost, local_workers, sweep, verify_or_leave
from lab.prove.verify import Target, verify_chunk

Task = Callable[[Chunk, Target], ChunkResult]
CHUNKS = Selection(("mul", "exp"), ("float32",), (("size", ("small",)), ("cotangent", ("dense",)))).chunks()
(MUL,) = (chunk for chunk in CHUNKS if chunk.op == "mul")
BAD = MUL.cases[2].id


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no CPU capability asked for, before and after a test."""
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "")
    monkeypatch.delenv("ATEN_CPU_CAPABILITY")


class InWorkers(Executor):
    """Worker processes that run a task of the test in place of verify_chunk."""

    def __init__(self, workers: Workers, task: Task) -> None:
        self._workers, self._task = workers, task

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return self._workers.submit(self._task, *args, **kwargs)


class Here(Executor):
    """An executor that runs a task at once, in this process, and keeps the ids of the chunks that it was given."""

    def __init__(self, task: Task = verify_chunk) -> None:
        self._task = task
        self.given: list[str] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.given.append(args[0].id)
        try:
            future.set_result(self._task(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def ending(how: str, bad: str, chunk: Chunk, target: Target) -> ChunkResult:
    """Verify a chunk in a worker that does not survive one of its cases."""
    if bad in [case.id for case in chunk.cases]:
        match how:
            case "exit":
                os._exit(7)
            case "segfault":
                ctypes.string_at(0)
            case "hang":
                time.sleep(600)
    return verify_chunk(chunk, target)


def expired(chunk: Chunk, target: Target, *, alone: bool = True) -> ChunkResult:
    """The same as a pool tells it."""
    if BAD in [case.id for case in chunk.cases] and (alone or len(chunk.cases) > 1):
        raise ProcessExpired("gone", code=-9)
    return verify_chunk(chunk, target)


def threads_and_capability() -> tuple[int, str]:
    return torch.get_num_threads(), torch.backends.cpu.get_cpu_capability()


def run(
    executor: Executor, folder: Path, chunks: Sequence[Chunk] = CHUNKS, target: Target | None = None
) -> list[ChunkResult]:
    return sweep(chunks, target or Target(), executor, Journal(folder / "journal"), on_chunk=lambda _: None)


def is_running(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def are_gone(pids: Sequence[int], *, within_s: float = 20.0) -> bool:
    end = time.monotonic() + within_s
    while any(map(is_running, pids)) and time.monotonic() < end:
        time.sleep(0.02)
    return not any(map(is_running, pids))


@pytest.mark.parametrize(
    ("how", "limit_s", "note"),
    [
        ("exit", 60, "its process ended with exit code 7"),
        ("segfault", 60, f"its process ended with exit code {-signal.SIGSEGV}"),
        ("hang", 4, "it hung"),
    ],
)
def test_a_worker_that_ends_badly_costs_its_case_alone(tmp_path: Path, how: str, limit_s: float, note: str) -> None:
    with local_workers(Target(), 2, limit_s=limit_s) as workers:
        results = run(InWorkers(workers, partial(ending, how, BAD)), tmp_path)
    found = {result.case: result for chunk in results for result in chunk.cases}
    assert list(found) == [case.id for chunk in CHUNKS for case in chunk.cases]
    crashed = found.pop(BAD)
    assert (crashed.verdict, crashed.ratio) == (Verdict.CRASH, math.inf)
    assert {result.verdict for result in found.values()} == {Verdict.PASS}
    assert crashed.note == note


def test_workers_verify_what_this_process_would(tmp_path: Path) -> None:
    target = Target(backend=FAULTS["wrong-1e-4"])
    with local_workers(target, 1) as workers:
        results = run(workers, tmp_path, target=target)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    assert results == [verify_chunk(chunk, target) for chunk in CHUNKS]
    torch.set_num_threads(before)
    assert {case.verdict for result in results if result.op == "mul" for case in result.cases} == {Verdict.FAIL}


def test_a_case_that_dies_is_told_from_those_beside_it(tmp_path: Path) -> None:
    executor = Here(expired)
    (result,) = run(executor, tmp_path, [MUL])
    verdicts = {case.case: case.verdict for case in result.cases}
    assert [case for case, verdict in verdicts.items() if verdict is Verdict.CRASH] == [BAD]
    assert list(verdicts) == [case.id for case in MUL.cases]
    assert executor.given == [MUL.id] * (1 + len(MUL.cases))
    pairs = zip(MUL.cases, result.cases, strict=True)
    assert result.comparisons == sum(2 if case.mask == "all" else 1 for case, found in pairs if found.case != BAD)


def test_cases_that_die_only_together_leave_a_crash_that_says_so(tmp_path: Path) -> None:
    (result,) = run(Here(partial(expired, alone=False)), tmp_path, [MUL])
    *others, last = result.cases
    assert {case.verdict for case in others} == {Verdict.PASS}
    assert last.verdict is Verdict.CRASH
    assert "together with the others" in last.note


def test_a_mistake_of_ours_ends_its_chunk_and_not_the_sweep(tmp_path: Path) -> None:
    def mistaken(chunk: Chunk, target: Target) -> ChunkResult:
        if chunk is MUL:
            raise ZeroDivisionError("division by zero")
        return verify_chunk(chunk, target)

    results = {result.op: result for result in run(Here(mistaken), tmp_path)}
    assert {(case.verdict, case.note) for case in results["mul"].cases} == {
        (Verdict.CRASH, "could not be judged: ZeroDivisionError: division by zero")
    }
    assert {case.verdict for case in results["exp"].cases} == {Verdict.PASS}


def test_a_golden_file_that_cannot_be_read_ends_the_sweep(tmp_path: Path) -> None:
    """It is no fault of the device, and its message says what to type."""

    def unreadable(chunk: Chunk, target: Target) -> ChunkResult:
        load_golden(tmp_path / "golden.npz")
        return verify_chunk(chunk, target)

    with pytest.raises(StorageError, match="make golden"):
        run(Here(unreadable), tmp_path)


def test_results_come_in_the_order_of_the_chunks_and_are_told_one_by_one(tmp_path: Path) -> None:
    told: list[ChunkResult] = []
    found = sweep(CHUNKS, Target(), Here(), Journal(tmp_path / "journal"), on_chunk=told.append)
    assert [result.id for result in found] == [chunk.id for chunk in CHUNKS]
    assert sorted(result.id for result in told) == sorted(chunk.id for chunk in CHUNKS)


def test_an_interrupted_sweep_goes_on_with_what_is_missing(tmp_path: Path) -> None:
    def interrupt(result: ChunkResult) -> None:
        raise KeyboardInterrupt

    first, second = Here(), Here()
    with pytest.raises(KeyboardInterrupt):
        sweep(CHUNKS, Target(), first, Journal(tmp_path / "journal"), on_chunk=interrupt)
    (finished,) = Journal(tmp_path / "journal").finished
    results = run(second, tmp_path)
    assert second.given == [chunk.id for chunk in CHUNKS if chunk.id != finished]
    assert results == [verify_chunk(chunk, Target()) for chunk in CHUNKS]
    third = Here()
    assert run(third, tmp_path) == results
    assert third.given == []


def raising(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    raise RuntimeError("an illegal memory access was encountered")


@pytest.mark.parametrize(("lost", "raises"), [(True, True), (False, True), (True, False)])
def test_a_worker_ends_where_a_kernel_took_the_device_with_it(
    monkeypatch: pytest.MonkeyPatch, lost: bool, raises: bool
) -> None:
    killed: list[tuple[int, int]] = []
    monkeypatch.setattr("lab.prove.sweep.is_lost", lambda device: lost)
    monkeypatch.setattr("os.kill", lambda *given: killed.append(given))
    backend = Backend("test", "", context=lambda: Faulty(["mul"] if raises else [], raising), simulated=True)
    result = verify_or_leave(MUL, Target(backend=backend))
    assert {case.verdict for case in result.cases} == {Verdict.CRASH if raises else Verdict.PASS}
    assert killed == ([(os.getpid(), signal.SIGKILL)] if lost and raises else [])


def test_a_cpu_that_answers_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_lost(torch.device("cpu"))
    monkeypatch.setattr(torch, "ones", lambda *_, **__: raising(None, (), {}))
    assert is_lost(torch.device("cpu"))


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, RuntimeError])
def test_no_worker_is_left_behind(error: type[BaseException] | None) -> None:
    pids: list[int] = []

    def work() -> None:
        with local_workers(Target(), 2) as workers:
            pids.append(workers.submit(os.getpid).result())
            if error:
                workers.submit(time.sleep, 600)
                workers.submit(time.sleep, 600)
                raise error

    if error:
        with pytest.raises(error):
            work()
    else:
        work()
    assert are_gone(pids)


INTERRUPTED = """
import os, time
from lab.prove.sweep import local_workers
from lab.prove.verify import Target
if __name__ == "__main__":
    with local_workers(Target(), 2) as workers:
        workers.submit(os.getpid).result()
        tasks = [workers.submit(time.sleep, 600) for _ in range(3)]
        print("ready", flush=True)
        tasks[0].result()
"""


def session(leader: int) -> list[int]:
    """Return the running processes of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, _, of = path.read_text().rpartition(")")[2].split()[:4]
            if int(of) == leader and state != "Z":
                found.append(int(path.parent.name))
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="processes are counted in /proc")
def test_an_interrupt_from_the_keyboard_leaves_no_process(tmp_path: Path) -> None:
    """As a terminal sends it: to every process of the group, the workers and their server among them."""
    script = tmp_path / "interrupted.py"
    script.write_text(INTERRUPTED)
    process = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    pids = session(process.pid)
    assert len(pids) >= 4  # this process, the server and two workers
    os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(timeout=60)
        assert are_gone(pids)
    finally:
        process.stdout.close()
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)


def test_a_worker_has_the_threads_of_its_backend() -> None:
    for name, threads in (("plain", 1), ("threads", 2)):
        with local_workers(Target(backend=BACKENDS[name]), 1) as workers:
            assert workers.submit(threads_and_capability).result()[0] == threads


def test_a_worker_has_the_environment_of_its_backend_whatever_ran_before() -> None:
    for name in ("plain", "capability", "plain"):
        with local_workers(Target(backend=BACKENDS[name]), 1) as workers:
            _, capability = workers.submit(threads_and_capability).result()
        assert (capability == "DEFAULT") is (name == "capability"), name


def test_the_environment_of_a_backend_does_not_outlive_its_workers() -> None:
    with local_workers(Target(backend=BACKENDS["capability"]), 1):
        pass
    assert "ATEN_CPU_CAPABILITY" not in os.environ


def test_a_device_other_than_the_cpu_has_one_worker() -> None:
    with local_workers(Target("cuda:0")) as workers:
        assert workers.count == 1
