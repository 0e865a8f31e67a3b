"""Runs by the workers of an executor: Dask's, over TCP between real processes, and those of a process pool."""

from __future__ import annotations

import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from fixtures import traps
from fixtures.dask_cluster import ROOT, DaskCluster, wait_for
from fixtures.notebooks import PARAMETERS, write_notebook

from lab.errors import ExecutionError, UsageError
from lab.run import How, Outcome, Plan, Sweep, Workers, execute_plan, executor_workers, plan_run
from lab.run.dask_workers import dask_workers

pytest.importorskip("distributed", reason="distributed is not installed")

from distributed import Client  # it is an extra
from distributed.protocol import ToPickle, deserialize, dumps, loads, serialize, to_serialize
from distributed.protocol import pickle as dask_pickle

from lab.run.dask_client import PlainClient, no_pickles, quiet, read_error

pytestmark = pytest.mark.timeout(60)

# Says where it runs, and then waits for as long as a file is there.
MARK = """\
import os, time
from pathlib import Path
with open({marks!r}, "a") as marks:
    print(x, os.getpid(), file=marks)
while x in {slow!r} and Path({gate!r}).exists():
    time.sleep(0.05)
print(f"{{x=}}", hash("text"), os.environ["OMP_NUM_THREADS"])
_ = Path("written.txt").write_text(str(x))"""


class Bench:
    """A folder with a notebook, in which each run leaves a mark and the slow ones wait until the gate is opened."""

    def __init__(self, folder: Path, *slow: float) -> None:
        self.folder, self.outputs, self.gate = folder, folder / "outputs", folder / "gate"
        self._marks = folder / "marks"
        cell = MARK.format(marks=str(self._marks), slow=slow, gate=str(self.gate))
        self.notebook = write_notebook(folder / "nb.ipynb", cell, parameters=PARAMETERS)
        self.gate.touch()

    def plans(self, *values: float, threads: int = 1) -> list[Plan]:
        return [plan_run(self.notebook, {"x": value}, threads=threads) for value in values]

    def marks(self) -> list[tuple[float, int]]:
        lines = self._marks.read_text("utf-8").splitlines() if self._marks.exists() else []
        return [(float(x), int(pid)) for x, pid in map(str.split, lines)]

    def kernels(self, value: float) -> list[int]:
        return [pid for x, pid in self.marks() if x == value]

    def command(self, *words: str, values: str = "1", **variables: str) -> subprocess.Popen[str]:
        words = ("run", str(self.notebook), "-p", f"x={values}", "--outputs", str(self.outputs), *words)
        return subprocess.Popen(
            [sys.executable, "-m", "lab", *words],
            env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    with DaskCluster(tmp_path_factory.mktemp("dask")) as cluster:
        cluster.add_worker()
        cluster.add_worker()
        yield cluster


def sweep(workers: Workers, outputs: Path, plans: list[Plan]) -> list[Outcome]:
    return sorted(Sweep(workers, outputs).run(plans), key=lambda outcome: outcome.number)


def run(cluster: DaskCluster, outputs: Path, plans: list[Plan]) -> list[Outcome]:
    with dask_workers(cluster.address, None, outputs) as workers:
        return sweep(workers, outputs, plans)


def runs(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def printed(folder: Path) -> str:
    notebook = nbformat.read(next(folder.glob("*.ipynb")), as_version=4)
    return "".join(output.text for cell in notebook.cells for output in cell.get("outputs", ()))


def untimed(record: dict[str, Any]) -> str:
    return json.dumps({**record, "timing": None}, sort_keys=True)


def published(outputs: Path) -> list[Path]:
    return [path.parent for path in outputs.glob("nb/*/run.json") if not path.parent.is_symlink()]


def test_a_run_elsewhere_is_published_here_and_the_same_as_one_that_was_made_here(
    cluster: DaskCluster, tmp_path: Path
) -> None:
    bench = Bench(tmp_path)
    plans = bench.plans(1, 2, 3, threads=2)
    outcomes = run(cluster, bench.outputs, plans)
    assert [(o.how, o.result.status) for o in outcomes] == [(How.RAN, "completed")] * 3
    assert sorted(x for x, _ in bench.marks()) == [1, 2, 3]
    assert sorted(published(bench.outputs)) == sorted(o.result.path for o in outcomes)
    here = execute_plan(plans[0], outputs=tmp_path / "here")
    assert untimed(outcomes[0].result.record) == untimed(here.record)
    # Dask sets a hash seed and counts threads for its workers; a plan's own count.
    assert printed(outcomes[0].result.path) == printed(here.path)
    assert outcomes[0].result.record["timing"]["kernel"] == "forked"
    assert (outcomes[0].result.path / "files" / "written.txt").read_text() == "1.0"
    assert [o.how for o in run(cluster, bench.outputs, plans)] == [How.SKIPPED] * 3


def test_two_threads_of_one_worker_run_each_in_a_folder_of_its_own(tmp_path: Path) -> None:
    bench = Bench(tmp_path, 1, 2)
    with DaskCluster(tmp_path) as cluster:
        cluster.add_worker("--no-nanny", "--nthreads", "2")
        with dask_workers(cluster.address, None, bench.outputs) as workers:
            wait_for(lambda: workers.capacity() == 4)
            threading.Thread(target=_open_once, args=(bench, 2)).start()  # else they would wait for ever
            outcomes = sweep(workers, bench.outputs, bench.plans(1, 2))
    assert [(o.result.path / "files" / "written.txt").read_text() for o in outcomes] == ["1.0", "2.0"]


def _open_once(bench: Bench, running: int) -> None:
    wait_for(lambda: len(bench.marks()) == running)
    bench.gate.unlink()


def test_a_worker_that_is_killed_costs_a_repetition_of_its_run_and_takes_its_kernel_with_it(
    cluster: DaskCluster, tmp_path: Path
) -> None:
    bench = Bench(tmp_path, 1, 2, 3)
    doomed = cluster.add_worker("--no-nanny")
    with dask_workers(cluster.address, None, bench.outputs) as workers:
        wait_for(lambda: workers.capacity() == 6)
        killed: list[int] = []

        def kill() -> None:
            wait_for(lambda: len(bench.marks()) == 3)
            family = {child.pid for child in psutil.Process(doomed.pid).children(recursive=True)}
            killed.extend(pid for _, pid in bench.marks() if pid in family)
            doomed.kill()
            bench.gate.unlink()

        thread = threading.Thread(target=kill)
        thread.start()
        outcomes = sweep(workers, bench.outputs, bench.plans(*range(1, 7)))
        thread.join()
    assert [o.result.status for o in outcomes] == ["completed"] * 6
    assert len(published(bench.outputs)) == 6
    assert len(killed) == 1
    wait_for(lambda: not runs(killed[0]))
    (lost,) = (x for x, pid in bench.marks() if pid == killed[0])
    assert sorted(x for x, _ in bench.marks()) == sorted([1, 2, 3, 4, 5, 6, lost])


KILLER = """\
if x == 1:
    import os, psutil
    worker = psutil.Process().parent()
    if "lab.warm" in " ".join(worker.cmdline()):  # not of a kernel that was spawned
        worker = worker.parent()
    worker.kill()
    import time; time.sleep(60)"""


def test_a_run_that_every_worker_dies_of_is_a_failed_one_and_the_sweep_goes_on(
    cluster: DaskCluster, tmp_path: Path
) -> None:
    path = write_notebook(tmp_path / "nb.ipynb", KILLER, parameters=PARAMETERS)
    outcomes = run(cluster, tmp_path / "outputs", [plan_run(path, {"x": x}) for x in (1, 2)])
    assert [o.result.status for o in outcomes] == ["kernel_died", "completed"]
    failure = outcomes[0].result.failure
    assert isinstance(failure, ExecutionError)
    assert "nb.ipynb: each worker that ran it was lost" in failure.happened
    assert json.loads((outcomes[0].result.path / "run.json").read_text()) == outcomes[0].result.record
    assert [cell["state"] for cell in outcomes[0].result.record["cells"]] == ["not_run", "not_run"]


def test_a_worker_with_another_version_refuses_and_says_so(cluster: DaskCluster, tmp_path: Path) -> None:
    plan = replace(Bench(tmp_path).plans(1)[0], code="another")
    with pytest.raises(UsageError, match="its sources of the lab differ"):
        run(cluster, tmp_path / "outputs", [plan])


def test_an_error_of_ours_in_a_worker_is_named(cluster: DaskCluster, tmp_path: Path) -> None:
    limit: Any = "no number"
    with (
        pytest.raises(ExecutionError, match=r"A worker could not run .*nb\.ipynb: TypeError: "),
        dask_workers(cluster.address, None, tmp_path / "outputs", limit=limit) as workers,
    ):
        sweep(workers, tmp_path / "outputs", Bench(tmp_path).plans(1))


@pytest.mark.parametrize("function", [traps.give, traps.fail, traps.warn])
def test_the_client_makes_no_object_of_what_a_worker_pickled(
    cluster: DaskCluster, tmp_path: Path, function: Any
) -> None:
    marked = tmp_path / str(os.getpid())
    with quiet(), no_pickles():
        client = PlainClient(cluster.address)
        task = client.submit(function, tmp_path, pure=False)
        if function is traps.warn:
            assert task.result(timeout=30) == b"done"
            time.sleep(0.5)  # for the event, which follows
        elif function is traps.fail:
            assert read_error(task.exception(timeout=30))[0] == "ValueError"
        else:
            with pytest.raises(TypeError, match="Could not serialize object of type Trap"):
                task.result(timeout=30)
        client.close()
    assert not marked.exists()
    with quiet(), Client(cluster.address, set_as_default=False) as client:  # what Dask's own does with the same
        task = client.submit(function, tmp_path, pure=False)
        with suppress(Exception):  # what the trap leaves in place of an error
            task.result(timeout=30)
        wait_for(marked.exists)


@pytest.mark.parametrize("message", [ToPickle, to_serialize])
def test_no_message_s_pickle_is_loaded(tmp_path: Path, message: Any) -> None:
    frames = dumps({"x": message(traps.Trap(tmp_path))})
    with quiet(), no_pickles(), pytest.raises(pickle.UnpicklingError, match=r"builtins\.exec was refused"):
        loads(frames)
    assert list(tmp_path.iterdir()) == []
    loads(frames)
    assert len(list(tmp_path.iterdir())) == 1


def test_nor_is_the_type_of_a_value_in_dask_s_own_form(tmp_path: Path) -> None:
    header, frames = serialize(b"plain")
    with no_pickles():
        assert deserialize(header, frames) == b"plain"
    header["type-serialized"] = pickle.dumps(traps.Trap(tmp_path))
    with no_pickles(), pytest.raises(pickle.UnpicklingError):
        deserialize(header, frames)
    assert list(tmp_path.iterdir()) == []


def test_an_error_is_read_without_being_made() -> None:
    assert read_error(dask_pickle.dumps(ModuleNotFoundError("No module named 'lab'"))) == (
        "ModuleNotFoundError",
        "No module named 'lab'",
    )
    assert read_error(b"no pickle") == ("an error", "")
    assert read_error(ValueError("x")) == ("ValueError", "x")


def test_a_lost_scheduler_ends_the_sweep_and_the_same_command_goes_on_with_another(
    cluster: DaskCluster, tmp_path: Path
) -> None:
    bench = Bench(tmp_path, 2)
    with DaskCluster(tmp_path) as lost:
        command = bench.command("--dask", lost.address, values="1,2,3")
        assert command.stderr is not None
        assert "no worker is at tcp://127.0.0.1" in command.stderr.readline()
        lost.add_worker("--no-nanny")
        wait_for(lambda: bool(bench.kernels(2)))
        lost.processes[0].kill()
        start = time.monotonic()
        _, errors = command.communicate(timeout=30)
        assert time.monotonic() - start < 12
        assert command.returncode == 4
        assert errors.splitlines()[-3].startswith("lab: The workers are lost: ")
        assert "Traceback" not in errors
        assert len(errors.splitlines()) == 4  # the count of runs, and the three sentences
        wait_for(lambda: not runs(bench.kernels(2)[0]), 20)  # the worker's, for which nobody waits
    before = len(published(bench.outputs))
    assert before >= 1
    bench.gate.unlink()
    output, errors = bench.command("--dask", cluster.address, values="1,2,3").communicate(timeout=60)
    assert [line.split()[0] for line in output.splitlines()].count("finished") == before
    assert len(published(bench.outputs)) == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_sweep_leaves_no_kernel_in_a_worker_that_stays(
    cluster: DaskCluster, tmp_path: Path, number: signal.Signals
) -> None:
    bench = Bench(tmp_path, 1, 2, 3)
    command = bench.command("--dask", cluster.address, values="1,2,3")
    wait_for(lambda: len(bench.marks()) == 2)
    command.send_signal(number)
    if number == signal.SIGINT:
        assert command.stderr is not None
        assert "Ctrl-C again ends them" in command.stderr.readline()
        command.send_signal(number)
    start = time.monotonic()
    _, errors = command.communicate(timeout=30)
    assert (command.returncode, time.monotonic() - start < 8) == (128 + number, True)
    assert "Traceback" not in errors
    wait_for(lambda: not any(runs(pid) for _, pid in bench.marks()), 8)
    bench.gate.unlink()
    assert len(bench.marks()) == 2
    assert published(bench.outputs) == []
    assert [o.result.status for o in run(cluster, bench.outputs, bench.plans(1))] == ["completed"]


def carrying(name: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if name in process.environ() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_local_cluster_ends_with_its_sweep(tmp_path: Path, number: signal.Signals) -> None:
    bench, token = Bench(tmp_path, 1), f"TOKEN_{os.getpid()}_{number}"
    command = bench.command("--dask", "local", "--workers", "1", values="1,2", **{token: "1"})
    wait_for(lambda: bool(bench.marks()))
    family = carrying(token)
    assert len(family) >= 4  # this one, a worker, its warm parent and a kernel
    listening = [c for p in family for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert {connection.laddr.ip for connection in listening} == {"127.0.0.1"}
    if number == signal.SIGINT:  # as a terminal sends it: to the command and to the workers beside it
        os.killpg(command.pid, number)
        assert command.stderr is not None
        assert "finishing" in command.stderr.readline()
        bench.gate.unlink()
    else:
        command.send_signal(number)
    output, errors = command.communicate(timeout=30)
    assert command.returncode == (-number if number == signal.SIGKILL else 128 + number)
    assert "Traceback" not in errors + output
    if number == signal.SIGINT:
        assert sorted(x for x, _ in bench.marks()) == [1, 2]  # none of them twice
        assert len(published(bench.outputs)) == 2
    wait_for(lambda: carrying(token) == [], 10)


@pytest.mark.parametrize("address", ["", "8786", "127.0.0.1:8786", "tcp://", "tcp://host", "tcp://host:0",
    "tcp://host:70000", "inproc://a:1", "tcp://a b:1", "tcp://a:1/x", "Local"])  # fmt: skip
def test_an_address_that_is_none_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(UsageError, match="is no address of a Dask scheduler"), dask_workers(address, None, tmp_path):
        pass


def test_the_workers_of_another_s_scheduler_are_not_counted_here(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--workers 2"), dask_workers("tcp://127.0.0.1:1", 2, tmp_path):
        pass


@pytest.mark.parametrize("what", ["nobody", "silent", "talking", "closing", "tls"])
def test_an_address_without_a_scheduler_is_one_error_within_seconds(tmp_path: Path, what: str) -> None:
    bench, done = Bench(tmp_path), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def serve() -> None:
            while not done.is_set():
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    if what == "talking":
                        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 10)
                    if what != "closing":
                        done.wait(20)

        if what == "nobody":
            server.close()
        else:
            threading.Thread(target=serve, daemon=True).start()
        start = time.monotonic()
        scheme = "tls" if what == "tls" else "tcp"
        output, errors = bench.command("--dask", f"{scheme}://127.0.0.1:{port}").communicate(timeout=40)
        done.set()
    assert time.monotonic() - start < 20
    assert output == ""
    lines = errors.splitlines()
    assert len(lines) == 3, errors
    assert lines[0].startswith(f"lab: No Dask scheduler answers at {scheme}://127.0.0.1:{port}: ")
    assert ("distributed.comm.tls" in lines[1]) == (what == "tls")
    assert "dask scheduler" in lines[2]
    assert not bench.outputs.exists()


def test_without_dask_the_error_says_what_to_install(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    code = "import sys; sys.modules['distributed'] = None; from lab.__main__ import main; main()"
    words = ["run", str(bench.notebook), "--outputs", str(bench.outputs), "--dask", "local"]
    found = subprocess.run(
        [sys.executable, "-c", code, *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 2
    assert "pip install 'gradient-lab[dask]'" in found.stderr
    assert "Traceback" not in found.stderr


def test_a_broken_pool_ends_the_sweep_and_another_goes_on(tmp_path: Path) -> None:
    bench = Bench(tmp_path, 2)
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        workers = executor_workers(pool, bench.outputs)

        def kill() -> None:
            wait_for(lambda: bool(bench.kernels(2)))
            (worker,) = pool._processes
            os.kill(worker, signal.SIGKILL)

        thread = threading.Thread(target=kill)
        thread.start()
        with pytest.raises(ExecutionError, match=r"The workers are lost: BrokenProcessPool") as error:
            sweep(workers, bench.outputs, bench.plans(1, 2, 3))
        thread.join()
    assert error.value.exit_code == 4
    wait_for(lambda: not runs(bench.kernels(2)[0]))
    assert len(published(bench.outputs)) == 1
    bench.gate.unlink()
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        outcomes = sweep(executor_workers(pool, bench.outputs), bench.outputs, bench.plans(1, 2, 3))
    assert [o.how for o in outcomes] == [How.SKIPPED, How.RAN, How.RAN]
    assert len(published(bench.outputs)) == 3
